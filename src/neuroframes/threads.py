"""Threads of linear algebra, bounded while a command runs.

Nearly all matrices here are small: factors of at most 1,500 frames, one for each group of latents. Many
threads on one of them wait for each other longer than they compute, and beside other processes they never
stop waiting.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def few_threads(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The command, with one BLAS thread while it runs; networks keep theirs, which are PyTorch's own."""

    @wraps(command)
    def bounded(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        import scipy.linalg  # noqa: F401 - a library that is loaded later would not be bounded
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="blas"):
            return command(*arguments, **options)

    return bounded
