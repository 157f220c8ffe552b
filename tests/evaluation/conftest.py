"""What several tests of metrics take."""

import numpy as np
import pytest


@pytest.fixture
def rounded_constant():
    """Draw a constant sequence (K, V) as matrix products in float32 give it on any processor.

    Frames are one row of features times coefficients, as of ridge regression on silent EEG; the terms are
    added up in another order for each frame, so that frames differ by rounding alone.
    """

    def draw(n_frames: int, n_vertices: int, n_features: int = 200) -> np.ndarray:
        generator = np.random.default_rng(11)
        features = generator.standard_normal(n_features, np.float32)
        terms = features[:, None] * generator.standard_normal((n_features, n_vertices), np.float32)
        terms *= np.float32(3 / np.sqrt(n_features))
        orders = (generator.permutation(n_features) for _ in range(n_frames))
        return np.stack([terms[order].cumsum(axis=0)[-1] for order in orders])

    return draw
