"""The command line: `fit`, `validate`, `test` and `predict` of any data set with any method."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any, Literal, NoReturn

from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.model_helpers import is_overridden

import textclf.data
import textclf.extra_metrics
import textclf.models
import textclf.temperature
import textclf.thresholds  # noqa: F401  # importing these makes short class names known
from textclf import callbacks, loggers
from textclf.arguments import ArgumentsCLI
from textclf.console import hush, on_terminal, say, use_utf8
from textclf.data.base import TextDataModule
from textclf.data.cleaning import text_steps
from textclf.data.examples import show_examples
from textclf.data.labels import normalized_names
from textclf.data.streaming import StreamedBatches
from textclf.errors import UserError
from textclf.evaluation.provenance import described_data, described_method
from textclf.machine import check_home
from textclf.models.base import PreparedClassifier, TextClassifier
from textclf.models.checkpoint import import_calibrators, plain
from textclf.parsing import user_error
from textclf.precision import choose_precision
from textclf.prediction_output import check_output, reserved_names
from textclf.predictions import read_texts
from textclf.processes import run_folder
from textclf.progress import ProgressLines
from textclf.runs import RunFolder, claim_run_folder, run_group, run_name
from textclf.wandb_server import refusal

DEFAULTS = Path(__file__).with_name("defaults.yaml")


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
        self._say_what_is_run()
        self._choose_precision()
        self.written = plain(self.options.as_dict())  # without the paths of the run
        trainer.default_root_dir = str(self.claimed.path)
        labels = {"group": run_group(self.written), "job_type": str(self.subcommand)}
        trainer.logger = loggers.set_up(trainer.logger, self.claimed.path, labels)

    def _say_what_is_run(self) -> None:
        data, model = self.options.data, self.options.model
        method = described_method(model.class_path, model.init_args)
        what = f"{method} on {described_data(data.class_path, data.init_args)}, run folder {self.claimed.path}"
        say(f"{self.subcommand}: {what}{f', checkpoint {self.checkpoint_path}' if self.checkpoint_path else ''}")

    def _choose_precision(self) -> None:
        trainer = self.options.trainer
        if trainer.precision is None:
            trainer.precision, why = choose_precision(trainer.accelerator)
            say(f"precision {trainer.precision}: {why}")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Refuses what cannot work, and adds the callbacks of every run."""
        self._check()
        if self.subcommand == "predict":
            self.stream = callbacks.PredictionStream(self.options.output)
            added: list[Callback] = [self.stream]
        else:
            added = [callbacks.ConfigWriter(self._whole_config()), *callbacks.always()]
        configured = self._get(self.config_init, "trainer")
        has_bar = any(isinstance(callback, ProgressBar) for callback in _listed(configured["callbacks"]))
        if not has_bar and configured["enable_progress_bar"] is not False and not on_terminal():
            added.append(ProgressLines())
        self.trainer_defaults = {"callbacks": added}
        plugins = _listed(configured["plugins"])
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins = [*plugins, callbacks.WholeCheckpointIO()]
        try:
            return super().instantiate_trainer(plugins=plugins, **kwargs)
        except (ValueError, TypeError) as error:
            raise UserError(f"trainer: {str(error).splitlines()[0]}: change that trainer option") from error

    def _whole_config(self) -> dict[str, Any]:
        """What the run folder keeps: linked values included, and only what every command accepts."""
        config: dict[str, Any] = self.written
        for name in ("config", "run_dir", "ckpt_path", "__default_config__"):
            config.pop(name, None)
        facts = {"num_classes": self.datamodule.num_classes, "label_names": list(self.datamodule.label_names)}
        config["model"].setdefault("init_args", {}).update(facts)
        if "label_names" in config["data"].get("init_args", {}):
            config["data"]["init_args"]["label_names"] = facts["label_names"]
        config["data"].setdefault("init_args", {})["cleaning"] = self.datamodule.hparams["cleaning"]
        return config

    def _check(self) -> None:
        """Takes from the checkpoint what comes before its weights; without one, a trained method can only be fitted."""
        trains = is_overridden("training_step", self.model)
        name = type(self.model).__name__
        if self.checkpoint is not None:
            self._refuse_weights_alone(self.checkpoint)
            self._restore(self.checkpoint)
            self.checkpoint = None  # its weights are read again, in their turn
        elif trains and self.subcommand != "fit":
            raise UserError(f"{self.subcommand}: {name} must be trained first; run `fit`, then pass its --ckpt_path")
        if self.subcommand == "fit" and not trains:
            raise UserError(f"fit: {name} has nothing to train; run `test` to evaluate it as it is")
        if self.subcommand == "predict":
            check_output(self.options.output)
        else:
            self.datamodule.source_splits()  # complains of a folder that is not there

    def _refuse_weights_alone(self, checkpoint: dict[str, Any]) -> None:
        if self.subcommand == "fit" and "optimizer_states" not in checkpoint:
            raise UserError(
                f"fit: {str(self.checkpoint_path)!r} holds weights alone, without the state of the optimizer: "
                "resume with --ckpt_path last"
            )

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        data_names = normalized_names(self.datamodule.label_names)
        import_calibrators(checkpoint)
        try:
            self.model.restore(checkpoint)
        except UserError as error:
            assert self.checkpoint_path is not None
            config = self.checkpoint_path.resolve().parent.parent / "config.yaml"
            raise UserError(f"{error} ({config})" if config.is_file() else str(error)) from error
        if self.subcommand == "fit" and self.model.label_names != data_names:
            raise UserError(
                f"the checkpoint has the labels in the order {', '.join(self.model.label_names)}, the data in the "
                f"order {', '.join(data_names)}: resume with the config.yaml of the checkpoint's own run"
            )

    # The commands

    def _run_subcommand(self, subcommand: str) -> None:
        """Ends W&B's record with the command: another one in this process has its own."""
        failed = True
        try:
            super()._run_subcommand(subcommand)
            failed = False
        except SIGTERMException:  # whose own exit code is 0
            self._end("SIGTERM", signal.SIGTERM)
        except KeyboardInterrupt:
            self._end("Ctrl-C", signal.SIGINT)
        except SystemExit as error:
            if not isinstance(error.__context__, KeyboardInterrupt):  # the trainer makes an exit of it
                raise
            self._end("Ctrl-C", signal.SIGINT)
        finally:
            loggers.finish(self.trainer.loggers, failed)

    def _end(self, name: str, number: signal.Signals) -> NoReturn:
        """Says how to go on, and exits with the code of a process that the signal ended."""
        hint = ""
        if self.subcommand == "fit":
            run = self.trainer.default_root_dir
            saved = Path(run, "checkpoints", "last.ckpt").is_file()
            again = f"fit --config {quote(f'{run}/config.yaml')} --run_dir {quote(run)} --ckpt_path last"
            anew = "start again" + (", with another --run_dir" if self.options.run_dir else "")
            hint = f": go on with `{again}`" if saved else f": no checkpoint is saved yet, so {anew}"
        say(f"stopped by {name}{hint}")
        sys.exit(128 + number)

    def fit(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: str | None) -> None:
        """Trains, then tests the best checkpoint, or the last where there was no validation.

        Where there is no test split, the report is of the validation split.
        """
        if isinstance(model, PreparedClassifier) and self.trainer.world_size > 1:
            raise UserError(f"fit: {type(model).__name__} is fitted in one process: pass --trainer.devices 1")
        self.trainer.fit(model, datamodule=datamodule, ckpt_path=self._checkpoint_for_trainer())
        for rule in self.trainer.early_stopping_callbacks:
            if isinstance(rule, EarlyStopping) and rule.wait_count >= rule.patience:
                say(f"training stopped early: {rule.monitor} did not improve in {rule.wait_count} validations")
        if not self.options.test_after_fit or self.trainer.interrupted:
            return
        folder = run_folder(self.trainer) / "checkpoints"
        found = [str(path) for path in (folder / "best.ckpt", folder / "last.ckpt") if path.is_file()]
        measured: Any = {"datamodule": datamodule, "ckpt_path": found[0] if found else None, "verbose": False}
        if datamodule.has_split("test"):
            if not datamodule.has_split("validation"):
                say("there is no validation split: the last checkpoint is tested")
            self.trainer.test(model, **measured)
        elif datamodule.has_split("validation"):
            say("there is no test split: the report is of the validation split")
            self.trainer.validate(model, **measured)
        else:
            say("there is no test split and no validation split: nothing is measured")

    def validate(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: str | None) -> None:
        """Measures on the validation split, and writes the report."""
        self.trainer.validate(model, datamodule=datamodule, ckpt_path=self._checkpoint_for_trainer(), verbose=False)

    def test(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: str | None) -> None:
        """Measures on the test split, and writes the report."""
        self.trainer.test(model, datamodule=datamodule, ckpt_path=self._checkpoint_for_trainer(), verbose=False)

    def predict(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: str | None) -> None:
        """Labels texts that have no label, in flat memory."""
        if self.trainer.world_size > 1:
            raise UserError("predict writes one stream, in order: run it in one process (--trainer.devices 1)")
        model.textclf.text_steps = text_steps(datamodule.cleaning)
        show_examples(datamodule, model, "predict", datamodule.rows)
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
        self.trainer.predict(
            model, dataloaders=batches, ckpt_path=self._checkpoint_for_trainer(), return_predictions=False
        )
        batches.say_what_was_mended()
        batches.say_what_was_cut()

    def _columns_to_keep(self) -> Sequence[str] | Literal["all"]:
        if self.options.keep_all:
            return "all"
        keep = self.options.keep or []
        return [keep] if isinstance(keep, str) else list(keep)

    def _checkpoint_for_trainer(self) -> str | None:
        return str(self.checkpoint_path) if self.checkpoint_path else None


def _listed(value: Any) -> list[Any]:
    """An option that takes nothing, one or several, as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


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
        ours = user_error(error) or refusal(error)
        # Lightning says these two kinds of a user's mistake well.
        theirs = isinstance(error, MisconfigurationException) or str(error).startswith("Early stopping conditioned")
        if ours is None and not theirs:
            raise
        print(f"textclf: error: {ours or error}", file=sys.stderr, flush=True)  # on whichever process it happened
        sys.exit(2)
