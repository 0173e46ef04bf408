"""How configuration files, a checkpoint and the command line become one configuration."""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]  # exported, but not by __all__
from lightning.pytorch import loggers as lightning_loggers
from lightning.pytorch.cli import LightningArgumentParser

from textclf.data.base import TextDataModule
from textclf.errors import UserError
from textclf.machine import machine_error
from textclf.models.base import PreparedClassifier, TextClassifier
from textclf.models.embedded import EmbeddingClassifier

AXES: dict[str, type[Any]] = {"model": TextClassifier, "data": TextDataModule}


class ConfigFile(ActionConfigFile):
    """`--config`: a later file that names another class drops the earlier file's arguments.

    (jsonargparse alone keeps those that both classes have, so that one method's settings would leak into another.)
    """

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Applies one file."""
        for axis in AXES:
            before, after = cfg.get(f"{axis}.class_path"), _class_path(values, axis)
            if before and after and not _same_class(before, after):
                cfg[axis] = None
        super().__call__(parser, cfg, values, option_string)  # type: ignore[no-untyped-call]


def _class_path(source: str, axis: str) -> str | None:
    try:
        text = source if source.lstrip().startswith("{") else Path(source).read_text(encoding="utf-8")
        value = yaml.safe_load(text)[axis]
        path: str | None = value if isinstance(value, str) else value.get("class_path")
    except (OSError, KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError):
        return None  # whatever is wrong, the parser says it better
    return path


def _same_class(full: str, other: str) -> bool:
    if "." not in other:
        return full.rpartition(".")[2] == other
    try:
        return locate(full) is locate(other)
    except ErrorDuringImport:
        return False


class Parser(LightningArgumentParser):
    """A parser whose errors are one line that names what was wrong and what to do."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Hands the error to `main`; a parser inside this one hands it to this one."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise user_error(ex) or UserError(explain(message)) from ex


def user_error(error: BaseException | None) -> UserError | None:
    """What the user can mend among the causes of an error: a mistake of their own, or a fault of the machine."""
    cause = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return machine_error(error)


def explain(message: str) -> str:
    """Says jsonargparse's message in one line, with the remedy."""
    key = next(iter(re.findall(r'[Kk]ey "([\w.]+)"', message)), "")
    if name := re.search(r"Option '([\w.]+)' is not accepted", message):
        return f"{key}: there is no argument {name[1]!r}{_hint(key, name[1])}"
    nested = re.findall(r'Parser key "([\w.]+)"', message)[1:]
    unknown = re.search(r"(?:dot import path string: |given class_path ')([^\s']+)", message)
    if key in AXES and unknown and not nested:
        known = ", ".join(sorted(kind.__name__ for kind in _ours(AXES[key])))
        return f"{key}: there is no class {unknown[1]!r}: give one of {known}, or the full path of your own class"
    if name := re.search(r"(?:does not accept option|unrecognized arguments:) '?(?:--)?([\w.]+)", message):
        axis = name[1].partition(".")[0]
        hint = get_close_matches(axis, [*AXES, "trainer", "seed_everything", "run_name", "run_dir"], 1)
        return f"there is no option {name[1]!r}" + (
            f": did you mean {hint[0]!r}?" if hint and hint[0] != axis else _hint(axis, name[1])
        )
    if "are required: " in message and ".model" in message:
        return "nothing to run: pass --config with a file such as configs/quickstart.yaml, or --model and --data"
    dull = (
        "Does not validate",
        "Subtypes:",
        "Errors:",
        "Given value type",
        "Given value: NestedArg",
        "- Expected a <class 'NoneType'>",
        "- Expected a path",
    )
    lines = [line.strip().removeprefix("- ") for line in message.splitlines() if not line.strip().startswith(dull)]
    text = re.sub(r"<class '([\w.]+)'>", r"\1", " ".join(filter(None, lines)))
    text = re.sub(r"Expected a (?:typing\.)?Literal\[(.*?)\]", r"expected one of \1", text)
    text = re.sub(r".*?Parser key \"[\w.]+\":", "", text) if nested else re.sub(r"^Parser key \"[\w.]+\":", "", text)
    return f"{'.'.join([key, *nested])}: {text.strip()}" if key else text


def _ours(base: type[Any]) -> list[type[Any]]:
    """All classes below a base that can be named, each once: one may have two bases that lead to it."""
    kinds: dict[type[Any], None] = {}
    for kind in base.__subclasses__():
        kinds |= dict.fromkeys([kind, *_ours(kind)])
    return [kind for kind in kinds if kind not in (PreparedClassifier, EmbeddingClassifier)]


def _hint(axis: str, name: str) -> str:
    if axis not in AXES:
        places = [f"{a}.{name}" for a, base in AXES.items() if name in _parameters(_ours(base))]
        return f": did you mean {' or '.join(map(repr, places))}?" if places else ": see --help"
    known = _parameters([*_ours(AXES[axis]), *AXES.values()])
    close = get_close_matches(name.rpartition(".")[2], known - {name}, 1)
    look = f"`python -m textclf fit --{axis}.help CLASS` lists what there is"
    return f": did you mean {close[0]!r}? {look}" if close else f": {look}"


def _parameters(kinds: Iterable[type[Any]]) -> set[str]:
    names = {name for kind in kinds for name in inspect.signature(kind).parameters}
    return names - {"self", "kwargs"}


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


def classes_as_config(arguments: Sequence[str]) -> list[str]:
    """Writes `--model Class` and `--data Class` as configuration files, so that they compose as files do."""
    options = tuple(f"--{axis}" for axis in AXES)
    tokens = [t for a in arguments for t in (a.split("=", 1) if a.partition("=")[0] in options else [a])]
    for i, (option, value) in enumerate(pairwise(tokens)):
        if option in options and re.fullmatch(r"[A-Za-z_][\w.]*", value) and not Path(value).exists():
            tokens[i : i + 2] = ["--config", json.dumps({option.removeprefix("--"): {"class_path": value}})]
    return tokens


def with_logger_folders(arguments: Sequence[str]) -> list[str]:
    """Lets `--trainer.logger TensorBoardLogger` stand alone: a logger that must be told a folder gets the run's."""
    tokens = list(arguments)
    for i, token in reversed(list(enumerate(arguments))):
        option, _, value = token.partition("=")
        if option in ("--trainer.logger", "--trainer.logger+"):
            kind = getattr(lightning_loggers, value or "".join(arguments[i + 1 : i + 2]), None)
            folder = inspect.signature(kind).parameters.get("save_dir") if inspect.isclass(kind) else None
            if folder is not None and folder.default is inspect.Parameter.empty:
                tokens.insert(i + (1 if value else 2), "--trainer.logger.save_dir=.")
    return tokens


def checkpoint_as_config(checkpoint: dict[str, Any]) -> list[str]:
    """A checkpoint's hyper-parameters as the first, and so the weakest, of the configuration files."""
    linked = ("num_classes", "label_names")
    arguments = {k: v for k, v in checkpoint["hyper_parameters"].items() if k not in linked}
    saved = checkpoint["textclf"]
    config = {"model": {"class_path": saved["class_path"], "init_args": arguments}}
    if "data" in saved:
        config["data"] = saved["data"]
    return ["--config", json.dumps(config)]
