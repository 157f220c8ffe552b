"""A function's parameters as options of the command line, so that each stands once.

    first parameter     given by its place
    every other         --fd-threshold for fd_threshold; a flag if it is a bool, repeated if it is a sequence
    str | None          where the default isn't None, `none` is
    --config FILE       a YAML mapping, read as if it were typed: 10:14, 01 and no are text there too, but
                        for a flag yes, on and true give it

Types and defaults stand in the signature, help and units in the docstring. argparse reads them: jsonargparse,
which does so too, knows no dashes within names and states types and errors in words of its own.
"""

import argparse
import inspect
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from docstring_parser import DocstringParam, DocstringStyle
from docstring_parser import parse as parse_docstring

from neuroframes.errors import InputError, check_there, said

# A bar is drawn on a terminal and nowhere else: nothing to choose. Times are of arrays.
IN_PYTHON_ONLY = {"progress", "times"}
FLAGS = {word: on for on, words in ((True, "true yes on"), (False, "false no off")) for word in words.split()}


class Parser(argparse.ArgumentParser):
    """Takes names in full, and knows what a wrong one may have been meant to be."""

    def __init__(self, name: str | None = None, usage: str | None = None, **settings: Any) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(name, usage, formatter_class=layout, allow_abbrev=False, **settings)

    def refuse_unknown(self, typed: Sequence[str], names: Sequence[str], where: str = "") -> None:
        """Exit if an option that was typed is none of `names`; argparse would complain of others first."""
        known = ["--", "--help", "--config", "--debug", *map(_option, names)]
        for word in (word.partition("=")[0] for word in typed if word.startswith("--")):
            if word not in known:
                near = [name for name in known if name.startswith(word)] or get_close_matches(word, known, 1)
                self.error(
                    f"{where}no option {word}" + (f"; did you mean {' or '.join(near)}?" if near else "")
                )


def positionals(function: Callable[..., Any]) -> list[str]:
    """Names of the parameters that are no options: the first, and all that Python takes by position only."""
    parameters = [*inspect.signature(function).parameters.values()]
    first = [p for p in parameters[:1] if p.kind is p.POSITIONAL_OR_KEYWORD]
    return [p.name for p in parameters if p in first or p.kind is p.POSITIONAL_ONLY]


def add_options(parser: Parser, function: Callable[..., Any]) -> list[str]:
    """Add a function's parameters to a parser, which gets its description and usage; returns their names."""
    described = parse_docstring(str(function.__doc__), DocstringStyle.NUMPYDOC)
    entries = {entry.arg_name: entry for entry in described.params}
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in IN_PYTHON_ONLY]
    usage, first = [parser.prog], positionals(function)
    for parameter in parameters:
        settings = _settings(parameter, positional=parameter.name in first)
        settings["help"] = _help(entries[parameter.name], settings)
        if parameter.name in first:
            settings["metavar"] = parameter.name.upper()
            parser.add_argument(parameter.name, **settings)
            usage.append(f"[{settings['metavar']} ...]" if "nargs" in settings else settings["metavar"])
        else:
            parser.add_argument(_option(parameter.name), **settings)
            usage += [f"{_option(parameter.name)} {settings['metavar']}"] if settings.get("required") else []
    parser.usage, parser.description = " ".join([*usage, "[options]"]), described.description
    return [parameter.name for parameter in parameters]


def typed_in(file: Path, parser: Parser, first: Collection[str]) -> Iterator[str]:
    """What stands in a YAML file, as it would be typed.

    A list of what is no sequence, such as frames or tasks, is its text with commas.

    Raises
    ------
    InputError
        If it can't be read, or isn't a mapping from options to values.
    """
    import yaml

    check_there(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
        # Of plain YAML 10:14 is 614 (to the base of 60), 01 is 1, and yes is true.
        written = yaml.load(text, yaml.BaseLoader)
        mappings = isinstance(written, dict) and any(isinstance(value, dict) for value in written.values())
        meant = yaml.safe_load(text) if mappings else {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(
            f"--config {file} can't be read ({said(error)}); correct it, or leave it out"
        ) from error
    if not isinstance(written, dict):
        raise InputError(f"--config {file}: expected options as `name: value`, one a line; correct it")
    for name, value in written.items():
        values = value if isinstance(value, list) else [value]
        default = parser.get_default(name.replace("-", "_"))
        if name not in first and not isinstance(default, list) and {*map(type, values)} == {str}:
            values = [",".join(values)]
        for each in values:
            if isinstance(value, dict) and name not in first:
                yield f"{_option(name)}={json.dumps(meant.get(name), default=str)}"
            elif not isinstance(each, str):
                raise InputError(f"--config {file}: {name} holds {each}; expected plain text or a list of it")
            elif not each:
                raise InputError(f"--config {file}: {name} holds nothing; give it a value, or leave it out")
            elif name in first:
                yield each
            elif default is not False:
                yield f"{_option(name)}={each}"
            elif each.lower() not in FLAGS:
                raise InputError(f"--config {file}: {name} holds {each}; expected true or false")
            elif FLAGS[each.lower()]:
                yield _option(name)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _settings(parameter: inspect.Parameter, positional: bool) -> dict[str, Any]:
    """What argparse is to know of a parameter, from its annotation and default."""
    hint, default = parameter.annotation, parameter.default
    kinds = _kinds(hint)
    settings: dict[str, Any] = {"default": default}
    if default is parameter.empty or parameter.name == "out":  # what isn't written is for Python
        settings = {} if positional else {"required": True}
    if bool in kinds:
        return settings | {"action": "store_true"}
    if choices := [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]:
        return settings | {"choices": choices}
    read, settings["metavar"] = next(READERS[kind] for kind in READERS if kind in kinds)
    settings["type"] = _or_none(read) if NoneType in kinds and default is not None else read
    if get_origin(hint) is Sequence:
        settings |= {"nargs": "*"} if positional else {"action": "append", "default": list(default)}
    return settings


def _kinds(hint: Any) -> set[Any]:
    """Types that an annotation names, those of a sequence's elements too; of a mapping that it is one."""
    if get_origin(hint) in (Union, UnionType, Sequence):
        return {kind for part in get_args(hint) for kind in _kinds(part)}
    return {Mapping if get_origin(hint) is Mapping else hint}


def _help(entry: DocstringParam, settings: Mapping[str, Any]) -> str:
    """The description, the unit of a number, which stands beside its type, and the default."""
    notes, default = [], settings.get("default")
    if "NUMBER" in settings.get("metavar", "") and "," in (entry.type_name or ""):
        notes.append(str(entry.type_name).partition(", ")[2])
    if isinstance(default, str | int | float) and not isinstance(default, bool):
        notes.append(f"default: {default if isinstance(default, str) else f'{default:g}'}")
    if settings.get("action") == "append":
        notes.append("once for each")
    text = " ".join((entry.description or "").split()).removesuffix(".")
    return (f"{text} ({'; '.join(notes)})" if notes else text).replace("%", "%%")


def _number(text: str) -> float:
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number")


def _whole_number(text: str) -> int:
    if not text.isdecimal():  # nor is there a use for those below 0
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, 0 or above")
    return int(text)


def _mapping(text: str) -> Any:
    with suppress(ValueError):
        if isinstance(read := json.loads(text), dict):
            return read
    raise argparse.ArgumentTypeError(f"{text!r} is no JSON mapping")


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == "none" else read(text)


READERS: Mapping[Any, tuple[Callable[[str], Any], str]] = {
    Path: (Path, "PATH"),
    float: (_number, "NUMBER"),
    int: (_whole_number, "WHOLE NUMBER"),
    Mapping: (_mapping, "JSON"),
    str: (str, "TEXT"),
}
