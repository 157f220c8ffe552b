"""The published trap: in raw units a mean image, which knows no time, beats a prediction that follows it.

Frames are a strong image m with weak activity s on it. The mean image errs by s; frames m + r s + noise, as
variable as s, follow time with r and err by sqrt(2 (1 - r)) s, which is more wherever r < .5.
"""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from neuroframes.evaluation.metrics import frame_series, score
from neuroframes.evaluation.similarity import ssim

H, W, TRAIN, TEST, R = 24, 32, 400, 150, 0.4
INDEX = np.arange(H * W).reshape(H, W)


@pytest.fixture(scope="module")
def frames():
    """Truth of the test part, its three predictions, and the training part's mean and scale, in raw units."""
    generator = np.random.default_rng(0)

    def activity(n):
        smooth = gaussian_filter(generator.standard_normal((n, H, W)), (1, 1.5, 1.5)).reshape(n, H * W)
        return 150 * smooth / smooth.std()

    anatomy, other = (10_000 + 10 * activity(1)[0] for _ in range(2))
    other += 0.8 * (anatomy - other)  # heads are alike
    measured = anatomy + activity(TRAIN + TEST)
    mean, scale = measured[:TRAIN].mean(axis=0), measured[:TRAIN].std(axis=0)
    truth = measured[TRAIN:]
    follower = mean + R * (truth - mean) + np.sqrt(1 - R**2) * activity(TEST)
    predictions = {
        "mean image": np.tile(mean, (TEST, 1)),
        "somebody else's": np.tile(other, (TEST, 1)),
        "follows time": follower,
    }
    return truth, predictions, mean, scale


@pytest.fixture(scope="module")
def raw(frames):
    truth, predictions, _, _ = frames
    scored = np.ones(TEST, bool)
    return {
        name: (ssim(truth, part, INDEX), frame_series(truth, part, scored)["spatial_r"].mean())
        for name, part in predictions.items()
    }


@pytest.fixture(scope="module")
def fair(frames):
    truth, predictions, mean, scale = frames
    z = {name: ((part - mean) / scale).astype(np.float32) for name, part in predictions.items()}
    z_truth = ((truth - mean) / scale).astype(np.float32)
    return {name: score(z_truth, part, np.ones(TEST, bool))["whole"] for name, part in z.items()}


def test_in_raw_units_the_mean_image_wins(raw):
    for mean_image, follower in zip(raw["mean image"], raw["follows time"], strict=True):
        assert mean_image > follower > 0.8
    assert raw["mean image"][1] > 0.99 and raw["somebody else's"][1] > 0.8


def test_yet_it_knows_nothing_of_time(fair):
    for name in ("mean image", "somebody else's"):
        assert fair[name]["temporal_r"] == 0
        assert abs(fair[name]["spatial_r_test_mean"]) < 1e-6
    assert fair["follows time"]["temporal_r"] == pytest.approx(R, abs=0.03)
    assert fair["follows time"]["spatial_r_test_mean"] == pytest.approx(R, abs=0.03)
