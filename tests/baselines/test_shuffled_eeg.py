from dataclasses import replace

import numpy as np
import pytest

from neuroframes.baselines import shuffled
from neuroframes.errors import InputError
from neuroframes.recording.band_power import BandPower


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
    assert a.frames is coupled[1].frames
    assert np.array_equal(a.power.values, b.power.values)
    assert not np.array_equal(a.power.values, c.power.values)


def test_too_little_eeg_is_refused(coupled):
    with pytest.raises(InputError, match="two blocks"):
        shuffled(coupled[1], np.random.default_rng(0), block=150)
    with pytest.raises(InputError, match="0 s of EEG"):
        shuffled(replace(coupled[1], power=None), np.random.default_rng(0))


def test_blocks_come_from_other_runs_where_there_are_some(coupled):
    segment = coupled[1]
    times = segment.power.times
    other = BandPower(np.full((700, 5), 7, np.float32), np.arange(700) * 0.8)
    moved = shuffled(segment, np.random.default_rng(0), others=[other])
    assert moved.power.values.shape == segment.power.values.shape
    assert np.all(moved.power.values == 7) and np.array_equal(moved.power.times, times)
