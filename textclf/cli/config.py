"""How configuration files, a checkpoint and the command line become one configuration."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile, Namespace  # type: ignore[attr-defined]  # exported, but not by __all__
from jsonargparse import Path as ConfigPath  # type: ignore[attr-defined]
from lightning.pytorch import loggers as lightning_loggers
from lightning.pytorch.cli import LightningArgumentParser

from textclf.classes.paths import CLASS_KEYS, DOTTED, class_paths_in, current_path
from textclf.classes.user_code import FailedClass, build
from textclf.cli.messages import AXES, explain
from textclf.data.text_values import as_text
from textclf.errors import UserError, user_error
from textclf.models.checkpoint import accepted
from textclf.parsing import parse_json
from textclf.run.yaml_values import Quoted, Raw, dump, load_or_text, quoted, read_config, read_config_or_text, unquoted

AXIS_OPTIONS = tuple(f"--{axis}" for axis in AXES)


class ConfigFile(ActionConfigFile):
    """`--config`: a later file that names another class drops the earlier file's arguments.

    (jsonargparse keeps the arguments that both classes have, so that settings of one method would apply to another.)
    """

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Applies one file, or one configuration that is written out in braces."""
        config = read_config_or_text(values)
        for axis in AXES:
            before = cfg.get(f"{axis}.class_path")
            after = _class_path(config, axis)
            if before and after and not _same_class(before, after):
                cfg[axis] = None
        super().__call__(parser, cfg, values, option_string)  # type: ignore[no-untyped-call]


def _class_path(config: dict[str, Any], axis: str) -> str | None:
    value = config.get(axis)
    if isinstance(value, dict):
        return value.get("class_path")
    return value


def _same_class(full: str, other: str) -> bool:
    if "." not in other:
        return full.rpartition(".")[2] == other
    try:
        return locate(full) is locate(other)
    except ErrorDuringImport:
        return False


class Parser(LightningArgumentParser):
    """A parser whose errors are one line that names what was wrong and what to do."""

    def __init__(self, *args: Any, prog: str = "textclf", **kwargs: Any) -> None:
        """Takes what jsonargparse's parser takes."""
        super().__init__(*args, prog=prog, **kwargs)

    def parse_path(self, path: Any, *args: Any, **kwargs: Any) -> Namespace:
        """Reads a configuration file in any detected encoding; configurations in it may be named relative to it."""
        text = dump(read_config(path))
        with ConfigPath(path, mode="fr").relative_path_context():
            config: Namespace = self.parse_string(text, *args, path=path, **kwargs)
            return config

    def _check_value_key(self, action: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Reads a value of the command line as YAML; where its option does not take that, as the text it is.

        (jsonargparse's reader of numbers takes no subclass of `str`: quoted texts come to it as plain ones.)
        """
        readings = [value]
        if isinstance(value, Raw):
            text, read = Quoted(value), load_or_text(value)
            readings = [text if isinstance(read, str) else read, text]
        for reading in readings:
            with suppress(TypeError):
                return super()._check_value_key(action, reading, *args, **kwargs)
        return super()._check_value_key(action, unquoted(readings[0]), *args, **kwargs)

    def instantiate_classes(self, cfg: Any, **kwargs: Any) -> Any:  # the name that LightningCLI calls
        """Builds the classes of a configuration, with every text as it was read.

        (jsonargparse reads the plain texts of an `Any` argument a second time when it builds the class: `"query: "`
        would arrive as a mapping, and `"1e5"` as a number.)
        """
        instantiators = [(_build_with_plain_texts, object, True)]  # of `object` and its subclasses: of any class
        try:
            return unquoted(self.instantiate(quoted(cfg), instantiators=instantiators))
        except FailedClass as failed:
            error = failed.error
        raise error  # outside of the handler, so that it is shown alone

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Hands the error to `main`; a parser inside this one hands it to this one."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise user_error(ex) or UserError(explain(message, self.option_names())) from ex

    def actions(self) -> list[argparse.Action]:
        """The options of this parser; argparse lists them in no public attribute."""
        return list(self._actions)

    def option_names(self) -> list[str]:
        """The names of all options, with their dashes."""
        return [name for action in self.actions() for name in action.option_strings]


def _build_with_plain_texts(kind: type[Any], /, *args: Any, **kwargs: Any) -> Any:
    return build(kind, unquoted(args), unquoted(kwargs))


def peek(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads ahead the few options that decide what else is read: `config`, `ckpt_path`, `run_dir`, `run_name`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config", action="append", default=[])
    for name in ("--ckpt_path", "--run_dir", "--run_name"):
        parser.add_argument(name)
    try:
        return parser.parse_known_args(list(arguments))[0]
    except argparse.ArgumentError as error:
        raise UserError(f"{error}: give it a value") from error


def configs_first(arguments: Sequence[str]) -> list[str]:
    """Puts the configuration files before the values: a value on the command line wins at any position.

    `--model` and `--data` come before the files as well, which may hold arguments for the class that they name.
    """
    words = list(arguments)
    axes: list[str] = []
    configs: list[str] = []
    values: list[str] = []
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if option not in ("-c", "--config", *AXIS_OPTIONS):
            values.append(word)
            continue
        if not equals and not words:  # an option without a value, as the last word
            continue
        if not equals:
            value = words.pop(0)
        if option in AXIS_OPTIONS:
            axes += [option, value]
            values += [option, value]
        else:
            configs += ["--config", value]
    return [*axes, *configs, *values]


def axes_named(arguments: Sequence[str]) -> set[str]:
    """Which of `--data` and `--model` are named, also by configurations.

    Args:
        arguments: Those of a command, with classes as configurations.
    """
    named = {word for word in arguments if word in AXIS_OPTIONS}
    for option, value in pairwise(arguments):
        if option == "--config":
            config = read_config_or_text(value)
            named |= {f"--{axis}" for axis in AXES if _class_path(config, axis)}
    return named


def check_complete(command: str, arguments: Sequence[str]) -> None:
    """Refuses a command that names no data set, no method, or neither.

    Args:
        command: Its name, such as `fit`.
        arguments: Its arguments, with classes as configurations.

    Raises:
        UserError: Something is missing.
    """
    named = axes_named(arguments)
    run = "" if command == "fit" else "--ckpt_path RUN/checkpoints/best.ckpt of a finished run, or "
    lists = "(`textclf --help` lists data sets and methods)"
    if not named:
        raise UserError(
            f"{command}: nothing to run: pass {run}--config with a file such as configs/quickstart.yaml, or --data and "
            f"--model {lists}"
        )
    if "--data" not in named:
        raise UserError(
            f"{command}: there is a method, but no data: pass {run}--config configs/files.yaml or --data "
            f"FilesDataModule for your own files in --data.data_dir {lists}"
        )
    if "--model" not in named:
        raise UserError(
            f"{command}: there is data, but no method: pass {run}--config configs/model/tfidf.yaml or --model "
            f"TfidfClassifier {lists}"
        )


CLASS_OPTION = re.compile(rf"--(?:.+\.)?(?:{'|'.join(CLASS_KEYS)})(?:\.help)?\+?")
"""Options whose values are class paths, or lists and configurations that hold some."""


def with_current_classes(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command, with class paths that an earlier version wrote replaced by the current ones.

    Args:
        arguments: As they were given.
    """
    words = list(arguments)
    for index, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if not CLASS_OPTION.fullmatch(option):
            continue
        if equals:
            words[index] = f"{option}={_current_paths_in(value)}"
        elif index + 1 < len(words):
            words[index + 1] = _current_paths_in(words[index + 1])
    return words


def _current_paths_in(text: str) -> str:
    return DOTTED.sub(lambda found: current_path(found[0]), text)


def class_paths_of(arguments: Sequence[str]) -> list[str]:
    """The dotted class paths in the arguments of a command.

    Args:
        arguments: With classes of data and model as configurations.
    """
    found: list[str] = []
    for option, following in pairwise([*arguments, ""]):
        name, equals, given = option.partition("=")
        if not equals:
            given = following
        if name == "--config":
            found += class_paths_in(read_config_or_text(given))
        elif CLASS_OPTION.fullmatch(name) and DOTTED.fullmatch(given):
            found.append(given)
    return found


def axes_as_configs(arguments: Sequence[str]) -> list[str]:
    """Writes `--model Class` and `--model.name value`, and the same of `--data`, as configurations.

    They are then combined in the way of configuration files. A value is read by the type of its option: jsonargparse,
    given the option as it is, would read a prompt such as `Review: {text}` as a mapping.
    """
    words = list(arguments)
    tokens: list[str] = []
    while words:
        token = words.pop(0)
        option, equals, value = token.partition("=")
        axis = re.fullmatch(r"--(model|data)(?:\.(?:init_args\.)?(\w+))?", option)
        valued = equals or (words and not words[0].startswith("--"))
        if axis is None or axis[2] in ("help", "class_path", "init_args", "dict_kwargs") or not valued:
            tokens.append(token)
            continue
        if not equals:
            value = words.pop(0)
        if axis[2]:
            tokens += ["--config", dump({axis[1]: {"init_args": {axis[2]: Raw(value)}}}, inline=True)]
        elif re.fullmatch(r"[A-Za-z_][\w.]*", value) and not Path(value).exists():
            tokens += ["--config", dump({axis[1]: {"class_path": value}}, inline=True)]
        else:
            tokens += [option, value]
    return tokens


def with_logger_folders(arguments: Sequence[str]) -> list[str]:
    """Adds a folder for each logger that requires one, such as `--trainer.logger TensorBoardLogger`.

    The folder is `.`, which is replaced by the run folder later.
    """
    words = iter(arguments)
    tokens: list[str] = []
    for word in words:
        tokens.append(word)
        option, equals, name = word.partition("=")
        if option not in ("--trainer.logger", "--trainer.logger+"):
            continue
        if not equals and (following := next(words, None)) is not None:
            tokens.append(following)
            name = following
        if _requires_folder(getattr(lightning_loggers, name, None)):
            tokens.append("--trainer.logger.save_dir=.")
    return tokens


def _requires_folder(kind: Any) -> bool:
    if not inspect.isclass(kind):
        return False
    folder = inspect.signature(kind).parameters.get("save_dir")
    return folder is not None and folder.default is inspect.Parameter.empty


def one_text_or_several(given: str | list[Any]) -> list[str]:
    """Reads the value of `--texts`: a JSON list of texts, or one text as it is.

    Values of a list that are not strings are read as `textclf.data.text_values` says: null is an empty text, 7 is `7`.

    Raises:
        ArgumentTypeError: The list holds a list or an object.
    """
    several: Any = given
    if isinstance(given, str) and not given.lstrip().startswith("["):
        return [given]
    if isinstance(given, str):
        try:
            several = parse_json(given)
        except ValueError:
            return [given]
    try:
        return [as_text(text) or "" for text in several]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"one of the texts is {error}: put each one in quotation marks") from error


def checkpoint_as_config(checkpoint: dict[str, Any]) -> list[str]:
    """The hyperparameters of a checkpoint as the first configuration, which all later ones replace."""
    linked = ("num_classes", "label_names")
    saved = checkpoint["textclf"]
    arguments = _accepted_by(saved["class_path"], checkpoint["hyper_parameters"])
    arguments = {name: value for name, value in arguments.items() if name not in linked}
    config = {"model": {"class_path": saved["class_path"], "init_args": arguments}}
    if "data" in saved:
        data = saved["data"]
        config["data"] = {**data, "init_args": _accepted_by(data["class_path"], data["init_args"])}
    return ["--config", dump(config, inline=True)]


def _accepted_by(class_path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a class takes; all of them where it cannot be found, which the parser reports."""
    try:
        kind = locate(class_path)
    except ErrorDuringImport:
        return arguments
    if isinstance(kind, type):
        return accepted(kind, arguments)
    return arguments
