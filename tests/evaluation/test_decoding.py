"""Decoders of a recording's stimulus, and what they make of frames."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neuroframes.cortex.space import CorticalSpace
from neuroframes.decoding.decoder import fit_decoder
from neuroframes.errors import InputError
from neuroframes.evaluation.assessment import Fold, assess, assess_bound
from neuroframes.evaluation.decoding import MEASURED, STRAIGHT, Decoders, straight, whole
from neuroframes.evaluation.decoding import scores_of as decoding_scores_of
from neuroframes.models.model import Origin
from neuroframes.recording.band_power import BandPower
from neuroframes.recording.segments import Segment, Split
from neuroframes.registry import fit
from neuroframes.training.part import TrainingPart

pytest.importorskip("himalaya")
TR, V, NAMES = 2.0, 20, ("light", "kind=a", "kind=b")
TASKS = ("eeg", "gap-4")


def run_of(seed: int, n: int = 200) -> Segment:
    """Frames follow light after 4 s, features of EEG follow it at once; of a kind there is every second."""
    rng = np.random.default_rng(seed)
    light = gaussian_filter1d(rng.standard_normal(n + 10), 1.5)[10:]
    light /= light.std()
    later = np.concatenate([np.zeros(2), light[:-2]])
    maps = np.random.default_rng(99).standard_normal(V)
    frames = np.outer(later, maps) + rng.standard_normal((n, V))
    power = np.outer(light, np.ones(3)) + rng.standard_normal((n, 3))
    times = TR * (np.arange(n) + 0.5)
    shown = np.column_stack([light, light > 0, light <= 0]).astype(np.float32)
    of_eeg = BandPower(power.astype(np.float32), times)
    return Segment(frames.astype(np.float32), times, times, times > 0, of_eeg, f"run-{seed}", shown=shown)


@pytest.fixture(scope="module")
def fold() -> Fold:
    space = CorticalSpace.from_parcels(V, [f"parcel {number}" for number in range(V)])
    segments = [run_of(1), run_of(2)]
    decoders = Decoders.fit(segments, NAMES, space, TR)
    origin = Origin(space, TR, np.ones(V, np.float32), Split((), (), 40.0), features=("a", "b", "c"))
    return Fold(TrainingPart(origin, segments), [run_of(3)], TASKS, decoders=decoders)


def scores_of(method: str, fold: Fold, tmp_path) -> dict:
    return assess(fit(method, fold.part, {}, state=tmp_path), fold, similarity=False)[0]


def test_measured_frames_bound_what_completed_ones_tell(fold, tmp_path):
    measured = assess_bound(MEASURED, fold)[0]["scores"]
    linear = scores_of("linear", fold, tmp_path)["scores"]["gap-4"]["whole"]

    bound = measured["gap-4"]["whole"]
    assert bound["decoded r"] > 0.6 > bound["decoded r"] - linear["decoded r"] > 0
    assert bound["decoded r low"] < bound["decoded r"] < bound["decoded r high"]
    assert measured["eeg"]["whole"]["decoded p"] < 0.05
    assert bound["balanced accuracy, kind"] > 0.7
    assert bound["2-way identification, 20 s"] > 0.7


def test_frames_of_chance_tell_nothing(fold, tmp_path):
    found = scores_of("ridge FIR", fold, tmp_path)
    told, control = found["scores"]["eeg"]["whole"], found["controls"]["eeg"]

    assert told["decoded r"] > told["decoded r low"] > 0
    assert control["shuffled, decoded r low"] < 0 < control["shuffled, decoded r high"]
    assert scores_of("mean frame", fold, tmp_path)["scores"]["eeg"]["whole"]["decoded r"] == 0


def test_features_straight_from_eeg_are_those_of_the_same_moments(fold):
    (decoded,) = straight(fold.part.segments, fold.test)
    told, series = assess_bound(STRAIGHT, fold)
    moments = series["gap-4 moments"]

    expected = np.corrcoef(decoded[moments, 0], fold.test[0].shown[moments, 0])[0, 1]
    assert told["scores"]["gap-4"]["whole"]["decoded r, light"] == pytest.approx(expected, abs=1e-5)
    assert expected > 0.8
    assert (moments == assess_bound(MEASURED, fold)[1]["gap-4 moments"]).all()


def test_units_of_features_make_no_difference_to_those_straight_from_eeg(fold):
    units = np.array([1, 1e4, 1], np.float32)
    rng = np.random.default_rng(0)
    segments = []
    for of in (*fold.part.segments, *fold.test):
        noise, constant = rng.standard_normal(200), np.ones(200)  # whose penalty is another
        shown = np.column_stack([of.shown[:, 0], noise, constant])
        segments.append(replace(of, shown=shown.astype(np.float32)))
    in_units = [replace(of, shown=units * of.shown) for of in segments]
    (plain,), (scaled,) = (straight(of[:2], of[2:]) for of in (segments, in_units))

    assert np.allclose(units * plain, scaled, rtol=1e-3, atol=1e-3)


def test_without_a_stimulus_in_the_test_part_there_are_no_scores(fold, tmp_path):
    nothing = replace(fold.test[0], shown=np.full((200, 3), np.nan, np.float32))
    other = replace(fold, test=[nothing])

    assert assess_bound(MEASURED, other)[0]["scores"] == assess_bound(STRAIGHT, other)[0]["scores"] == {}
    found = scores_of("linear", other, tmp_path)["scores"]["gap-4"]["whole"]
    assert "temporal_r" in found and "decoded r" not in found


def test_a_feature_may_be_called_low(fold):
    shown, noise = fold.test[0].shown, np.random.default_rng(0).standard_normal((200, 3))
    found, _ = decoding_scores_of([shown], [shown + noise], [np.ones(200, bool)], ("low", "high", "a"), TR)
    r = [np.corrcoef(shown[:, n], (shown + noise)[:, n])[0, 1] for n in range(3)]

    assert [found[f"decoded r, {name}"] for name in ("low", "high", "a")] == pytest.approx(r)
    assert found["decoded r low"] < found["decoded r"] < found["decoded r high"]


def test_a_run_without_measured_frames_tells_nothing(fold):
    spoiled = run_of(4)
    spoiled = replace(spoiled, measured=np.zeros(200, bool), frames=1e6 * spoiled.frames)
    space = fold.part.origin.space
    alone, beside = (
        Decoders.fit(segments, NAMES, space, TR).by_region["whole"][1]
        for segments in ([run_of(1)], [run_of(1), replace(spoiled, frames=np.zeros_like(spoiled.frames))])
    )

    assert whole(spoiled) is spoiled.frames
    r = np.corrcoef(*(of.decode(fold.test[0].frames)[:, 0] for of in (alone, beside)))[0, 1]
    assert r > 0.999


def test_moments_are_those_that_hidden_frames_tell_of(fold):
    hidden = np.zeros(50, bool)
    hidden[20:24] = True
    (moments,) = fold.decoders.told_by([hidden])

    assert np.flatnonzero(moments).tolist() == [18, 19, 20, 21]  # 4 s, two frames, before


def test_censored_frames_of_the_training_part_are_interpolated():
    segment = run_of(1, 60)
    spoiled = replace(segment, frames=segment.frames.copy(), measured=segment.measured.copy())
    spoiled.measured[10:13] = False
    spoiled.frames[10:13] = 1e6
    known = np.flatnonzero(spoiled.measured)
    expected = [np.interp(np.arange(60), known, values[known]) for values in segment.frames.T]

    assert np.allclose(whole(spoiled).T, expected, atol=1e-5)


def test_each_region_has_a_decoder_of_its_own(monkeypatch):
    segments = [run_of(1), run_of(2)]
    space = CorticalSpace.from_parcels(V, [f"parcel {number}" for number in range(V)])
    segments = [replace(of, frames=of.frames * (np.arange(V) != 4)) for of in segments]
    places = {"some": np.array([3, 1, 7]), "without signal": np.array([4])}
    monkeypatch.setattr("neuroframes.evaluation.decoding.regions", lambda _: places)
    by_region = Decoders.fit(segments, NAMES, space, TR).by_region
    found = by_region["some"]
    own = fit_decoder(
        [of.frames[:, places["some"]] for of in segments], [of.shown for of in segments], NAMES, TR
    )

    assert {*by_region} == {"whole", "some"}
    assert found[0].tolist() == [3, 1, 7]
    assert np.allclose(found[1].weights, own.weights)


def test_read_again_they_score_the_same_and_damage_is_refused(fold, tmp_path):
    fold.decoders.write(tmp_path / "decoders")
    again = Decoders.read(tmp_path / "decoders")
    scored = [np.ones(200, bool)]
    frames = [fold.test[0].frames]

    assert again.score(frames, fold.test, scored)[0] == fold.decoders.score(frames, fold.test, scored)[0]
    path = tmp_path / "decoders" / "decoders.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="not as it was written"):
        Decoders.read(tmp_path / "decoders")


def test_a_recording_without_stimulus_says_how_to_get_one(fold):
    with pytest.raises(InputError, match="--stimulus"):
        fold.decoders.score([fold.test[0].frames], [replace(fold.test[0], shown=None)], [np.ones(200, bool)])
