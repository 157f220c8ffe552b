"""The command line: a command is the public function of its name, whose parameters are its options.

`decode fit` is one command, of `decode_fit`.

What options there are, their types, defaults and help stand in the function alone: see `neuroframes.options`.
Only the module of the chosen command is imported.
"""

import argparse
import ast
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import neuroframes
from neuroframes.errors import InputError, explained, listed
from neuroframes.options import Parser, add_options, positionals, typed_in

COMMANDS = (
    *("simulate", "check", "prepare", "train", "prior", "adapt", "reconstruct", "complete", "resample"),
    *("export", "evaluate", "benchmark", "decode fit", "decode score", "view"),
)


class Terminated(KeyboardInterrupt):
    """SIGTERM, by which schedulers end jobs: what is half written is cleared away as after an interrupt."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns 0 if it worked, 2 where the input is at fault, 3 where `check` finds something wrong, 1 where we
    or this machine are, and as shells have it 130 if interrupted, 143 if terminated; exits with 141 where
    nobody reads what is printed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    what = ""
    try:
        with _terminable():
            with _printing():
                command, options = parse(arguments)
            first_given = next(iter(options.values()))
            shown = listed(first_given, most=3) if isinstance(first_given, list) else first_given
            what = f"{command} {shown}: "
            _log_to_terminal()
            function = _function(command)
            first = positionals(function)
            named = {name: value for name, value in options.items() if name not in first}
            result = function(*(options[name] for name in first), **named)
            with _printing():
                return _print_result(command, result, options)
    except InputError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(explained(error))
    except KeyboardInterrupt as error:
        terminated = isinstance(error, Terminated)
        print(f"neuroframes: {'terminated' if terminated else 'interrupted'}", file=sys.stderr)
        return 143 if terminated else 130
    except Exception as error:
        if "--debug" in arguments:
            raise
        if isinstance(error, MemoryError):
            lacking = f"{what}not enough memory ({error})".replace(" ()", "")
            return _fail(f"{lacking}; close other programs, or use a machine with more", 1)
        fault = "this is a fault of neuroframes: please report it with what --debug shows"
        return _fail(f"{what}{type(error).__name__}: {error}; {fault}", 1)


def parse(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command and the arguments of its function; exits where they can't be used, or help is asked for."""
    arguments = _of_two_words(arguments)
    shared = Parser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show where an unexpected error came from")
    top = Parser("neuroframes", "neuroframes [options] COMMAND ...", parents=[shared])
    top.add_argument("--version", action="version", version=f"neuroframes {neuroframes.__version__}")
    top.add_argument("command", metavar="COMMAND", choices=COMMANDS, help=argparse.SUPPRESS)
    top.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS).required = False
    if not {*COMMANDS} & {*arguments}:
        summaries = [f"  {name:13}{_summary(name)}" for name in COMMANDS]
        top.description = "\n".join([str(neuroframes.__doc__), "", "commands:", *summaries])
    chosen = top.parse_args(arguments)
    shared.add_argument("--config", action="append", default=[], metavar="PATH", help="YAML file of options")
    parser = Parser(f"neuroframes {chosen.command}", parents=[shared])
    function = _function(chosen.command)
    names, first = add_options(parser, function), positionals(function)
    shared.prog, shared.usage = parser.prog, parser.usage  # of its own errors
    given, typed = shared.parse_known_args(chosen.rest)
    known = [name for name in names if name not in first]
    parser.refuse_unknown(typed, known)
    for path in reversed(given.config):  # what is typed counts, and of several files the last
        try:
            words = [*typed_in(Path(path), parser, first)]
        except InputError as error:
            parser.error(str(error))
        parser.refuse_unknown(words, known, f"--config {path}: ")
        typed = words + typed
    options = vars(parser.parse_args(typed))
    return chosen.command, {name: options[name] for name in names}


def _of_two_words(arguments: Sequence[str]) -> list[str]:
    """The arguments, with both words of such a command in one."""
    first = next((number for number, word in enumerate(arguments) if not word.startswith("-")), 0)
    both = " ".join(arguments[first : first + 2])
    return [*arguments[:first], both, *arguments[first + 2 :]] if both in COMMANDS else [*arguments]


def _function(command: str) -> Any:
    return getattr(neuroframes, command.replace(" ", "_"))


def _summary(command: str) -> str:
    """The first line of a command's docstring, off its source: nothing that the command needs is imported."""
    name = command.replace(" ", "_")
    module = Path(__file__).parent.joinpath(*neuroframes.HOMES[name].split(".")[1:]).with_suffix(".py")
    body = ast.parse(module.read_text(encoding="utf-8")).body
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    return str(ast.get_docstring(functions[name])).partition("\n")[0]


def _print_result(command: str, result: Any, options: dict[str, Any]) -> int:
    """Print what a command found or wrote; returns the exit code."""
    if command == "check":
        print(result)
        return int(result.exit_code)
    if command in ("evaluate", "decode score"):
        from neuroframes.evaluation.summary import r_text
        from neuroframes.report.decoding import scores_text

        text = r_text if command == "evaluate" else scores_text
        # Into a file or a pipe the table goes in full.
        print(text(result, get_terminal_size().columns if sys.stdout.isatty() else None))
    if not isinstance(result, Path | tuple):  # a model or a table is for Python
        result = options["out"]
    print(*(result if isinstance(result, tuple) else [result]), sep="\n")
    return 0


@contextmanager
def _printing() -> Iterator[None]:
    """Exit with 141, as shells have it, where nobody reads on: `neuroframes evaluate ... | head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Or Python tries again when it ends, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM, which would end Python without a word."""

    def terminate(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(message: str, code: int = 2) -> int:
    # What a library says of a broken file may take several lines; blanks within one may matter ("T  1").
    line = " ".join(part.strip() for part in message.splitlines())
    print(f"neuroframes: error: {line}", file=sys.stderr)
    return code


def _log_to_terminal() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("neuroframes").setLevel(logging.INFO)
    # It remarks on the voxel size of every CIFTI file, which has none.
    logging.getLogger("nibabel").setLevel(logging.ERROR)
