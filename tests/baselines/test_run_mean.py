import numpy as np

from neuroframes.baselines import RunMean


def test_missing_frames_are_the_mean_of_the_given_ones(smooth):
    train, test = smooth
    measured = np.arange(len(test.times)) % 3 == 0
    frames = RunMean().fit([train]).estimate(test.given(measured))
    assert np.allclose(frames, test.frames[measured].mean(axis=0), atol=1e-6)
