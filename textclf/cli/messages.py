"""Messages for mistakes on the command line and in configurations: one line each, with a suggestion."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pydoc import locate
from typing import Any

from lightning.pytorch import Trainer

from textclf.classes.user_code import missing_class
from textclf.cli.names import COMMAND_ALIASES, COMMANDS, OPTION_ALIASES
from textclf.data.base import TextDataModule
from textclf.models.base import TextClassifier
from textclf.models.embedding import EmbeddingClassifier
from textclf.models.inference import InferenceClassifier
from textclf.models.preparation import PreparedClassifier
from textclf.run.yaml_values import yaml_error

AXES: dict[str, type[Any]] = {"model": TextClassifier, "data": TextDataModule}
# Parts of jsonargparse's messages.
UNRECOGNIZED = re.compile(r"unrecognized arguments: (.*)", re.DOTALL)
OPTION_OF_A_FILE = re.compile(r"does not accept option '([\w.-]+)'")
GIVEN_CLASS = re.compile(r"given class_path '([\w.]+)'")
UNKNOWN_ARGUMENT = re.compile(r"Option '([\w.-]+)' is not accepted")
MISSING_ARGUMENTS = re.compile(r"the following arguments are required: (.+)")
UNKNOWN_CLASS = re.compile(r"(?:dot import path string: |given class_path ')([^\s']+)")
KEY = re.compile(r'Parser key "([\w.]+)"')
EXPECTED = re.compile(r"^Expected a (?!dot import)(.+?)(?:\. Got value.*)?$", re.MULTILINE)
GIVEN_VALUE = re.compile(r"(?:Got value|Given value): (.*)")


def explain(message: str, options: Iterable[str] = ()) -> str:
    """Rewrites an error of jsonargparse as one line, with the remedy.

    jsonargparse has no error codes or fields: its messages are searched for the patterns above.

    Args:
        message: The message of jsonargparse, of many lines.
        options: The options that the command has.
    """
    if match := UNRECOGNIZED.search(message):
        return _unknown_option(match[1], options)
    if match := OPTION_OF_A_FILE.search(message):
        return f"there is no option {match[1]!r}{_suggestion(match[1], options, dashes='')}"
    keys, inner = _innermost(message)
    return _explain_value(".".join(keys), inner, message, options)


def _explain_value(key: str, inner: str, message: str, options: Iterable[str]) -> str:
    """Explains why the value of an option is refused.

    Args:
        key: The option, such as `data` or `trainer.callbacks`; empty where the message names none.
        inner: The lines of the message about this option.
        message: The whole message.
        options: The options that the command has.
    """
    class_path = ""
    if match := GIVEN_CLASS.search(message):
        class_path = match[1]
    if match := UNKNOWN_ARGUMENT.search(inner):
        return _unknown_argument(key, class_path, match[1], options)
    if match := MISSING_ARGUMENTS.search(inner):
        missing = " and ".join(f"--{key}.{name} ..." for name in match[1].split(", "))
        return f"{key}: {class_path.rpartition('.')[2]} needs {match[1]}: pass {missing}"
    if match := UNKNOWN_CLASS.search(inner):
        class_names = ""
        if key in AXES:
            class_names = f"one of {', '.join(sorted({kind.__name__ for kind in classes(AXES[key])}))}, or "
        return f"{key}: {missing_class(match[1])}: give {class_names}the full path of your own class"
    mismatch = _mismatch(inner)
    return f"{key}: {mismatch}" if key else mismatch


def misplaced_command(arguments: Sequence[str]) -> str:
    """Says what is wrong where the first word is not a command."""
    remedy = "the commands are fit, validate, test and predict; see `textclf --help`"
    if not arguments:
        return f"a command is missing: {remedy}"
    if command := next((word for word in arguments if word in COMMANDS), None):
        return f"the command comes first: write `textclf {command} ...`, then its options"
    if arguments[0].startswith("-"):
        return f"a command comes before the options: {remedy}"
    similar = _similar_command(arguments[0].lower().replace("-", "_"))
    if similar is not None:
        remedy = f"did you mean {similar!r}? {remedy}"
    return f"there is no command {arguments[0]!r}: {remedy}"


def _similar_command(name: str) -> str | None:
    """The command with this or a similar name, here or in other tools."""
    commands = COMMAND_ALIASES | {command: command for command in COMMANDS}
    for similar in get_close_matches(name, commands, 1):
        return commands[similar]
    return None


def classes(base: type[Any]) -> list[type[Any]]:
    """All classes below a base that can be named, each once: one may have two bases that lead to it."""
    kinds: dict[type[Any], None] = {}
    for kind in base.__subclasses__():
        kinds |= dict.fromkeys([kind, *classes(kind)])
    return [kind for kind in kinds if kind not in (PreparedClassifier, EmbeddingClassifier, InferenceClassifier)]


def parameters(kinds: Iterable[Any]) -> set[str]:
    """The arguments that any of some classes takes."""
    names = {name for kind in kinds for name in inspect.signature(kind).parameters}
    return names - {"self", "kwargs"}


def _unknown_option(words: str, options: Iterable[str]) -> str:
    first, *following = words.split(" ")
    if not first.startswith("-"):
        return f"{words!r} is not the value of an option: put a value with spaces, or several texts, in quotation marks"
    option, equals, value = first.partition("=")
    if not equals and following and not following[0].startswith("--"):
        value = following[0]
    return f"there is no option {option}{_suggestion(option.lstrip('-'), options, value)}"


def _suggestion(name: str, options: Iterable[str], value: str = "", dashes: str = "--") -> str:
    """`: did you mean ...?`, or where the options are listed.

    Args:
        name: The option that does not exist, without dashes.
        options: The options that the command has.
        value: The value that it was given; may be empty.
        dashes: What an option begins with: dashes on the command line, nothing in a file.
    """
    section, _, argument = name.replace("-", "_").rpartition(".")
    option_names = _option_names(options)
    option = _option_of_alias(argument, option_names)
    if option is not None:
        suggestions = [option]
        takes_value = " " not in option
    else:
        suggestions = _similar_options(section, argument, option_names)
        takes_value = True
    if not suggestions:
        return ": `--help` lists the options"
    if takes_value:
        suggestions = [f"{suggested} {value}".rstrip() for suggested in suggestions]
    return f": did you mean {' or '.join(repr(f'{dashes}{suggested}') for suggested in suggestions)}?"


def _option_of_alias(alias: str, option_names: Sequence[str]) -> str | None:
    """The option, without dashes, that has this name in other tools; None where there is none, or not here."""
    option = OPTION_ALIASES.get(alias.lower(), "").removeprefix("--")
    name = re.sub(r"^([\w.]+).*", r"\1", option)  # without the value that some have
    return option if name in option_names else None


def _option_names(options: Iterable[str]) -> list[str]:
    """The names of all options, those of any method and data set included, without dashes."""
    names = {"trainer", *AXES}
    names |= {option.removeprefix("--") for option in options if option.startswith("--") and option != "--help"}
    names |= {f"trainer.{name}" for name in parameters([Trainer])}
    for axis, base in AXES.items():
        names |= {f"{axis}.{name}" for name in parameters([*classes(base), base])}
    return sorted(names)


def _same_argument(argument: str, option_names: Sequence[str]) -> list[str]:
    """The options of any section whose last part is `argument`."""
    return [name for name in option_names if name.rpartition(".")[2] == argument]


def _similar_options(section: str, argument: str, option_names: Sequence[str]) -> list[str]:
    """The options with a name similar to that of an unknown one.

    Args:
        section: The part of the unknown name before its last dot, such as `data`; may be empty.
        argument: The part after its last dot.
        option_names: The options that exist, sorted.
    """
    if same := _same_argument(argument, option_names):
        return same
    candidates = list(option_names)
    if section:
        candidates = [name for name in option_names if name.startswith(f"{section}.")]
    by_argument = {name.rpartition(".")[2]: name for name in candidates}
    if similar := get_close_matches(argument, by_argument, 1, cutoff=0.75):
        return [by_argument[similar[0]]]
    if candidates:
        return []
    sections = get_close_matches(section, [*AXES, "trainer"], 1)
    corrected = [f"{similar_section}.{argument}" for similar_section in sections]
    return [name for name in corrected if name in option_names] or sections


def _unknown_argument(key: str, class_path: str, name: str, options: Iterable[str]) -> str:
    """Says that a class has no such argument, and suggests one, of this class or of another section."""
    axis = key.partition(".")[0]
    short = class_path.rpartition(".")[2]
    bases = getattr(locate(class_path), "__mro__", ())
    own_arguments = parameters(base for base in bases if "__init__" in vars(base) and base is not object)
    argument = name.replace("-", "_").rpartition(".")[2]
    suggestion = OPTION_ALIASES.get(argument.lower(), "").removeprefix(f"--{axis}.")
    if suggestion not in own_arguments:
        suggestion = ""
        if key in AXES:
            suggestion = _option_of_another_section(axis, argument, _option_names(options))
    if not suggestion:
        suggestion = "".join(get_close_matches(argument, own_arguments, 1))
    text = f"{key}: there is no argument {name!r} of {short}"
    if suggestion:
        text += f": did you mean {suggestion!r}?"
    if key in AXES:
        text += f" (`textclf fit --{key}.help {short}` lists them)"
    return text


def _option_of_another_section(axis: str, argument: str, option_names: Sequence[str]) -> str:
    """The option outside of `axis` that has this name, here or in other tools, with dashes; empty if there is none."""
    options = _same_argument(argument, option_names)
    alias = _option_of_alias(argument, option_names)
    if alias is not None:
        options = [alias]
    for option in options:
        if not option.startswith(f"{axis}."):
            return f"--{option}"
    return ""


def _innermost(message: str) -> tuple[list[str], str]:
    """The keys that lead to the argument that is wrong, and the lines about it.

    (jsonargparse names each class on the way, and the value given for it, in lines that are indented by depth.)
    """
    lines = message.splitlines()
    keys: list[str] = []
    start = 0
    for number, line in enumerate(lines):
        if key := KEY.search(line):
            start = number
            if key[1] not in keys:
                keys.append(key[1])
    if not keys:
        return keys, message
    inner = [re.sub(r'^.*?Parser key "[\w.]+"(?: element \d+)?:', "", lines[start])]
    for line in lines[start + 1 :]:
        if line.strip() and _indent(line) <= _indent(lines[start]):
            break
        inner.append(line)
    return keys, "\n".join(inner)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


NOT_SHOWN = (
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Given value type",
    "Expected a <class 'NoneType'>",
    "Expected a path",
)
"""Beginnings of lines of jsonargparse that do not help a user."""


def _mismatch(inner: str) -> str:
    """Says what was expected and what was given instead."""
    lines = dict.fromkeys(line.strip().removeprefix("- ") for line in inner.splitlines())  # each once, in order
    text = "\n".join(line for line in lines if line and not line.startswith(NOT_SHOWN))
    kinds = list(dict.fromkeys(_type_name(kind) for kind in EXPECTED.findall(text)))
    given = GIVEN_VALUE.search(text)
    if not kinds or given is None:
        return re.sub(r"\n?Given value: .*", "", text).replace("\n", " ")
    value = given[1]
    message = f"expected {' or '.join(kinds)}, got {value}"
    if value.startswith(("{", "[")) and (wrong := yaml_error(value)):
        return f"{message}, which is not valid YAML ({wrong})"
    written = {"True": "true", "False": "false", "None": "null"}.get(value, value)
    looks_like_number = re.fullmatch(r"[-+.\d][-+.\w]*", value) is not None
    if "str" in kinds and (written != value or looks_like_number):
        message += f': put a text in quotation marks where it looks like a number, true, false or null ("{written}")'
    return message


def _type_name(kind: str) -> str:
    """A type in the words of a configuration file, without what Python and jsonargparse write around its name."""
    name = re.sub(r"^<class '(.+)'>$", r"\1", kind)
    name = re.sub(r"^(?:typing\.|collections\.abc\.)Sequence\b", "list", name)
    return re.sub(r"^(?:typing\.)?Literal\[(.*)\]$", r"one of \1", name)
