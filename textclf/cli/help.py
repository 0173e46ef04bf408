"""The texts of `--help`: commands, data sets, methods, and the most common options."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning.pytorch import Trainer

from textclf.cli.config import Parser
from textclf.cli.messages import AXES, classes
from textclf.cli.names import COMMANDS
from textclf.console import align_table
from textclf.version import __version__

CONFIG_OPTIONS = {
    "--config FILE": "Configuration file; may be given several times, a later one wins over an earlier one.",
    "--data NAME": "Data set; `--data.help NAME` lists its options.",
    "--model NAME": "Method; `--model.help NAME` lists its options.",
}
CHECKPOINT_OPTION = {
    "fit": "Resume from this checkpoint: a file, or `last` of the run in --run_dir.",
    "validate": "Checkpoint: a file, or `best` or `last` of the run in --run_dir or of the --config of a run.",
}
TRAINING_OPTIONS = {
    "--data.batch_size N": "Rows in a batch.",
    "--data.shots_per_class N": "Train on N rows of each class.",
    "--trainer.max_epochs N": "Epochs of training.",
}
COMMON_OPTIONS = {
    "--data.data_dir DIR": "Folder with train.csv, test.parquet, ... to read instead of the hub.",
    "--data.limit N": "Test a sample of N rows.",
    "--data.eval_batch_size N": "Rows in a batch in evaluation.",
    "--model.pretrained REF": "Hub id, folder, or package://module/path of the model's weights.",
    "--model.max_length N": "Maximum number of tokens that are read of a text.",
    "--trainer.accelerator NAME": "cpu or gpu; by default the best available.",
    "--trainer.devices N": "Number of devices.",
    "--trainer.precision NAME": "32-true, bf16-mixed, ...; by default chosen for the hardware.",
    "--trainer.logger false": "Log nothing.",
}


def help_on(command: str | None, arguments: Sequence[str], parsers: Mapping[str, Parser]) -> str | None:
    """The help text that the command line asks for.

    Args:
        command: The command, if there is one.
        arguments: All arguments of the command line.
        parsers: The commands' parsers.

    Returns:
        The text; None where no help is asked for, or the help of one class, which its parser prints.
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
    return _paragraphs(
        "usage: textclf {fit,validate,test,predict} [--config FILE ...] [--option value ...]",
        "Text classification for research: every data set with every method, one command, one report.",
        _section("commands (`textclf COMMAND --help` lists the options)", COMMANDS),
        _class_list("data"),
        _class_list("model"),
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
            own[", ".join(action.option_strings)] = _description(command, name, action)
    if command != "fit":
        del own["--test_after_fit"]  # it is accepted, as the config.yaml of a run has it, and changes nothing
    return _paragraphs(
        f"usage: textclf {command} [--config FILE ...] [--option value ...]",
        COMMANDS[command],
        _section("configuration", CONFIG_OPTIONS),
        _section("options", own),
        _section(
            "common options of data, method and trainer",
            COMMON_OPTIONS | (TRAINING_OPTIONS if command == "fit" else {}),
        ),
        "All options: --data.help NAME, --model.help NAME, --help.trainer",
        _class_list("data"),
        _class_list("model"),
    )


def list_help(axis: str) -> str:
    """The classes of one axis, `data` or `model`."""
    return _paragraphs(_class_list(axis), f"`--{axis}.help NAME` lists the options of one.")


def trainer_help(command: str, parser: Parser) -> str:
    """All options of Lightning's trainer, with the defaults that a command's parser has."""
    own = type(parser)(usage=f"textclf {command} [--trainer.option value ...]", add_help=False)
    own.add_lightning_class_args(Trainer, "trainer")
    defaults = parser.get_defaults().trainer
    own.set_defaults({f"trainer.{name}": value for name, value in defaults.items(nested=False)})
    return str(own.format_help())


def _description(command: str, name: str, action: argparse.Action) -> str:
    match name:
        case "--ckpt_path":
            return CHECKPOINT_OPTION.get(command, CHECKPOINT_OPTION["validate"])
        case "--seed_everything":
            return "Seed of everything random except the data, which has --data.seed."
        case "--print_config":
            return "Print the merged configuration, and exit."
        case "--help":
            return "Show this help and exit."
    return str(action.help)


def _class_list(axis: str) -> str:
    titles = {
        "data": "data sets (--data NAME, or a file of configs/)",
        "model": "methods (--model NAME, or a file of configs/model/)",
    }
    first_lines = {kind.__name__: _first_line(kind) for kind in classes(AXES[axis])}
    return _section(titles[axis], dict(sorted(first_lines.items())))


def _first_line(kind: type[Any]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _section(title: str, entries: Mapping[str, str]) -> str:
    rows = [(f"  {name}", about) for name, about in entries.items()]
    return "\n".join([f"{title}:", *align_table(rows, "<<")])


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(parts)
