"""From many people's runs to a prior, and from that to a completed run."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import neuroframes.training.population
from neuroframes.cli import main
from neuroframes.commands.complete import complete
from neuroframes.commands.resample import resample
from neuroframes.errors import InputError
from neuroframes.models.population import PopulationModel
from neuroframes.recording.bold import read_bold
from neuroframes.recording.sidecar import read_sidecar


def run(*arguments: str | Path) -> int:
    return main([os.fspath(argument) for argument in arguments])


def method(path: Path) -> str:
    return read_sidecar(path)["NeuroframesMethod"]


def test_the_command_writes_what_its_function_gives(people, tmp_path, capsys, caplog):
    """In processes of its own."""
    caplog.set_level("INFO", logger="neuroframes")
    assert run("prior", *people.runs[:2], "--out", tmp_path / "prior", "--components", people.prior) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(tmp_path / "prior")]
    assert "2 runs of 2 people, 6 components" in caplog.text
    assert "" not in printed.err.splitlines()  # where there is no terminal for a bar
    two, four = (PopulationModel.load(path).population for path in (tmp_path / "prior", people.prior))
    assert list(two.people) == ["sub-01", "sub-02"]
    for person, lags in two.people.items():
        np.testing.assert_allclose(lags.cross, four.people[person].cross, rtol=1e-6, atol=1e-6)


def test_a_run_is_completed_with_a_prior(people, tmp_path):
    given = {"frames": "50:60,100:104", "model": people.prior}
    (path, deviation) = complete(people.runs[0], out=tmp_path / "filled.npz", **given)
    filled, before = read_bold(path), read_bold(people.runs[0])
    np.testing.assert_array_equal(filled.data[filled.measured], before.data[filled.measured])
    assert np.flatnonzero(~filled.measured).tolist() == [*range(50, 61), *range(100, 105)]
    assert method(path).endswith("a population of 4 people, sub-01, whose run this is, among them")
    assert (read_bold(deviation).data[~filled.measured] > 0).all()
    (without, _) = complete(people.runs[0], out=tmp_path / "without.npz", leave_out="01", **given)
    assert method(without).endswith("a population of 3 people")
    assert read_sidecar(without)["NeuroframesOptions"]["leave_out"] == "01"


def test_a_run_s_own_scale_counts(people, tmp_path):
    """A region whose units are others in this run is filled in these."""
    bold = np.load(people.runs[0])["bold"]
    scale = np.geomspace(0.01, 100, 24)
    np.savez(tmp_path / "sub-01_bold.npz", bold=bold * scale, tr=2.0)
    given = {"frames": "50:60", "model": people.prior}
    filled = [
        read_bold(complete(path, out=tmp_path / f"{number}.npz", **given)[0]).data
        for number, path in enumerate((people.runs[0], tmp_path / "sub-01_bold.npz"))
    ]
    np.testing.assert_allclose(filled[1] / scale, filled[0], rtol=1e-4)


def test_a_run_is_resampled_with_a_prior(people, tmp_path):
    (path, _) = resample(people.runs[0], out=tmp_path / "x.npz", tr=1.0, model=people.prior)
    at = read_bold(path)
    np.testing.assert_array_equal(at.data[::2], read_bold(people.runs[0]).data)
    assert "a population of 4 people" in method(path)


def test_a_bids_tree_is_read_with_its_confounds(recording, learned, tmp_path):
    """Three runs of one person; frames that the confounds mark are left out."""
    root = tmp_path / "bids"
    shutil.copytree(recording.root / "derivatives", root / "derivatives")
    prior = learned(derivatives=root, task="movie", out=tmp_path / "prior", latents=4, fd_threshold=1e3)
    assert list(prior.population.people) == ["sub-01"] and prior.population.n_runs == 3
    table = next(root.rglob("*run-1_desc-confounds_timeseries.tsv"))
    header, *lines = table.read_text().splitlines()
    marked = [line.split("\t") for line in lines]
    for line in marked[10:20]:
        line[header.split("\t").index("framewise_displacement")] = "2000"
    table.write_text("\n".join([header, *("\t".join(line) for line in marked)]) + "\n")
    fewer = learned(derivatives=root, task="movie", out=tmp_path / "fewer", latents=4, fd_threshold=1e3)
    assert fewer.population.n_frames == prior.population.n_frames - 10
    with pytest.raises(InputError, match="no BOLD of task-rest"):
        learned(derivatives=root, task="rest", out=tmp_path / "other")


def test_each_run_without_a_subject_is_a_person_of_its_own_or_the_one_named(people, learned, tmp_path):
    runs = [shutil.copy(path, tmp_path / f"{number}.npz") for number, path in enumerate(people.runs[:2])]
    given = {"components": people.prior}
    assert list(learned(runs, out=tmp_path / "a", **given).population.people) == ["0", "1"]
    alone = learned([*runs, people.runs[2]], out=tmp_path / "b", person="jo", **given)
    assert list(alone.population.people) == ["jo", "sub-03"]
    (own, _) = complete(runs[0], out=tmp_path / "own.npz", frames="50:60", model=tmp_path / "a")
    assert method(own).endswith("a population of 2 people, 0, whose run this is, among them")
    (left, _) = complete(runs[0], out=tmp_path / "x.npz", frames="50:60", model=tmp_path / "a", leave_out="0")
    assert method(left).endswith("a population of 1 person")
    (tmp_path / "there").mkdir()
    same = shutil.copy(people.runs[2], tmp_path / "there" / "0.npz")
    with pytest.raises(InputError, match="have one name, and nothing says whose they are"):
        learned([runs[0], same], out=tmp_path / "c", **given)


def test_whose_runs_were_taken_is_said(people, learned, tmp_path, caplog):
    caplog.set_level("INFO", logger="neuroframes")
    learned(people.runs[2:], out=tmp_path / "prior", components=people.prior)
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "sub-03: sub-03_run-1_bold.npz"
    assert said[1] == "sub-04: sub-04_run-1_bold.npz, sub-04_run-2_bold.npz"
    assert said[2] == "3 of 3 runs without confounds beside: nothing is censored there"


def test_what_was_written_of_a_run_is_no_run(people, learned, tmp_path, caplog):
    """As patterns name all files in a folder."""
    caplog.set_level("INFO", logger="neuroframes")
    runs = [Path(shutil.copy(path, tmp_path)) for path in people.runs[:2]]
    (filled, deviation, draw, _) = complete(
        runs[0], out=tmp_path / "sub-01_filled.npz", frames="50:60", draws=2, save_draws=True
    )
    every = sorted(tmp_path.glob("sub-*"))
    given = {"components": people.prior, "overwrite": True}
    for own in (deviation, draw):
        with pytest.raises(InputError, match=f"{own.name}: draws and standard deviations"):
            learned([*runs, own], out=tmp_path / "prior", **given)
        renamed = own.rename(tmp_path / "sub-01_other.npz")
        own.with_suffix(".json").rename(renamed.with_suffix(".json"))
        with pytest.raises(InputError, match=f"{renamed.name}: draws and standard deviations"):
            learned([*runs, renamed], out=tmp_path / "prior", **given)
        renamed.rename(own)  # and without its sidecar
        with pytest.raises(InputError, match=f"{own.name}: draws and standard deviations"):
            learned([*runs, own], out=tmp_path / "prior", **given)
    rest = [path for path in every if "_stat-" not in path.name and "_draw-" not in path.name]
    assert learned(rest, out=tmp_path / "prior", **given).population.n_runs == 2
    assert "sub-01_filled.npz was made of the run of sub-01_run-1_bold.npz: passed over" in caplog.text
    assert "1 .json file passed over" in caplog.text
    alone = learned([filled, runs[1]], out=tmp_path / "prior", **given)
    assert alone.population.people["sub-01"].frames == 160 - 11


def test_parcels_that_most_runs_lack_are_named(learned, smooth_frames, tmp_path, caplog):
    names = [f"area {number}" for number in range(20)]
    runs = [tmp_path / f"sub-{number}_bold.npz" for number in range(3)]
    for number, run in enumerate(runs):
        frames = smooth_frames(100, 20, seed=number)
        frames[:, 4] = np.nan if number else frames[:, 4]
        frames[:, 7] = 1.0
        np.savez(run, bold=frames, names=names, tr=0.8)
    learned(runs, out=tmp_path / "prior", latents=3)
    lacking = (
        "2 of 20 parcels (area 4, area 7) are left out: constant, or without values, in half of the runs"
    )
    assert lacking in caplog.text
    complete(runs[0], out=tmp_path / "filled.npz", frames="50:60", model=tmp_path / "prior")
    assert "1 of 20 parcels (area 7) are constant or not finite in many frames: kept" in caplog.text
    assert "1 of 20 parcels (area 4) are unknown to the model, without signal in what it was" in caplog.text


def test_both_hemispheres_named_are_one_run(recording, learned, tmp_path):
    both = [recording.bold(1, "L"), recording.bold(1, "R")]
    assert learned(both, out=tmp_path / "prior", latents=4).population.n_runs == 1


def test_it_goes_on_where_it_was_interrupted(people, learned, tmp_path, monkeypatch):
    fit, fitted = neuroframes.training.population.fit_lags, []

    def counted(*arguments, fails: bool):
        fitted.append(len(fitted))
        if fails and len(fitted) == 3:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(neuroframes.training.population, "fit_lags", lambda *a: counted(*a, fails=True))
    with pytest.raises(KeyboardInterrupt):
        learned(people.runs, out=tmp_path / "prior", latents=6)
    monkeypatch.setattr(neuroframes.training.population, "fit_lags", lambda *a: counted(*a, fails=False))
    prior = learned(people.runs, out=tmp_path / "prior", latents=6)
    assert len(fitted) == 3 + 3  # two of five were there
    assert [path.name for path in tmp_path.iterdir()] == ["prior"]
    whole = PopulationModel.load(people.prior)
    for name, tensor in whole._tensors().items():
        np.testing.assert_array_equal(prior._tensors()[name], tensor)


def test_a_run_that_can_t_be_used_is_named_and_the_rest_kept(people, learned, tmp_path):
    other = tmp_path / "sub-09_bold.npz"
    np.savez(other, bold=np.load(people.runs[0])["bold"], tr=2.5)
    said = "sub-09_bold.npz has a TR of 2.5 s, sub-01_run-1_bold.npz 2 s; make a prior for each TR"
    with pytest.raises(InputError, match=said):
        learned([*people.runs, other], out=tmp_path / "prior")
    assert [*tmp_path.iterdir()] == [other]  # before anything was read
    np.savez(other, bold=np.load(people.runs[0])["bold"][:, :20], tr=2.0)
    with pytest.raises(InputError, match="sub-09_bold.npz has 20 values.*kept in .prior-parts, for the same"):
        learned([*people.runs, other], out=tmp_path / "prior")
    assert not (tmp_path / "prior").exists()
    with pytest.raises(InputError, match="sub-09_bold.npz has 20 values.*made for$"):
        learned([other], out=tmp_path / "alone", components=people.prior)
    assert not (tmp_path / ".alone-parts").exists()


def test_of_runs_that_are_too_short_nothing_is_left(people, learned, tmp_path):
    for given in ({}, {"components": people.prior}):
        with pytest.raises(InputError, match="no run has 500 measured frames"):
            learned(people.runs, out=tmp_path / "prior", fewest_frames=500, **given)
        assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "pass either runs, or priors to merge, or --derivatives"),
        (["a.npz", "--derivatives", "b"], "pass either runs"),
        (["a.npz", "--task", "rest"], "--space and --task choose among the runs of --derivatives"),
        (["a.npz", "--latents", "0"], "--latents 0"),
        (["a.npz", "--fewest-frames", "3"], "--fewest-frames 3"),
        (["a.npz", "--censor-after", "1", "--components", "c"], "c: no such folder"),
        (["a.npz"], "a.npz: no such file"),
        (["a.json"], "pass either runs"),
        (["a.npz", "--components", "c", "--latents", "3"], "--latents with --components: "),
    ],
)
def test_what_can_t_be_used_is_refused(refused, arguments, said):
    assert said in refused("prior", *arguments, "--out", "prior")


def test_a_cluster_takes_submitit(refused, people, monkeypatch):
    monkeypatch.setattr("neuroframes.evaluation.jobs.find_spec", lambda name: None)
    error = refused("prior", people.runs[0], "--out", "x", "--cluster", "slurm")
    assert error.endswith("--cluster needs submitit; pip install 'neuroframes[benchmark]'")


def test_priors_that_can_t_be_merged_are_refused(refused, people, learned, tmp_path):
    learned(people.runs[:2], out=tmp_path / "own", latents=6)
    assert "components of their own" in refused("prior", people.prior, "own", "--out", "x")
    assert "would count twice" in refused("prior", people.prior, people.prior, "--out", "x")
    assert "sub-01_run-1_bold.npz is no prior" in refused("prior", people.prior, people.runs[0], "--out", "x")
    options = ("--latents", "3", "--fd-threshold", "0.3", "--out", "x")
    error = refused("prior", people.prior, people.prior, *options)
    assert f"--latents, --fd-threshold with the prior {people.prior}: priors are merged as they" in error


def test_other_models_and_people_are_refused_where_a_prior_is_needed(refused, people, recording):
    leave = ("--leave-out", "07", "--frames", "40", "--out", "x.npz")
    error = refused("complete", people.runs[0], "--model", people.prior, *leave)
    assert "--leave-out 07: the prior holds sub-01, sub-02, sub-03, sub-04; name one of these" in error
    assert "--leave-out needs --model" in refused("complete", people.runs[0], *leave)
    gii = ("--leave-out", "07", "--frames", "40", "--out", "x.func.gii")
    assert "holds no people" in refused("complete", recording.bold(3), "--model", recording.model, *gii)
    eeg = ("--eeg", "sub-01_run-1_eeg.vhdr")
    assert "reads no EEG" in refused("reconstruct", people.prior, *eeg, "--out", "x.npz")
    assert "reads no EEG" in refused("complete", people.runs[0], "--model", people.prior, *eeg, *leave[2:])


def test_grayordinates_are_learned_and_completed(run_of, learned, tmp_path):
    """Every format that is read."""
    runs = [run_of(120, name=f"{number}") for number in range(2)]
    prior = learned(runs, out=tmp_path / "prior", latents=5)
    assert prior.population.autoencoder.decoder.shape == (5, 200)
    (path, _) = complete(runs[0], out=tmp_path / "x.dtseries.nii", frames="60:65", model=tmp_path / "prior")
    assert np.isfinite(read_bold(path).data).all()
