"""What goes wrong because of the input, as opposed to because of us."""

from importlib.util import find_spec


class InputError(ValueError):
    """The data or the arguments can't be used; the message says what, expected, got, what to do.

    The command line prints the message and exits with code 2. Everything else is a bug.
    """


def need_torch(why: str) -> None:
    """Raise InputError where PyTorch or Lightning isn't installed."""
    if not (find_spec("torch") and find_spec("lightning")):
        raise InputError(f"{why}; pip install 'neuroframes[diffusion]', or use a model of --preset gaussian")
