import numpy as np

from neuroframes.baselines import MeanFrame


def test_every_missing_frame_is_the_training_mean(smooth):
    train, test = smooth
    measured = np.arange(len(test.times)) < 10
    frames = MeanFrame().fit([train]).estimate(test.given(measured))
    assert np.allclose(frames, train.frames.mean(axis=0), atol=1e-6)
