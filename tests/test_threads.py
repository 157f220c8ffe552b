"""One BLAS thread while a command runs, as many as before afterwards."""

import inspect
import os

import pytest
import scipy.linalg  # noqa: F401 - brings a BLAS of its own
from threadpoolctl import threadpool_info, threadpool_limits

import neuroframes
from neuroframes.cli import COMMANDS
from neuroframes.errors import InputError


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


class Watched(os.PathLike):
    """A path that notes how many threads there are when a command first looks at it."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def __fspath__(self) -> str:
        self.threads = blas_threads()
        raise InputError("enough")


# What files need and objects don't, and a number where a path won't do.
MORE = {"complete": {"out": "x"}, "resample": {"out": "x", "tr": 1.0}}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_one_blas_thread(command):
    function, path = getattr(neuroframes, command.replace(" ", "_")), Watched()
    parameters = inspect.signature(function).parameters.values()
    required = [each for each in parameters if each.default is each.empty]
    given = {each: [path] if "Sequence[" in str(each.annotation) else path for each in required}
    first = [given[each] for each in required if each.kind is each.POSITIONAL_ONLY]
    named = {each.name: given[each] for each in required if each.kind is not each.POSITIONAL_ONLY}
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(InputError, match="enough"):
            function(*first, **named | MORE.get(command, {}))
        assert blas_threads() == before == [2] * len(before)
    assert path.threads == [1] * len(before) and before
