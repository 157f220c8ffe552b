"""Options of a run, which stand once and belong to every command that takes one."""

import inspect
import re

import pytest

import neuroframes
from neuroframes.commands.run import read_run
from neuroframes.errors import InputError
from neuroframes.frames.temporal import FEWEST_MEASURED

COMMANDS = ("complete", "resample")
SHARED = ["model", "leave_out", "eeg", "confounds", "fd_threshold", "dvars_threshold", "censor", "frames"]
SHARED += ["censor_before", "censor_after", "censor_between", "fewest_frames"]
SHARED += ["bold_tr", "mask", "trigger", "onset", "skip_volumes", "times"]


@pytest.mark.parametrize("command", COMMANDS)
def test_signature_and_docstring_spell_them_out(command):
    function = getattr(neuroframes, command)
    parameters = inspect.signature(function).parameters
    assert list(parameters)[-len(SHARED) :] == SHARED and "between" not in parameters
    source = inspect.signature(read_run).parameters
    assert all(parameters[name] == source[name] for name in SHARED)
    described = re.findall(r"^    (\w+) : ", function.__doc__.partition("Returns")[0], re.M)
    assert described == list(parameters)
    assert "**beside" not in function.__doc__ and "Returns\n    -------" in function.__doc__
    assert parameters["fewest_frames"].default == FEWEST_MEASURED


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["nonsense", "between"])
def test_an_unknown_option_is_the_command_s_error(command, name, tmp_path):
    options = {"tr": 1.0} if command == "resample" else {}
    with pytest.raises(TypeError, match=rf"^{command}\(\) got an unexpected keyword argument '{name}'$"):
        getattr(neuroframes, command)("x", out=tmp_path / "y", **options, **{name: 1})


@pytest.mark.parametrize("command", COMMANDS)
def test_a_forgotten_one_too(command):
    missing = {
        "complete": (InputError, "x: pass out, the image to write"),
        "resample": (TypeError, r"^resample\(\) missing a required argument: 'tr'$"),
    }
    error, message = missing[command]
    with pytest.raises(error, match=message):
        getattr(neuroframes, command)("x")
