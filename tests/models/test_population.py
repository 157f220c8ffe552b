"""A population prior as a model: which frames of a run it learns from, and what it says of that."""

from dataclasses import replace

import numpy as np
import pytest
from nibabel import Nifti1Image, save

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.models.population import PopulationModel
from neuroframes.recording.bold import read_bold
from neuroframes.recording.segments import Segment

TR = 2.0


@pytest.fixture(scope="module")
def model(people):
    return PopulationModel.load(people.prior)


@pytest.fixture
def segment(people):
    """A run of sub-02, in which every fourth stretch of ten frames is missing."""
    frames = np.load(people.runs[1])["bold"].astype(np.float32)
    frames = np.asfortranarray((frames - frames.mean(axis=0)) / frames.std(axis=0))
    times = TR * np.arange(160)
    measured = np.arange(160) % 40 >= 10
    return Segment(frames, times, times, measured, None, people.runs[1].name, person="sub-02")


def test_it_says_which_prior_was_taken_and_whose_run_it_is(model, segment):
    said = model.describe(segment)
    assert "given the measured frames; prior: " in said
    assert said.endswith("a population of 4 people, sub-02, whose run this is, among them")
    said = model.without_person("sub-02").describe(segment)
    assert said.endswith("a population of 3 people")
    assert model.describe(replace(segment, person="sub-09")).endswith("a population of 4 people")


def test_a_population_of_one_person_is_called_that(model, segment):
    alone = model
    for person in ("sub-01", "sub-03", "sub-04"):
        alone = alone.without_person(person)
    own, other = (alone.describe(replace(segment, person=person)) for person in ("sub-02", "sub-01"))
    assert "the person's own, adapted to it" in own and "other" not in own
    assert own.endswith("a population of 1 person, sub-02, whose run this is")
    assert "one other person's, adapted to it" in other and other.endswith("a population of 1 person")


def test_a_run_is_filled_by_the_model_made_for_it(model, segment):
    estimate, made = model.fill(segment), model.for_run(segment).fill(segment)
    np.testing.assert_array_equal(estimate.mean, made.mean)
    np.testing.assert_array_equal(estimate.std, made.std)
    truth = segment.frames[~segment.measured]
    # Of independent noise of .25 and signals of 3 in common nothing else than the latter can be known.
    assert np.square(estimate.mean - truth).mean() < np.square(truth).mean()


def test_frames_between_inform_neither_the_choice_nor_the_frames_of_the_run(model, segment):
    """At half the TR every second time is no frame of the run."""
    times = TR / 2 * np.arange(319)
    own = np.arange(319) % 2 == 0
    frames = np.full((319, 24), np.nan, np.float32)
    frames[own] = segment.frames
    measured = np.zeros(319, bool)
    measured[own] = segment.measured
    denser = replace(segment, frames=frames, times=times, time_in_run=times, measured=measured)
    assert model.describe(denser) == model.describe(segment)
    among = own[~measured]
    np.testing.assert_allclose(model.fill(denser).mean[among], model.fill(segment).mean, atol=2e-3)


@pytest.mark.parametrize("tr", [1.0, 2.1, 5.0])
def test_runs_of_another_tr_are_refused(model, segment, tr):
    times = tr * np.arange(160)
    with pytest.raises(
        InputError, match=f"_run-1_bold.npz: frames {tr:g} s apart, but the prior's TR is 2 s"
    ):
        model.fill(replace(segment, times=times, time_in_run=times))


def test_a_tr_that_was_rounded_is_the_same(model, segment):
    times = 2.01 * np.arange(160)
    close = model.fill(replace(segment, times=times, time_in_run=times)).mean
    np.testing.assert_allclose(close, model.fill(segment).mean, atol=0.02)


def test_a_volume_may_have_other_voxels_of_the_grid(learned, smooth_frames, tmp_path):
    """What the prior knows of a voxel it knows wherever that stands among others."""
    volume = np.moveaxis(smooth_frames(100, 40).reshape(100, 5, 4, 2), 0, 3)
    for name, outside in (("sub-1", 0), ("sub-2", 1)):
        masked = volume.copy()
        masked[outside] = 0
        save(Nifti1Image(masked, np.diag([2, 2, 2, 1])), tmp_path / f"{name}_bold.nii.gz")
    prior = learned([tmp_path / "sub-1_bold.nii.gz"], out=tmp_path / "prior", bold_tr=0.8)
    space = read_bold(tmp_path / "sub-2_bold.nii.gz", tr=0.8).space
    moved = prior.in_space(space, "sub-2")
    before, after = (
        dict(zip(of.origin.space.vertex, of.population.autoencoder.decoder.T, strict=True))
        for of in (prior, moved)
    )
    assert moved.origin.space is space and set(after) != set(before)
    for voxel in after:
        np.testing.assert_array_equal(after[voxel], before.get(voxel, 0 * after[voxel]))
    np.testing.assert_array_equal(moved.origin.scale, np.isin(space.vertex, prior.origin.space.vertex))
    with pytest.raises(InputError, match="in the same places"):
        prior.in_space(CorticalSpace.from_parcels(32), "parcels")
