"""What samples say: units that can't be, flat and clipped channels, line noise."""

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.quality import volts, warn_of_samples

NAMES, RATE = ("Fz", "Cz", "Pz", "Oz"), 200
EEG = 2e-5 * np.random.default_rng(0).standard_normal((4, 20 * RATE))
NONE = np.zeros(4)


def test_drifts_are_no_matter_of_the_unit():
    drift = np.linspace(0, 0.3, EEG.shape[1])
    np.testing.assert_array_equal(volts(EEG + drift, RATE, NAMES, {}, "a.edf"), EEG + drift)


def test_volts_are_kept(caplog):
    for scale in (0.01, 1, 100):
        np.testing.assert_array_equal(volts(scale * EEG, RATE, NAMES, {}, "a.edf"), scale * EEG)
    warn_of_samples(EEG, RATE, NAMES, NONE, "a.edf")
    assert not caplog.records


@pytest.mark.parametrize(
    ("scale", "changes"),
    [(1e6, "28.* V .*, or state it .*"), (1e3, "0.028.* V .*, or state it .*"), (1e-6, "2.8.*e-11 V .*one$")],
)
def test_units_that_cannot_be_are_refused(scale, changes):
    with pytest.raises(InputError, match=rf"^a.edf: the EEG changes by {changes}"):
        volts(scale * EEG, RATE, NAMES, {}, "a.edf")


@pytest.mark.parametrize(("unit", "scale"), [("µV", 1e6), ("μV", 1e6), ("uV", 1e6), ("nV", 1e9)])
def test_the_unit_of_channels_tsv_counts_where_that_of_the_file_cannot_be(caplog, unit, scale):
    stated = dict.fromkeys(NAMES, unit)
    np.testing.assert_allclose(volts(scale * EEG, RATE, NAMES, stated, "a.edf"), EEG)
    assert f"its unit is that of channels.tsv, {unit}" in caplog.text
    np.testing.assert_array_equal(volts(EEG.copy(), RATE, NAMES, stated, "a.edf"), EEG)
    with pytest.raises(InputError, match="its unit is missing or wrong"):
        volts(scale * EEG, RATE, NAMES, dict.fromkeys(NAMES, "V"), "a.edf")


def test_flat_and_odd_channels_are_named(caplog):
    data = EEG.copy()
    data[1], data[2] = 0, 1e6 * data[2]
    volts(data, RATE, NAMES, {}, "a.edf")
    assert "EEG channels that are constant: Cz;" in caplog.text
    assert "EEG channels that are changing by more than 0.01 V: Pz;" in caplog.text
    with pytest.raises(InputError, match="^a.edf: each of the 4 EEG channels is constant"):
        volts(np.zeros((4, 99)), RATE, NAMES, {}, "a.edf")


def test_clipped_channels_are_named(caplog):
    warn_of_samples(EEG, RATE, NAMES, np.array([0, 0.02, 1, 0.009]), "a.edf")
    assert "a.edf: 1 channel is clipped" in caplog.text and caplog.text.strip().endswith("value: Cz")


@pytest.mark.parametrize("line", [50, 60])
def test_line_noise_that_dominates_is_said(caplog, line):
    wave = np.sin(2 * np.pi * line * np.arange(EEG.shape[1]) / RATE)
    warn_of_samples(EEG + 1e-5 * wave, RATE, NAMES, NONE, "a.edf")
    assert not caplog.records
    warn_of_samples(EEG + [[0], [0], [0], [1e-4]] * wave, RATE, NAMES, NONE, "a.edf")
    assert f"line noise at {line} Hz in 1 channel: Oz" in caplog.text
