"""A band-pass filter along time: what it keeps and removes, and bands that can't be meant."""

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.band_pass import band_passed, parse_band

TR = 2.0


def test_a_wave_within_the_band_passes_and_others_do_not():
    time = TR * np.arange(600)
    slow, inside, fast = (np.sin(2 * np.pi * f * time) for f in (0.002, 0.04, 0.2))
    filtered = band_passed(np.stack([inside + 100, slow, fast, time], axis=1), TR, (0.01, 0.1))
    middle = slice(100, -100)
    np.testing.assert_allclose(filtered[middle, 0], inside[middle], atol=0.01)
    assert np.abs(filtered[middle, 1:]).max() < 0.05


@pytest.mark.parametrize("text", ["0.1", "0.1,0.01", "0,0.1", "a,b", "0.01,0.3"])
def test_what_is_no_band_is_refused(text):
    with pytest.raises(InputError, match=rf"--band-pass {text}; .* the higher one below 0.25"):
        parse_band(text, "--band-pass", TR)


def test_a_band():
    assert parse_band("0.01, 0.1", "--band-pass", TR) == (0.01, 0.1)
