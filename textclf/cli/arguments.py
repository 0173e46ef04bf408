"""What can be said on the command line, and how files, a checkpoint and values become one configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jsonargparse import ActionYesNo
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from textclf.class_paths import import_modules
from textclf.cli.config import (
    ConfigFile,
    Parser,
    axes_as_configs,
    check_complete,
    checkpoint_as_config,
    class_paths_of,
    configs_first,
    one_text_or_several,
    peek,
    with_current_classes,
    with_logger_folders,
)
from textclf.cli.help import help_on
from textclf.cli.messages import misplaced_command
from textclf.errors import UserError
from textclf.models.checkpoint import read_checkpoint
from textclf.run.folder import find_checkpoint
from textclf.run.yaml_values import MODE, unquoted


class ArgumentsCLI(LightningCLI):
    """The first half of the command line: from words to a configuration."""

    checkpoint: dict[str, Any] | None = None
    checkpoint_path: Path | None = None

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, and which of the trainer's arguments are ours to give."""
        ours = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders"}
        ours |= {"weights_only", "verbose", "return_predictions"}
        return dict.fromkeys(("fit", "validate", "test", "predict"), ours)

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Makes a parser that composes configuration files as we do."""
        parser = Parser(parser_mode=MODE, allow_abbrev=False, **kwargs)
        parser.add_argument("-c", "--config", action=ConfigFile, help="Configuration file; may be given several times.")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the options of a run, and links what the data knows to the model."""
        parser.add_argument(
            "--run_name", type=str | None, help="Folder under runs/; the config files' stems by default."
        )
        parser.add_argument("--run_dir", type=str | None, help="Take this folder as the run folder.")
        parser.add_argument("--test_after_fit", type=bool, default=True, help="Whether fit ends with a test.")
        for fact in ("num_classes", "label_names"):
            parser.link_arguments(f"data.{fact}", f"model.init_args.{fact}", apply_on="instantiate")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            parser.add_argument("--texts", type=one_text_or_several, help="One text, or a JSON list of texts.")
            parser.add_argument("--input", type=str | None, help="File of texts; - is standard input, one a line.")
            parser.add_argument(
                "--output", type=str | None, help="A .jsonl, .csv, .tsv or .parquet file; stdout by default."
            )
            parser.add_argument("--keep", type=list[str] | str | None, help="Column or columns of the input to keep.")
            parser.add_argument(
                "--keep_all", action=ActionYesNo, nargs="?", default=False, help="All columns of the input are kept."
            )
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Lets the checkpoint's hyper-parameters come before the files, and the files before the command line."""
        args = with_current_classes(args)
        command = args[0] if args and args[0] in self.subcommands() else None
        if (text := help_on(command, args, self._subcommand_parsers)) is not None:
            print(text)
            sys.exit()
        if command is None:
            raise UserError(misplaced_command(args))
        self.peeked = peek(args)
        checkpoint: list[str] = []
        if self.peeked.ckpt_path:
            self.checkpoint_path = find_checkpoint(self.peeked.ckpt_path, self.peeked.run_dir, self.peeked.config)
            self.checkpoint = read_checkpoint(self.checkpoint_path)
            checkpoint = checkpoint_as_config(self.checkpoint)
        rest = [*checkpoint, *axes_as_configs(configs_first(args[1:]))]
        if not any(word.partition("=")[0].endswith(".help") for word in rest):
            check_complete(command, rest)
        import_modules(class_paths_of(rest))
        self.config = unquoted(parser.parse_args([command, *with_logger_folders(rest)]))

    def _parse_ckpt_path(self) -> None:
        """Does nothing: Lightning would let the checkpoint win over the command line."""

    @property
    def options(self) -> Any:
        """The configuration of the command that is run."""
        return self.config[self.subcommand]
