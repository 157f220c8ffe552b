"""Learning a population: components of all runs, sums of each person, and what isn't counted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from nibabel import Nifti1Image, save
from safetensors.numpy import load_file
from scipy.linalg import subspace_angles

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.frames.coupling import ORDER, fit_lags
from neuroframes.models.model import Origin
from neuroframes.models.population import PopulationModel
from neuroframes.models.settings import BackboneSettings
from neuroframes.recording.segments import Segment, Split, detrend, vertex_scale
from neuroframes.recording.timeline import Censoring
from neuroframes.training.part import TrainingPart
from neuroframes.training.population import GroupRun, Part, fit_population, strongest


def z_scored(path):
    frames = np.load(path)["bold"].astype(np.float32)
    measured = np.ones(len(frames), bool)
    trend = detrend(frames, measured)
    return frames / vertex_scale(frames, measured, trend[0])


def test_components_are_those_of_all_frames_together(people):
    every = np.concatenate([z_scored(path) for path in people.runs]).astype(np.float64)
    prior = PopulationModel.load(people.prior)
    decoder = prior.population.autoencoder.decoder
    _, values, vectors = np.linalg.svd(every, full_matrices=False)
    expected = vectors[:6] * values[:6, None] / np.sqrt(len(every))
    expected *= np.sign(expected[np.arange(6), np.abs(expected).argmax(axis=1)])[:, None]
    # Of each run a few of the weakest directions are dropped on the way.
    np.testing.assert_allclose(decoder[:3], expected[:3], atol=1e-3)
    assert np.degrees(subspace_angles(decoder[:3].T, expected[:3].T)).max() < 0.1
    latents = every @ np.linalg.pinv(decoder.astype(np.float64))
    np.testing.assert_allclose(np.square(latents).mean(axis=0), 1, atol=0.05)
    rest = every - latents @ decoder
    np.testing.assert_allclose(prior.population.autoencoder.rest, rest.std(axis=0), rtol=1e-3)


def test_stacking_part_after_part_is_the_decomposition_of_the_whole():
    generator = np.random.default_rng(1)
    rows = (generator.standard_normal((60, 5)) @ generator.standard_normal((5, 30))).astype(np.float32)
    stack = np.zeros((0, 30), np.float32)
    for part in np.split(rows, 6):
        stack = strongest([stack, part], 10)
    assert stack.shape == (5, 30)  # their rank
    np.testing.assert_allclose(stack.T @ stack, rows.T @ rows, atol=1e-3 * np.abs(rows.T @ rows).max())
    assert (stack[np.arange(5), np.abs(stack).argmax(axis=1)] > 0).all()


def test_a_person_s_sums_are_those_of_the_person_s_runs_in_the_group_s_components(people):
    prior = PopulationModel.load(people.prior).population
    assert list(prior.people) == ["sub-01", "sub-02", "sub-03", "sub-04"] and prior.n_runs == 5
    assert prior.runs == {"sub-01": 1, "sub-02": 1, "sub-03": 1, "sub-04": 2}
    for person, lags in prior.people.items():
        latents = [
            prior.autoencoder.encode(lambda block, path=path: z_scored(path)[:, block])
            for path in people.of(person)
        ]
        expected = [fit_lags(z, np.ones(len(z), bool), 2.0) for z in latents]
        np.testing.assert_allclose(lags.cross, sum(each.cross for each in expected), atol=1e-2)
        np.testing.assert_allclose(lags.power, sum(each.power for each in expected), rtol=1e-3)
        assert lags.frames == 160 * len(latents)


def test_leaving_a_person_out_is_a_fit_without_that_person_in_the_same_components(people, learned, tmp_path):
    others = [path for path in people.runs if path not in people.of("sub-04")]
    fitted = learned(others, out=tmp_path / "prior", components=people.prior).population
    left = PopulationModel.load(people.prior).without_person("04").population
    assert list(left.people) == list(fitted.people)
    np.testing.assert_array_equal(left.autoencoder.decoder, fitted.autoencoder.decoder)
    for part in ("cross", "power", "frames"):
        np.testing.assert_array_equal(getattr(left.total(), part), getattr(fitted.total(), part))


def test_parts_merge_into_the_whole(people, learned, tmp_path):
    halves = [tmp_path / "first", tmp_path / "second"]
    for half, runs in zip(halves, (people.runs[:2], people.runs[2:]), strict=True):
        learned(runs, out=half, components=people.prior)
    both = learned(halves, out=tmp_path / "both")
    whole = PopulationModel.load(people.prior)
    for name, tensor in whole._tensors().items():
        np.testing.assert_allclose(both._tensors()[name], tensor, rtol=1e-5, err_msg=name)


def test_it_holds_sums_and_neither_frames_nor_components_of_anybody(people):
    """Every array's shape is fixed by vertices, components, people, lags and frequencies."""
    tensors = {name: array.shape for name, array in load_file(people.prior / "model.safetensors").items()}
    n_bins = tensors["rest_power"][0]
    assert tensors == {
        "scale": (24,),
        "decoder": (6, 24),  # of the group
        "rest_scale": (24,),
        "rest_power": (n_bins,),
        "people.cross": (4, ORDER + 1, 6, 6),
        "people.power": (4, 2, n_bins),
        "people.frames": (4,),
    }
    about = json.loads((people.prior / "model.json").read_text())
    assert set(about) == {
        *("format", "version", "space", "tr", "split", "channels", "eeg_settings", "bands", "features"),
        *("positions", "subject", "people", "notes"),
    }
    assert sorted(path.name for path in people.prior.iterdir()) == [
        "checksums.txt",
        "model.json",
        "model.safetensors",
    ]
    assert not [path for path in people.prior.parent.iterdir() if path.name.startswith(".")]


def test_artefacts_are_named_and_not_counted(people, learned, tmp_path):
    """With them the prior is that of the run without these frames."""
    spoilt, missing = [tmp_path / f"{name}/sub-01_bold.npz" for name in ("spoilt", "missing")]
    frames = np.load(people.runs[0])["bold"]
    noise = np.random.default_rng(0).standard_normal((3, 24))
    for path, values in ((spoilt, frames[[20, 21, 70]] + 30 * noise), (missing, np.nan)):
        path.parent.mkdir()
        bold = frames.copy()
        bold[[20, 21, 70]] = values
        np.savez(path, bold=bold, tr=2.0)
    one, other = (
        learned([p, *people.runs[1:]], out=p.parent / "prior", latents=6) for p in (spoilt, missing)
    )
    assert one.notes == ("sub-01_bold.npz: frames 20, 21, 70 look like artefacts and are not counted",)
    assert other.notes == ()
    for name, tensor in other._tensors().items():
        np.testing.assert_array_equal(one._tensors()[name], tensor, err_msg=name)


def test_artefacts_in_other_people_s_runs_do_not_decide_the_prior_that_a_method_is_fitted_to(people):
    origin = Origin(CorticalSpace.from_parcels(24), 2.0, np.ones(24, np.float32), Split((), (), 0.0))
    everything, times = np.ones(160, bool), 2.0 * np.arange(160)
    runs = [z_scored(path) for path in people.runs]
    spoilt = runs[0].copy()
    spoilt[[20, 21, 70]] += 20 * np.random.default_rng(0).standard_normal((3, 24)).astype(np.float32)
    measured = everything & ~np.isin(np.arange(160), [20, 21, 70])

    def fitted(first, known):
        segments = [
            Segment(frames, times, times, mask, None, "run", person=f"sub-{number}")
            for number, (frames, mask) in enumerate([(first, known), *((z, everything) for z in runs[1:])])
        ]
        part = TrainingPart(origin, [], others=segments)
        return fit_population(part, BackboneSettings(6)).population

    got, without, whole = fitted(spoilt, everything), fitted(runs[0], measured), fitted(runs[0], everything)
    np.testing.assert_allclose(got.autoencoder.rest, without.autoencoder.rest, rtol=1e-3)
    assert got.n_frames == without.n_frames == whole.n_frames - 3
    np.testing.assert_allclose(got.autoencoder.rest, whole.autoencoder.rest, rtol=0.05)
    reached = [of.autoencoder.decoder[:3].T for of in (got, whole)]
    assert np.degrees(subspace_angles(*reached)).max() < 5
    sizes = [np.diagonal(of.total().cross[0])[:3] / of.n_frames for of in (got, whole)]
    np.testing.assert_allclose(*sizes, rtol=0.05)


def test_runs_with_few_frames_are_left_out_and_named(people, learned, tmp_path):
    short = tmp_path / "sub-05_bold.npz"
    np.savez(short, bold=np.load(people.runs[0])["bold"][:40], tr=2.0)
    prior = learned([*people.runs, short], out=tmp_path / "prior", latents=6)
    assert list(prior.population.people) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert prior.notes == ("sub-05_bold.npz: 40 measured frames, at least 48 are needed: left out",)
    with pytest.raises(InputError, match="no run has 48 measured frames; lower --fewest-frames"):
        learned([short], out=tmp_path / "alone")


def test_a_run_with_signal_only_where_nothing_is_known_is_left_out_and_named(people, learned, tmp_path):
    known, elsewhere = [], tmp_path / "sub-05_bold.npz"
    for path in people.runs:
        bold = np.load(path)["bold"].copy()
        bold[:, 3] = 100
        known.append(tmp_path / path.name)
        np.savez(known[-1], bold=bold, tr=2.0)
    bold = np.where(np.arange(24) == 3, np.load(people.runs[0])["bold"], 100)
    np.savez(elsewhere, bold=bold, tr=2.0)
    prior = learned([*known, elsewhere], out=tmp_path / "prior", latents=6)
    assert list(prior.population.people) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert prior.notes[-1] == f"{elsewhere.name}: constant wherever the components know something: left out"


def test_regions_without_signal_in_half_of_the_runs_are_not_known(people, learned, tmp_path):
    runs = []
    for number, path in enumerate(people.runs):
        bold = np.load(path)["bold"].copy()
        bold[:, 3] = 100 if number < 3 else bold[:, 3]
        bold[:, 4] = 100 if number < 1 else bold[:, 4]
        runs.append(tmp_path / path.name)
        np.savez(runs[-1], bold=bold, tr=2.0)
    prior = learned(runs, out=tmp_path / "prior", latents=6)
    whole = PopulationModel.load(people.prior)
    np.testing.assert_array_equal(np.flatnonzero(prior.origin.scale == 0), [3])
    decoder, expected = (model.population.autoencoder.decoder for model in (prior, whole))
    assert not decoder[:, 3].any()
    # One run without signal doesn't make the region's variance smaller.
    size, usual = (np.square(of[:3, 4]).sum() for of in (decoder, expected))
    assert size == pytest.approx(usual, rel=0.1)


def test_volumes_of_one_grid_may_differ_in_voxels(learned, smooth_frames, tmp_path):
    runs = []
    for number in range(3):
        frames = smooth_frames(100, 40, seed=number)
        volume = np.moveaxis(frames.reshape(100, 5, 4, 2), 0, 3).copy()
        volume[number] = 0  # another slab is outside the mask
        runs.append(tmp_path / f"sub-{number}_bold.nii.gz")
        save(Nifti1Image(volume, np.diag([2, 2, 2, 1])), runs[-1])
    prior = learned(runs, out=tmp_path / "prior", bold_tr=0.8)
    assert prior.origin.space.V == 32 and (prior.origin.scale > 0).all()
    save(Nifti1Image(volume, np.diag([3, 2, 2, 1])), tmp_path / "sub-9_bold.nii.gz")
    with pytest.raises(InputError, match="sub-9_bold.nii.gz has a grid of"):
        learned([*runs, tmp_path / "sub-9_bold.nii.gz"], out=tmp_path / "other", bold_tr=0.8)


def test_all_runs_of_a_person_are_in_one_part(people):
    runs = [GroupRun(path, path.name.partition("_")[0], None) for path in people.runs]
    whole = Part(tuple(runs), CorticalSpace.from_parcels(24), 2.0, Censoring(), None, 16, None, people.prior)
    parts = whole.dealt()
    assert [str(part) for part in parts] == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert parts[-1].runs == tuple(runs[-2:])
    results = {replace(parts[0], **other).result for other in ({}, {"fewest": 20}, {"rules": Censoring(0.2)})}
    assert len(results) == 3  # what was made with other settings isn't taken
