"""How configuration files, a checkpoint and the command line become one configuration."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

from textclf.errors import UserError

AXES = ("model", "data")


class ConfigFile(ActionConfigFile):
    """`--config`: a later file that names another class drops the earlier file's arguments.

    (jsonargparse alone keeps those that both classes have, so that one method's settings would leak into another.)
    """

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Applies one file."""
        for axis in AXES:
            before, after = cfg.get(f"{axis}.class_path"), _class_path(values, axis)
            if before and after and after not in (before, before.rpartition(".")[2]):
                cfg[axis] = None
        super().__call__(parser, cfg, values, option_string)


def _class_path(source: str, axis: str) -> str | None:
    try:
        text = source if source.lstrip().startswith("{") else open(source, encoding="utf-8").read()  # noqa: SIM115
        value = yaml.safe_load(text)[axis]
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError):
        return None  # whatever is wrong, the parser says it better
    return value if isinstance(value, str) else value.get("class_path")


class Parser(LightningArgumentParser):
    """A parser whose last line names what was wrong and what to do."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Ends the program with the exit code 2."""
        raise UserError(message) from ex


def peek(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads ahead the few options that decide what else is read: `config`, `ckpt_path`, `run_dir`, `run_name`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config", action="append", default=[])
    for name in ("--ckpt_path", "--run_dir", "--run_name"):
        parser.add_argument(name)
    return parser.parse_known_args(list(arguments))[0]


def checkpoint_as_config(checkpoint: dict[str, Any]) -> list[str]:
    """A checkpoint's hyper-parameters as the first, and so the weakest, of the configuration files."""
    linked = ("num_classes", "label_names")
    arguments = {k: v for k, v in checkpoint["hyper_parameters"].items() if k not in linked}
    saved = checkpoint["textclf"]
    config = {"model": {"class_path": saved["class_path"], "init_args": arguments}}
    if "data" in saved:
        config["data"] = saved["data"]
    return ["--config", json.dumps(config)]
