"""What the documentation shows works: Python blocks run, command lines parse, links lead somewhere."""

import inspect
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import neuroframes
from neuroframes.cli import COMMANDS, main, parse
from neuroframes.commands.complete import complete
from neuroframes.recording.bold import read_bold
from neuroframes.recording.features import read_features
from neuroframes.recording.sidecar import read_sidecar

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# The examples are about the demo's recording; here they run on a smaller one, on another mesh.
SMALLER = {
    "demo/recording": "{root}",
    "demo/model": "{model}",
    "run-4": "run-3",
    "_space-fsLR_den-32k_bold.dtseries.nii": "_hemi-L_space-fsaverage5_bold.func.gii",
    ".dtseries.nii": ".func.gii",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


def command_lines(page: Path) -> list[str]:
    """Every `neuroframes ...` that a reader would type: fenced, indented, or as code within a sentence."""
    text = page.read_text().replace("\\\n", " ")
    fenced = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M))
    lines = re.findall(r"^neuroframes .+$", fenced, re.M) + re.findall(r"^ {4}(neuroframes .+)$", text, re.M)
    inline = re.findall(r"`(neuroframes [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))
    # In a sentence `neuroframes view` is the command's name, not a line to type.
    return lines + [line for line in inline if len(line.split()) > 2]


def on_smaller_recording(code: str, recording) -> str:
    for demo, smaller in SMALLER.items():
        code = code.replace(demo, smaller.format(root=recording.root, model=recording.model))
    return code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_parse(page):
    for line in command_lines(page):
        words = shlex.split(line)[1:]
        assert f"neuroframes {parse(words)[0]} " in line


def test_every_command_is_shown_in_the_readme():
    shown = {parse(shlex.split(line)[1:])[0] for page in PAGES for line in command_lines(page)}
    assert shown == set(COMMANDS)


def test_python_of_the_readme_runs(recording, tmp_path, monkeypatch, capsys):
    (code,) = blocks(ROOT / "README.md", "python")
    assert 12 <= len(code.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    # The smaller recording's mesh is no standard one, which `view` needs; its own tests draw pages.
    signature, viewed = inspect.signature(neuroframes.view), []
    monkeypatch.setattr(
        neuroframes, "view", lambda *a, **k: viewed.append(signature.bind(*a, **k)), raising=False
    )
    names: dict[str, object] = {}
    exec(compile(on_smaller_recording(code, recording), "README.md", "exec"), names)
    measured = read_bold(recording.bold(3))
    assert capsys.readouterr().out.startswith(f"{measured.data.shape} 1.0 ")
    kept = np.array(read_sidecar(names["paths"][0])["NeuroframesMeasured"])
    np.testing.assert_array_equal(names["filled"].data[kept], measured.data[kept])
    assert (names["deviation"].data[kept] == 0).all()
    assert (tmp_path / "from-eeg_hemi-R.func.gii").exists()
    assert [page.arguments["result"] for page in viewed] == [names["paths"][0]]


def test_python_of_the_page_on_files_runs(recording, tmp_path, monkeypatch, capsys):
    (code,) = blocks(ROOT / "docs" / "files.md", "python")
    left, *_ = complete(recording.bold(3), out=tmp_path / "filled.func.gii", frames="10:14,40")
    os.rename(left.with_name(left.name.replace(".func.gii", ".json")), tmp_path / "filled.json")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "files.md", "exec"), {})
    assert capsys.readouterr().out == "114 of 120 frames are measured\n"


def test_python_of_the_page_on_checks_runs(recording, capsys):
    (code,) = blocks(ROOT / "docs" / "check.md", "python")
    exec(compile(on_smaller_recording(code, recording), "check.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "3 runs of 1 person" in shown and "\nsub-01 task-movie_run-3 120 " in shown


def test_python_of_the_page_on_simulations_runs(recording):
    (code,) = blocks(ROOT / "docs" / "simulated.md", "python")
    names: dict[str, object] = {}
    exec(compile(on_smaller_recording(code, recording), "simulated.md", "exec"), names)
    assert names["signal"].shape == names["coupled"].shape == (120, 20_484)
    assert 0 < names["coupled"].std() < names["signal"].std()


def test_python_of_the_page_on_the_surface_model_runs():
    (code,) = blocks(ROOT / "docs" / "methods" / "surface.md", "python")
    names: dict[str, object] = {}
    exec(compile(code, "surface.md", "exec"), names)
    assert names["frames"].shape == (1, 59_412, 10)


def test_python_of_the_page_on_nilearn_runs(recording, tmp_path, monkeypatch):
    code, _ = blocks(ROOT / "docs" / "nilearn.md", "python")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(on_smaller_recording(code, recording), "nilearn.md", "exec"), names)
    assert names["signals"].shape == (len(names["kept"]), names["run"].space.V)
    assert len(names["kept"]) == names["run"].measured.sum() < 120
    assert np.isfinite(names["signals"]).all()


def test_python_on_recordings_in_memory_runs(recording, learned, tmp_path, monkeypatch):
    _, code = blocks(ROOT / "docs" / "nilearn.md", "python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(neuroframes, "prior", learned, raising=False)
    names: dict[str, object] = {}
    exec(compile(on_smaller_recording(code, recording), "nilearn.md", "exec"), names)
    assert names["store"].name == "sub-01.zarr" and names["model"].reads_eeg
    assert names["prior"].population.n_runs == 3


def test_the_page_on_decoding_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("himalaya")
    pytest.importorskip("av")
    page = ROOT / "docs" / "decoding.md"
    monkeypatch.chdir(tmp_path)
    for line in command_lines(page)[:8]:  # those of its first block
        smaller = line.replace(
            "--minutes 20 --tr 2 --parcels 100", "--minutes 6 --tr 1.5 --parcels 20 --channels 4"
        )
        assert main(shlex.split(smaller)[1:]) == 0, line
    printed = capsys.readouterr().out
    for row in ("desc-parcels_bold.tsv", "run-4_completed.tsv", "run-4_finer.tsv", "run-4_from-eeg.tsv"):
        assert row in printed
    (code,) = blocks(page, "python")
    exec(compile(code, "decoding.md", "exec"), {})
    store = neuroframes.open_store("stores/sub-01.zarr")
    for run in store.runs:
        table = read_features(Path(f"embeddings/sub-01_{run.name}_desc-film.tsv"), tr=run.tr, stimulus=True)
        np.testing.assert_allclose(table.values, store.shown(run)[:, : len(table.names)], rtol=1e-5)


def test_no_python_goes_untested():
    tested = {"README.md", "check.md", "decoding.md", "files.md", "nilearn.md", "simulated.md", "surface.md"}
    assert {page.name for page in PAGES if blocks(page, "python")} == tested


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_have_as_many_cells_in_every_row(page):
    for table in re.findall(r"(?:^\|.*\|\n)+", page.read_text(), re.M):
        assert len({len(re.split(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table
