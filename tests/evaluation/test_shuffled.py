from dataclasses import replace

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.evaluation.controls import shuffled
from neuroframes.recording.band_power import WINDOW, BandPower, log_band_power
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal

BANDS = {"alpha": (8.0, 13.0), "beta": (13.0, 30.0)}


@pytest.fixture
def coupled() -> tuple[Segment, Segment]:
    """Two segments with band power of 5 features, 0.8 s apart."""
    generator = np.random.default_rng(1)

    def draw(n_frames: int) -> Segment:
        times = 0.8 * np.arange(n_frames + 1)
        power = BandPower(generator.standard_normal((n_frames + 1, 5)).astype(np.float32), times)
        frames = generator.standard_normal((n_frames, 30)).astype(np.float32)
        at = times[1:] - 0.4
        return Segment(frames, at, times[:-1], np.ones(n_frames, bool), power, "sub-01_task-test")

    return draw(500), draw(300)


def test_blocks_change_places_and_none_stays(coupled):
    segment = coupled[1]  # 301 values, 0.8 s apart: 12 blocks of 20 s
    values = np.repeat(np.arange(301, dtype=np.float32)[:, None], 5, axis=1)
    segment = replace(segment, power=BandPower(values, segment.power.times))
    for seed in range(20):
        moved = shuffled(segment, np.random.default_rng(seed))
        trace = moved.power.values[:, 0]
        assert np.array_equal(np.sort(trace), values[:, 0])
        assert np.array_equal(moved.power.times, segment.power.times)
        starts = np.flatnonzero(np.diff(trace, prepend=-9) != 1)
        assert len(starts) >= 4 and np.diff(starts).min() >= 25
        # Blocks differ by one value in length, so a moved one lies at least nearly a block away.
        assert np.abs(trace - values[:, 0]).min() > 12


def test_frames_stay_and_the_seed_decides(coupled):
    a, b, c = (shuffled(coupled[1], np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert a.frames is coupled[1].frames and a.eeg is None
    assert np.array_equal(a.power.values, b.power.values)
    assert not np.array_equal(a.power.values, c.power.values)


def test_too_little_eeg_is_refused(coupled):
    with pytest.raises(InputError, match="two blocks"):
        shuffled(coupled[1], np.random.default_rng(0), block=150)
    with pytest.raises(InputError, match="0 s of EEG"):
        shuffled(replace(coupled[1], power=None), np.random.default_rng(0))


def run_with_eeg(n_samples, seed, name="run"):
    """A run whose EEG of three channels needn't end on the band power's grid; frames don't matter here."""
    data = 1e-5 * np.random.default_rng(seed).standard_normal((3, n_samples)).astype(np.float32)
    eeg = Signal(data, 100.0, ("Fz", "Cz", "Pz"))
    power = log_band_power(data, eeg.rate, BANDS)
    times = np.arange(10.0)
    return Segment(np.zeros((10, 2), np.float32), times, times, times > -1, power, name, eeg)


def rows_of(values, sources):
    """Run and row of the band power that each row of `values` was taken from, shape (T, 2)."""
    where = {row.tobytes(): (i, j) for i, source in enumerate(sources) for j, row in enumerate(source)}
    return np.array([where[row.tobytes()] for row in values])


@pytest.mark.parametrize("n_others", [0, 3])
@pytest.mark.parametrize("n_samples", [20_000, 20_017, 20_039])
def test_eeg_moves_with_its_band_power(n_samples, n_others):
    segment = run_with_eeg(n_samples, 0)
    others = [run_with_eeg(n_samples + 23 * i, i, f"other-{i}") for i in range(1, n_others + 1)]
    sources = others or [segment]
    for seed in range(15):
        moved = shuffled(segment, np.random.default_rng(seed), others=others)
        assert moved.eeg.data.shape == segment.eeg.data.shape and moved.eeg.channels == segment.eeg.channels
        again = log_band_power(moved.eeg.data, moved.eeg.rate, BANDS)
        np.testing.assert_array_equal(again.times, moved.power.times)
        run, row = rows_of(moved.power.values, [source.power.values for source in sources]).T
        seams = np.flatnonzero((np.diff(row) != 1) | (np.diff(run) != 0)) + 1
        assert len(seams) >= 4
        # Half a window from a block's ends, and from those of a run, its samples are all that counts.
        reach = int(np.ceil(WINDOW / 2 / 0.4))
        at, last = np.arange(len(row)), np.array([len(source.power.times) for source in sources])[run]
        ends = np.concatenate([[0], seams, [len(row)]])
        inside = np.all((at[:, None] <= ends - reach - 1) | (at[:, None] >= ends + reach), axis=1)
        inside &= (row >= reach) & (row < last - reach - 1)
        assert inside.mean() > 0.7
        np.testing.assert_array_equal(again.values[inside], moved.power.values[inside])
        if not others:
            samples = moved.eeg.data[:, : 40 * (n_samples // 40)].T
            assert len(np.unique(samples, axis=0)) > len(samples) - 40  # all of it, once


def test_a_last_block_that_is_cut_short_is_mirrored():
    segment = run_with_eeg(20_017, 0)  # the last of 501 rows of 40 samples has 17
    moved = shuffled(segment, np.random.default_rng(1)).eeg.data
    (last,) = np.flatnonzero((moved == segment.eeg.data[:, -1:]).all(axis=0))
    np.testing.assert_array_equal(moved[:, last : last + 24], segment.eeg.data[:, :-25:-1])


def test_a_run_shorter_than_a_block_is_no_source():
    segment, short = run_with_eeg(20_000, 0), run_with_eeg(1500, 1, "short")
    moved = shuffled(segment, np.random.default_rng(0), others=[short] * 20)
    rows_of(moved.power.values, [segment.power.values])  # 15 s make no block of 20 s


def test_blocks_come_from_other_runs_where_there_are_some(coupled):
    segment = coupled[1]
    times = segment.power.times
    power = BandPower(np.full((700, 5), 7, np.float32), np.arange(700) * 0.8)
    moved = shuffled(segment, np.random.default_rng(0), others=[replace(segment, power=power)])
    assert moved.power.values.shape == segment.power.values.shape
    assert np.all(moved.power.values == 7) and np.array_equal(moved.power.times, times)
