"""The scanner's gradient artefact goes as MNE removes it, however the recording is read."""

import mne
import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.eeg import read_eeg
from neuroframes.recording.gradient import WithoutGradient

RATE, TR, N_VOLUMES = 500, 1.0, 24
TRIGGERS = 1.5 + TR * np.arange(N_VOLUMES)


def recorded(triggers=TRIGGERS, seed=0) -> tuple[mne.io.RawArray, np.ndarray]:
    """EEG of 3 channels with an artefact of 1 mV a volume, annotated R128; and the EEG without it."""
    generator = np.random.default_rng(seed)
    eeg = 1e-5 * generator.standard_normal((3, round((N_VOLUMES * TR + 4) * RATE)))
    artefact = 1e-3 * generator.standard_normal((3, round(TR * RATE)))
    data = eeg.copy()
    for start in np.round(triggers * RATE).astype(int):
        data[:, start : start + artefact.shape[1]] += artefact
    raw = mne.io.RawArray(data, mne.create_info(["Fz", "Cz", "Pz"], RATE, "eeg"), verbose="ERROR")
    return raw.set_annotations(mne.Annotations(triggers, 0.0, "R128")), eeg


def test_it_is_what_mne_does():
    raw, _ = recorded()
    starts = np.round(TRIGGERS * RATE).astype(int)
    expected = mne.preprocessing.remove_fmri_gradient_artifact(raw, starts, verbose="ERROR").get_data()
    here = WithoutGradient(raw, TRIGGERS, "a.edf").get_data([0, 1, 2], 0, raw.n_times)
    inner = slice(starts[4], starts[-4])  # MNE leaves four volumes at either end as they are
    np.testing.assert_allclose(here[:, inner], expected[:, inner], atol=1e-15)
    np.testing.assert_array_equal(here[:, : starts[0]], raw.get_data()[:, : starts[0]])


def test_it_goes_from_the_first_volume_to_the_last():
    raw, eeg = recorded()
    here = WithoutGradient(raw, TRIGGERS, "a.edf").get_data([0, 1, 2], 0, raw.n_times)
    left = np.reshape((here - eeg)[:, 750 : 750 + N_VOLUMES * RATE], (3, N_VOLUMES, -1)).std(axis=(0, 2))
    # Of the neighbours' EEG an eighth of the variance is added.
    np.testing.assert_allclose(left, 1e-5 / np.sqrt(8), rtol=0.1)


def test_blocks_join_without_a_seam():
    raw, _ = recorded()
    source = WithoutGradient(raw, TRIGGERS, "a.edf")
    whole = source.get_data([0, 2], 0, raw.n_times)
    edges = [0, 1, 700, 751, 3000, 3001, 9999, raw.n_times]
    parts = [source.get_data([0, 2], *edges[i : i + 2]) for i in range(len(edges) - 1)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_read_eeg_removes_it():
    raw, eeg = recorded()
    settings = {"l_freq": None, "reference": None, "rate": RATE}
    cleaned, as_it_was = (read_eeg(raw, gradient=on, **settings).data for on in (True, False))
    assert as_it_was.std() > 50 * eeg.std()
    assert np.corrcoef(cleaned.ravel(), eeg.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("triggers", "message"),
    [
        (TRIGGERS[:8], r"8 volume triggers; --gradient needs one for each volume and at least 9: say which"),
        (TRIGGERS + 0.02 * (np.arange(N_VOLUMES) == 5), r"500 samples apart, some up to 10 more or less"),
    ],
)
def test_triggers_that_it_cannot_go_by_are_refused(triggers, message):
    raw, _ = recorded()
    with pytest.raises(InputError, match=message):
        WithoutGradient(raw, triggers, "a.edf")


def test_an_interval_that_is_no_whole_number_of_samples_will_do():
    triggers = 1.5 + 1.0007 * np.arange(N_VOLUMES)
    raw, eeg = recorded(triggers)
    here = WithoutGradient(raw, triggers, "a.edf").get_data([0, 1, 2], 0, raw.n_times)
    assert (here - eeg)[:, 750:-1500].std() < 1e-5


def test_a_volume_that_is_cut_off_stays_and_is_named(caplog):
    raw, _ = recorded()
    raw.crop(0, TRIGGERS[-1] + 0.5)
    here = WithoutGradient(raw, TRIGGERS, "a.edf").get_data([0], 0, raw.n_times)
    assert "a.edf: the EEG ends within a volume, whose gradient artefact stays" in caplog.text
    np.testing.assert_array_equal(here[:, -200:], raw.get_data([0])[:, -200:])
    assert here[:, -800:-300].std() < 2e-5


def test_an_mne_that_cannot_do_it_is_named(monkeypatch):
    raw, _ = recorded()
    monkeypatch.setattr(mne, "preprocessing", object())
    with pytest.raises(
        InputError, match=r"--gradient needs MNE 1.13 or later, not \d.*pip install --upgrade"
    ):
        WithoutGradient(raw, TRIGGERS, "a.edf")
