r"""Values as YAML text and back: configuration files, `config.yaml`, `--print_config` and the command line.

Label names and paths may hold any characters, and `load` returns what `dump` wrote. The reader differs from PyYAML's
own in which values are text:

- Keys of a mapping are the text that was written: `0: 2.0` is about the label `0`, `yes: 2.0` about the label `yes`.
- `yes`, `on`, `12:30`, `2024-01-01` and `007` are text. Only true, false, null and plain decimal numbers are not.
- JSON's way of writing an emoji, as two `\u` escapes, gives that emoji.
- A key that is given twice in a mapping is an error.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace, set_dumper, set_loader
from jsonargparse.typing import register_type

from textclf.classes.paths import with_current_paths
from textclf.data.encodings import text_encoding
from textclf.errors import UserError
from textclf.parsing import LimitedLoader, parse_yaml

MODE = "textclf"  # the name under which jsonargparse knows this reader and writer
TAG = "tag:yaml.org,2002:"
RESOLVERS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}


class Quoted(str):
    """A text in quotation marks or in a block.

    jsonargparse reads a plain `str` a second time (`"null"` would become None, and `"1e5"` a number where any type is
    allowed), but takes a subclass as it is. `unquoted` turns them into plain strings afterwards.
    """


class Raw(str):
    """A value of the command line inside a configuration: how it is read depends on the type of its option."""


class Reader(LimitedLoader):
    """The loader with the rules of this module; PyYAML's loader in C refuses some escapes."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """Joins the two halves of JSON's surrogate pairs; half a character alone stays as it is."""
        node = super().compose_scalar_node(anchor)
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            node.value = node.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Makes text of every key, and refuses the second of two that are the same."""
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain text", key.start_mark)
            if key.value in names:
                problem = f"the key {key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            names.add(key.value)
            if key.tag != f"{TAG}merge":
                key.tag = f"{TAG}str"
                key.style = None
        return node

    def construct_raw(self, node: yaml.ScalarNode) -> Raw:
        """A value of the command line."""
        return Raw(self.construct_scalar(node))

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        """Marks what was quoted."""
        text = str(self.construct_scalar(node))
        return Quoted(text) if node.style else text


class Writer(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """PyYAML's safe dumper; it quotes what this module's reader, or YAML 1.1, would not take for text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Writes a value in full each time."""
        return True

    def represent_raw(self, text: Raw) -> yaml.ScalarNode:
        """Tags it, so that the reader knows it again."""
        return self.represent_scalar("!raw", str(text), style='"')

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Escapes what is not printable; PyYAML loses some line breaks in its other styles."""
        return self.represent_scalar(f"{TAG}str", str(text), style=None if text.isprintable() else '"')


for name, (pattern, first) in RESOLVERS.items():
    Reader.add_implicit_resolver(TAG + name, re.compile(f"^(?:{pattern})$"), first)
    Writer.add_implicit_resolver(TAG + name, re.compile(f"^(?:{pattern})$"), first)
Reader.add_constructor(f"{TAG}str", Reader.construct_yaml_str)
Reader.add_constructor("!raw", Reader.construct_raw)
Writer.add_representer(Raw, Writer.represent_raw)
Writer.add_representer(str, Writer.represent_text)
Writer.add_representer(Quoted, Writer.represent_text)


def dump(value: Any, *, inline: bool = False) -> str:
    """Writes a value as YAML.

    Args:
        value: Numbers, strings, None, lists and dictionaries of such.
        inline: Whether to write it in braces and brackets, as `--config` takes a configuration in place of a file.
    """
    text: str = yaml.dump(value, Dumper=Writer, sort_keys=False, allow_unicode=True, default_flow_style=inline)
    return text


def load(text: str) -> Any:
    """Reads YAML; a text that is nothing but a comment, such as `#1`, is that text.

    Class paths that an earlier version of this package wrote are replaced by the current ones.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    value = _read(text)
    return text if value is None and text.strip() not in ("null", "Null", "NULL", "~") else value


def _read(text: str) -> Any:
    return with_current_paths(parse_yaml(text, Reader))


def load_or_text(text: str) -> Any:
    """Reads YAML; a text that is not valid YAML is returned itself."""
    try:
        return load(text)
    except yaml.YAMLError:
        return text


def quoted(value: Any) -> Any:
    """A copy in which every text is `Quoted`, so that jsonargparse takes it as it is."""
    if isinstance(value, str):
        return Quoted(value)
    if isinstance(value, list | tuple):
        return type(value)(quoted(entry) for entry in value)
    if isinstance(value, dict):
        return {key: quoted(entry) for key, entry in value.items()}
    if isinstance(value, Namespace):
        copy = value.clone()
        for key, entry in vars(value).items():
            copy[key] = quoted(entry)
        return copy
    return value


def unquoted(value: Any) -> Any:
    """Makes plain strings of `Quoted` ones, in place where it can."""
    if isinstance(value, Quoted):
        return str(value)
    if isinstance(value, list | tuple):
        return type(value)(unquoted(entry) for entry in value)
    if isinstance(value, dict | Namespace):
        entries = vars(value) if isinstance(value, Namespace) else value
        for key, entry in list(entries.items()):
            value[key] = unquoted(entry)
    return value


def read_config(path: str | Path) -> dict[str, Any]:
    """Reads a configuration file, in any encoding that can be detected from its bytes.

    Raises:
        UserError: It does not exist, is not valid YAML, or holds no options.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"the configuration {str(path)!r} is a folder: give a file, such as {path / 'config.yaml'}")
    try:
        text = path.read_text(encoding=text_encoding(path))
    except OSError as error:
        raise UserError(f"the configuration {str(path)!r} cannot be read ({error.strerror}): check the path") from error
    return _options(text, repr(str(path)))


def read_config_or_text(given: str) -> dict[str, Any]:
    """Reads what `--config` got: the path of a file, or a configuration in braces.

    Raises:
        UserError: It is neither.
    """
    return _options(given, given) if is_inline(given) else read_config(given)


def is_inline(given: str) -> bool:
    """Whether what `--config` got is a configuration itself, and not the path of one."""
    return given.lstrip().startswith("{") and not os.path.isfile(given)


def _options(text: str, name: str) -> dict[str, Any]:
    try:
        config = _read(text)
    except yaml.YAMLError as error:
        raise UserError(f"the configuration {name} is not valid YAML: {explain_yaml(error)}") from error
    if not isinstance(config, dict):
        found = "is empty" if config is None else f"holds a {type(config).__name__} instead of options"
        raise UserError(f"the configuration {name} {found}: write options, such as `trainer: {{max_epochs: 3}}`")
    return config


def yaml_error(text: str) -> str | None:
    """What is wrong with a YAML text, in one line; None where nothing is."""
    try:
        load(text)
    except yaml.YAMLError as error:
        return explain_yaml(error)
    return None


def explain_yaml(error: yaml.YAMLError) -> str:
    """Says what is wrong with a YAML text, and in which line, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark or error.context_mark
    problem = " ".join(filter(None, (error.context, error.problem)))
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


register_type(Quoted, serializer=Quoted)  # else it could not be written where any type will do
set_loader(MODE, load, exceptions=(yaml.YAMLError,))
set_dumper(MODE, dump)
