"""The command line: `fit`, `validate`, `test` and `predict` of any data set with any method."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from lightning.pytorch import Callback, Trainer

import textclf.data
import textclf.models
import textclf.run.calibration
import textclf.run.extra_metrics  # noqa: F401  # importing these makes short class names known
from textclf.cli.arguments import ArgumentsCLI
from textclf.console import hush, say, use_utf8
from textclf.data.base import TextDataModule
from textclf.data.cleaning import text_steps
from textclf.errors import UserError, check_home
from textclf.evaluation.provenance import described_data, described_method
from textclf.models.base import TextClassifier
from textclf.models.checkpoint import accepted, import_calibrators, plain
from textclf.models.streaming import StreamedBatches
from textclf.run import loggers
from textclf.run.defaults import DEFAULTS, as_list, progress_lines, resolve_precision, run_callbacks, run_plugins
from textclf.run.execution import (
    Command,
    as_user_error,
    check_command,
    execute,
    interruption,
    recorded,
    say_interrupted,
    say_what_is_run,
    trainer_error,
)
from textclf.run.folder import RunFolder, claim_run_folder, run_group, run_name
from textclf.run.prediction_inputs import read_texts
from textclf.run.prediction_outputs import PredictionStream, check_output, reserved_names


class TextCLI(ArgumentsCLI):
    """LightningCLI in subclass mode, with a run folder, automatic precision, and a test after `fit`."""

    model: TextClassifier
    datamodule: TextDataModule

    def __init__(self, arguments: Sequence[str]) -> None:
        """Parses, builds and runs one command; one that fails leaves no empty run folder."""
        self.claimed = RunFolder(Path())
        try:
            super().__init__(
                TextClassifier,
                TextDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                save_config_callback=None,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                parser_kwargs={name: {"default_config_files": [str(DEFAULTS)]} for name in self.subcommands()},
                args=list(arguments),
            )
        except BaseException:
            self.claimed.remove_if_empty()
            raise

    # From a configuration to objects

    def before_instantiate_classes(self) -> None:
        """Settles what is still open: precision, run folder, and where loggers write."""
        trainer = self.options.trainer
        if self.options.ckpt_path and self.checkpoint_path is None:
            raise UserError("ckpt_path stands in a configuration file: give it on the command line, as --ckpt_path")
        if self.subcommand == "predict":
            if trainer.devices in ("auto", "-1", -1):
                trainer.devices = 1  # one stream, in order
            trainer.logger = trainer.enable_progress_bar = False  # Lightning's bar would stand among the results
            self._choose_precision()
            return
        resumed = self.checkpoint_path if self.subcommand == "fit" else None
        self.options.run_name = self.options.run_name or run_name(self.peeked.config, self.checkpoint_path)
        self.claimed = claim_run_folder(self.options.run_name, self.options.run_dir, resumed)
        data, model = self.options.data, self.options.model
        method = described_method(model.class_path, model.get("init_args", {}))  # absent of a class without arguments
        what = f"{method} on {described_data(data.class_path, data.get('init_args', {}))}"
        say_what_is_run(str(self.subcommand), what, self.claimed.path, self.checkpoint_path)
        self._choose_precision()
        self.written = plain(self.options.as_dict())  # without the paths of the run
        trainer.default_root_dir = str(self.claimed.path)
        labels = {"group": run_group(self.written), "job_type": str(self.subcommand)}
        trainer.logger = loggers.set_up(trainer.logger, self.claimed.path, labels)

    def _choose_precision(self) -> None:
        trainer = self.options.trainer
        trainer.precision = resolve_precision(trainer.precision, trainer.accelerator)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Refuses what cannot work, and adds the callbacks of every run."""
        if self.checkpoint is not None:
            import_calibrators(self.checkpoint)
        check_command(str(self.subcommand), self.model, self.datamodule, self.checkpoint, self.checkpoint_path)
        self.checkpoint = None  # its weights are read again, in their turn
        configured = self._get(self.config_init, "trainer")
        given, bar = as_list(configured["callbacks"]), configured["enable_progress_bar"]
        if self.subcommand == "predict":
            check_output(self.options.output)
            self.stream = PredictionStream(self.options.output)
            added: list[Callback] = [self.stream, *progress_lines(given, bar)]
        else:
            added = run_callbacks(self._whole_config(), given, bar)
        self.trainer_defaults = {"callbacks": added}
        try:
            return super().instantiate_trainer(plugins=run_plugins(configured["plugins"]), **kwargs)
        except (ValueError, TypeError) as error:
            raise trainer_error(error) from error

    def _whole_config(self) -> dict[str, Any]:
        """What the run folder keeps: linked values included, and only what every command accepts."""
        config: dict[str, Any] = self.written
        for name in ("config", "run_dir", "ckpt_path", "__default_config__"):
            config.pop(name, None)
        facts = {"num_classes": self.datamodule.num_classes, "label_names": list(self.datamodule.label_names)}
        config["model"].setdefault("init_args", {}).update(facts)
        if "label_names" in config["data"].get("init_args", {}):
            config["data"]["init_args"]["label_names"] = facts["label_names"]
        cleaning = accepted(type(self.datamodule), {"cleaning": self.datamodule.hparams["cleaning"]})
        config["data"].setdefault("init_args", {}).update(cleaning)
        return config

    # The commands

    def _run_subcommand(self, subcommand: str) -> None:
        """Ends W&B's record with the command: another one in this process has its own."""
        try:
            with recorded(self.trainer):
                super()._run_subcommand(subcommand)
        except BaseException as error:
            if (number := interruption(error)) is None:
                raise
            run = self.trainer.default_root_dir
            again = f"fit --config {quote(f'{run}/config.yaml')} --run_dir {quote(run)} --ckpt_path last"
            another = ", with another --run_dir" if self.options.run_dir else ""
            say_interrupted(number, subcommand, run, again, another)
            sys.exit(128 + number)

    def fit(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: str | None) -> None:
        """Trains, then tests the best checkpoint, or the last where there was no validation.

        Where there is no test split, the report is of the validation split.
        """
        self._execute("fit")

    def validate(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: str | None) -> None:
        """Measures on the validation split, and writes the report."""
        self._execute("validate")

    def test(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: str | None) -> None:
        """Measures on the test split, and writes the report."""
        self._execute("test")

    def _execute(self, command: Command) -> None:
        test_after_fit = bool(self.options.get("test_after_fit"))
        execute(command, self.trainer, self.model, self.datamodule, self.checkpoint_path, test_after_fit)

    def predict(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: str | None) -> None:
        """Labels texts that have no label, in flat memory."""
        if self.trainer.world_size > 1:
            raise UserError("predict writes one stream, in order: run it in one process (--trainer.devices 1)")
        model.textclf.text_steps = text_steps(datamodule.cleaning)
        datamodule.show_examples(model, "predict")
        inputs = read_texts(
            self.options.texts,
            self.options.input,
            datamodule.text_column,
            datamodule.text_pair_column,
            keep=self._columns_to_keep(),
            reserved=reserved_names(model.label_names),
            options={role: name for role in ("text", "text_pair") if (name := datamodule.column_option(role))},
        )
        self.stream.kept = inputs.kept
        batches = StreamedBatches(
            model, inputs.rows, batch_size=datamodule.eval_batch_size, max_batch_tokens=datamodule.max_batch_tokens
        )
        path = str(self.checkpoint_path) if self.checkpoint_path else None
        self.trainer.predict(model, dataloaders=batches, ckpt_path=path, return_predictions=False)
        batches.say_what_was_mended()
        batches.say_what_was_cut()

    def _columns_to_keep(self) -> Sequence[str] | Literal["all"]:
        if self.options.keep_all:
            return "all"
        keep = self.options.keep or []
        return [keep] if isinstance(keep, str) else list(keep)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; a user's mistake ends with one line and an exit code that is not 0."""
    use_utf8()  # before all else: it opens streams that are closed
    hush()
    try:
        check_home()
        TextCLI(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        say("stopped by Ctrl-C")
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # `predict | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if (ours := as_user_error(error)) is None:
            raise
        print(f"textclf: error: {ours}", file=sys.stderr, flush=True)  # on whichever process it happened
        sys.exit(2)
