"""What goes wrong because of the input, as opposed to because of us."""

import math
from importlib.util import find_spec
from numbers import Real


class InputError(ValueError):
    """The data or the arguments can't be used; the message says what, expected, got, what to do.

    The command line prints the message and exits with code 2. Everything else is a bug.
    """


def check_number(
    value: object,
    option: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> float:
    """`value` as a float, once it is sure to be a finite number within the limits that are given.

    Parameters
    ----------
    value : object
    option : str
        Where the user gave it, for the message: "--fd-threshold".

    Raises
    ------
    InputError
        If it isn't; true, false and text are no numbers.
    """
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    number = float(value) if is_real else math.nan  # type: ignore[arg-type]
    within = (
        math.isfinite(number)
        and (above is None or number > above)
        and (at_least is None or number >= at_least)
        and (below is None or number < below)
    )
    if not within:
        limits = {"above": above, "of at least": at_least, "below": below}
        stated = [f"{word} {limit:g}" for word, limit in limits.items() if limit is not None]
        got = value if is_real else repr(value)
        raise InputError(f"{option} {got}; expected a finite number {' and '.join(stated)}".rstrip())
    return number


def need_torch(why: str) -> None:
    """Raise InputError where PyTorch or Lightning isn't installed."""
    if not (find_spec("torch") and find_spec("lightning")):
        raise InputError(f"{why}; pip install 'neuroframes[diffusion]', or use a model of --preset gaussian")
