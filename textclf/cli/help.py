"""What `--help` says: commands, data sets, methods, and the options that are used most."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning.pytorch import Trainer

from textclf import __version__
from textclf.cli.config import Parser
from textclf.cli.messages import AXES, classes
from textclf.console import align_table

COMMANDS = {
    "fit": "Trains a method on a data set, then tests the best checkpoint.",
    "validate": "Measures on the validation split, and writes the report.",
    "test": "Measures on the test split, and writes the report.",
    "predict": "Labels texts that have no label.",
}
COMPOSED = {
    "--config FILE": "Configuration file; may be given several times, a later one wins over an earlier one.",
    "--data NAME": "Data set; `--data.help NAME` lists its options.",
    "--model NAME": "Method; `--model.help NAME` lists its options.",
}
CHECKPOINT = {
    "fit": "Resume from this checkpoint: a file, or `last` of the run in --run_dir.",
    "validate": "Checkpoint: a file, or `best` or `last` of the run in --run_dir or of the --config of a run.",
}
TRAINING = {
    "--data.batch_size N": "Rows of a batch.",
    "--data.shots_per_class N": "Train on so many rows of each class.",
    "--trainer.max_epochs N": "Epochs of training.",
}
USED_MOST = {
    "--data.data_dir DIR": "Folder with train.csv, test.parquet, ... to read instead of the hub.",
    "--data.limit N": "Test a sample of so many rows.",
    "--data.eval_batch_size N": "Rows of a batch in evaluation.",
    "--model.pretrained REF": "Hub id, folder, or package://module/path of the model's weights.",
    "--model.max_length N": "Tokens of a text that are read.",
    "--trainer.accelerator NAME": "cpu or gpu; by default what there is.",
    "--trainer.devices N": "How many devices.",
    "--trainer.precision NAME": "32-true, bf16-mixed, ...; by default what the hardware is good at.",
    "--trainer.logger false": "Log nothing.",
}


def help_on(command: str | None, arguments: Sequence[str], parsers: Mapping[str, Parser]) -> str | None:
    """What the command line asks to be told.

    Args:
        command: The command, if there is one.
        arguments: All that was given.
        parsers: The commands' parsers.

    Returns:
        The text; None where nothing is asked, or where one class is asked about, which its parser knows.
    """
    if command is None:
        if "--version" in arguments[:1]:
            return f"textclf {__version__}"
        return program_help() if {"-h", "--help"} & set(arguments[:1]) else None
    if "--help.trainer" in arguments:
        return trainer_help(command, parsers[command])
    for word, following in zip(arguments, [*arguments[1:], "--"], strict=True):
        if word in ("--data.help", "--model.help") and following.startswith("-"):
            return list_help(word.split(".")[0].removeprefix("--"))
    if {"-h", "--help"} & set(arguments):
        return command_help(command, parsers[command].actions())
    return None


def program_help() -> str:
    """The help of the program."""
    options = {"-h, --help": "Show this help and exit.", "--version": "Show the version and exit."}
    return _joined(
        "usage: textclf {fit,validate,test,predict} [--config FILE ...] [--option value ...]",
        "Text classification for research: every data set with every method, one command, one report.",
        _section("commands (`textclf COMMAND --help` lists the options)", COMMANDS),
        *_lists(),
        _section("options", options),
        "For example: textclf fit --config configs/quickstart.yaml",
    )


def command_help(command: str, actions: Iterable[argparse.Action]) -> str:
    """The help of one command.

    Args:
        command: Its name.
        actions: The options of its parser.
    """
    own = {}
    for action in actions:
        name = action.option_strings[-1] if action.option_strings else "."
        if "." not in name and name not in ("--config", "--data", "--model", "--trainer"):
            own[", ".join(action.option_strings)] = _about(command, name, action)
    if command != "fit":
        del own["--test_after_fit"]  # it is accepted, as the config.yaml of a run has it, and changes nothing
    return _joined(
        f"usage: textclf {command} [--config FILE ...] [--option value ...]",
        COMMANDS[command],
        _section("configuration", COMPOSED),
        _section("options", own),
        _section(
            "options of data, method and trainer that are used most", USED_MOST | (TRAINING if command == "fit" else {})
        ),
        "All options: --data.help NAME, --model.help NAME, --help.trainer",
        *_lists(),
    )


def list_help(axis: str) -> str:
    """The classes of one axis, `data` or `model`."""
    lists = dict(zip(("data", "model"), _lists(), strict=True))
    return f"{lists[axis]}\n\n`--{axis}.help NAME` lists the options of one."


def trainer_help(command: str, parser: Parser) -> str:
    """All options of Lightning's trainer, with the defaults that a command's parser has."""
    own = type(parser)(usage=f"textclf {command} [--trainer.option value ...]", add_help=False)
    own.add_lightning_class_args(Trainer, "trainer")
    defaults = parser.get_defaults().trainer
    own.set_defaults({f"trainer.{name}": value for name, value in defaults.items(nested=False)})
    return str(own.format_help())


def _about(command: str, name: str, action: argparse.Action) -> str:
    match name:
        case "--ckpt_path":
            return CHECKPOINT.get(command, CHECKPOINT["validate"])
        case "--seed_everything":
            return "Seed of everything that is drawn, outside of the data."
        case "--print_config":
            return "Print what the command comes to, and exit."
        case "--help":
            return "Show this help and exit."
    return str(action.help)


def _lists() -> tuple[str, str]:
    data, model = ({kind.__name__: _first_line(kind) for kind in classes(AXES[axis])} for axis in ("data", "model"))
    return (
        _section("data sets (--data NAME, or a file of configs/)", dict(sorted(data.items()))),
        _section("methods (--model NAME, or a file of configs/model/)", dict(sorted(model.items()))),
    )


def _first_line(kind: type[Any]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _section(title: str, entries: Mapping[str, str]) -> str:
    rows = [(f"  {name}", about) for name, about in entries.items()]
    return "\n".join([f"{title}:", *align_table(rows, "<<")])


def _joined(*parts: str) -> str:
    return "\n\n".join(parts)
