"""What goes wrong because of the input, as opposed to because of us."""


class InputError(ValueError):
    """The data or the arguments can't be used; the message says what, expected, got, what to do.

    The command line prints the message and exits with code 2. Everything else is a bug.
    """
