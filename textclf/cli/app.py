"""The command line: `fit`, `validate`, `test` and `predict` of any data set with any method."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from shlex import quote
from typing import Any, Literal, cast

import yaml
from jsonargparse import ActionYesNo
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

# jsonargparse finds the short name of a class, such as `ExtraMetrics`, once its module is imported.
import textclf.data
import textclf.models
import textclf.run.attributions
import textclf.run.calibration
import textclf.run.cartography
import textclf.run.extra_metrics  # noqa: F401
from textclf.classes.user_code import import_modules
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
from textclf.cli.imports import say_imports
from textclf.cli.messages import misplaced_command
from textclf.console import hush, say, use_utf8
from textclf.data.base import TextDataModule
from textclf.data.cleaning import text_steps
from textclf.errors import UserError, check_home
from textclf.evaluation.provenance import described_data, described_method
from textclf.models.base import TextClassifier
from textclf.models.checkpoint import accepted, import_calibrators, read_checkpoint
from textclf.plain_values import plain
from textclf.run import loggers
from textclf.run.defaults import (
    DEFAULTS,
    added_report_callbacks,
    as_list,
    progress_callbacks,
    resolve_precision,
    run_callbacks,
    run_plugins,
)
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
from textclf.run.folder import RunFolder, claim_run_folder, find_checkpoint, is_first_process, run_group, run_name
from textclf.run.prediction_files import check_output_apart
from textclf.run.prediction_inputs import read_texts
from textclf.run.prediction_outputs import reserved_names
from textclf.run.prediction_processes import check_prediction, ends_its_processes, set_prediction_processes
from textclf.run.prediction_shards import answer_facts
from textclf.run.prediction_stream import SHARD_ROWS, PredictionStream
from textclf.run.secret_options import check_options, check_words
from textclf.run.yaml_values import MODE, unquoted


class TextCLI(LightningCLI):
    """LightningCLI in subclass mode, with a run folder, automatic precision, and a test after `fit`.

    Attributes:
        words: The command and its options, as they were typed.
        peeked: The few options that are read before all others.
        checkpoint: What the given checkpoint holds; None without one, and once its arguments are read.
        checkpoint_path: Its path.
        claimed: The run folder.
    """

    model: TextClassifier
    datamodule: TextDataModule
    checkpoint: dict[str, Any] | None = None
    checkpoint_path: Path | None = None

    def __init__(self, arguments: Sequence[str], *, execute_command: bool = True) -> None:
        """Parses one command, builds its objects and runs it; a command that fails leaves no empty run folder.

        Args:
            arguments: The command, then its options.
            execute_command: Whether to run it; otherwise its objects are built alone.
        """
        self.words = arguments
        self.execute_command = execute_command
        self.parsers: dict[str, Parser] = {}
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
                parser_kwargs={
                    name: {"command": name, "default_config_files": [str(DEFAULTS)]} for name in self.subcommands()
                },
                args=list(arguments),
            )
        except BaseException:
            self.claimed.remove_if_empty()
            raise
        finally:
            self.claimed.release()

    # From words to a configuration

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, and the arguments of the trainer's methods that are not options."""
        ours = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders"}
        ours |= {"weights_only", "verbose", "return_predictions"}
        return dict.fromkeys(("fit", "validate", "test", "predict"), ours)

    def init_parser(self, command: str | None = None, **kwargs: Any) -> LightningArgumentParser:
        """Makes the parser of one command, or the one that chooses among them.

        Args:
            command: The command; None for the parser that chooses.
            **kwargs: What jsonargparse's parser takes.
        """
        parser = Parser(parser_mode=MODE, allow_abbrev=False, **kwargs)
        parser.add_argument("-c", "--config", action=ConfigFile, help="Configuration file; may be given several times.")
        if command is not None:
            self.parsers[command] = parser
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

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Reads the checkpoint's hyperparameters first, then configuration files, then the command line.

        A later value replaces an earlier one.

        Raises:
            UserError: The command or one of its options is wrong.
        """
        _add_prediction_options(self.parsers["predict"])
        words = with_current_classes(args)
        command = words[0] if words and words[0] in self.subcommands() else None
        if (text := help_on(command, words, self.parsers)) is not None:
            print(text)
            sys.exit()
        if command is None:
            raise UserError(misplaced_command(words))
        check_words(words)
        self.peeked = peek(words)
        checkpoint: list[str] = []
        if self.peeked.ckpt_path:
            self.checkpoint_path = find_checkpoint(self.peeked.ckpt_path, self.peeked.run_dir, self.peeked.config)
            self.checkpoint = read_checkpoint(self.checkpoint_path)
        say_imports(words, self.checkpoint, self.checkpoint_path)
        if self.checkpoint is not None:
            checkpoint = checkpoint_as_config(self.checkpoint)
        rest = [*checkpoint, *axes_as_configs(configs_first(words[1:]))]
        if not any(word.partition("=")[0].endswith(".help") for word in rest):
            check_complete(command, rest)
        import_modules(class_paths_of(rest))
        self.config = unquoted(parser.parse_args([command, *with_logger_folders(rest)]))
        options = self.config[command]
        check_options({name: value for name, value in plain(options.as_dict()).items() if name != "texts"})
        if options.ckpt_path and self.checkpoint_path is None:
            raise UserError("ckpt_path is in a configuration file: give it on the command line, as --ckpt_path")
        # LightningCLI would read the checkpoint's hyperparameters once more, and they would replace the options.
        options.ckpt_path = None

    @property
    def options(self) -> Any:
        """The configuration of the command."""
        return self.config[str(self.subcommand)]

    # From a configuration to objects

    def before_instantiate_classes(self) -> None:
        """Fills in the options that are still open: run folder, precision, and where loggers write."""
        predicts = self.subcommand == "predict"
        trainer = self.options.trainer
        if predicts:
            set_prediction_processes(trainer)
            trainer.logger = False
            trainer.enable_progress_bar = False  # Lightning's bar would be printed among the results
        else:
            self._claim_run_folder()
        trainer.precision = resolve_precision(trainer.precision, trainer.accelerator)
        if not predicts:
            self.written: dict[str, Any] = plain(self.options.as_dict())  # before it gets the paths of this run
            trainer.default_root_dir = str(self.claimed.path)
            labels = {"group": run_group(self.written), "job_type": str(self.subcommand)}
            trainer.logger = loggers.set_up(trainer.logger, self.claimed.path, labels)

    def _claim_run_folder(self) -> None:
        self.options.run_name = self.options.run_name or run_name(self.peeked.config, self.checkpoint_path)
        resumed = self.checkpoint_path if self.subcommand == "fit" else None
        self.claimed = claim_run_folder(self.options.run_name, self.options.run_dir, resumed)
        data, model = self.options.data, self.options.model
        # A class without arguments has no `init_args`.
        method = described_method(model.class_path, model.get("init_args", {}))
        what = f"{method} on {described_data(data.class_path, data.get('init_args', {}))}"
        say_what_is_run(str(self.subcommand), what, self.claimed.path, self.checkpoint_path)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Refuses a command that cannot work, and makes the trainer with the callbacks of every run."""
        if self.checkpoint is not None:
            import_calibrators(self.checkpoint)
        check_command(str(self.subcommand), self.model, self.datamodule, self.checkpoint, self.checkpoint_path)
        self.checkpoint = None  # the trainer reads the weights from the file
        configured = self.config_init[str(self.subcommand)].trainer
        given = as_list(configured["callbacks"])
        bar = configured["enable_progress_bar"]
        if self.subcommand == "predict":
            options = self.options
            self.stream = PredictionStream(options.output, options.shard_rows, options.shard_format, options.resume)
            added: list[Callback] = [self.stream, *progress_callbacks(given, bar)]
        else:
            added = run_callbacks(self._run_config(), given, bar, self.words)
            added += added_report_callbacks(None if configured["callbacks"] is None else given)
        self.trainer_defaults = {"callbacks": added}
        try:
            return super().instantiate_trainer(plugins=run_plugins(configured["plugins"]), **kwargs)
        except (ValueError, TypeError) as error:
            raise trainer_error(error) from error

    def _run_config(self) -> dict[str, Any]:
        """The configuration for `config.yaml`: with linked values, and only with options that every command accepts."""
        not_kept = ("config", "run_dir", "ckpt_path", "__default_config__")
        config = {name: value for name, value in self.written.items() if name not in not_kept}
        label_names = list(self.datamodule.label_names)
        model_arguments = config["model"].setdefault("init_args", {})
        model_arguments.update(num_classes=self.datamodule.num_classes, label_names=label_names)
        data_arguments = config["data"].setdefault("init_args", {})
        if "label_names" in data_arguments:
            data_arguments["label_names"] = label_names
        data_arguments.update(accepted(type(self.datamodule), {"cleaning": self.datamodule.hparams["cleaning"]}))
        return config

    # The commands, which LightningCLI calls by their names

    def fit(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: None = None) -> None:
        """Trains, then tests the best checkpoint, or the last where there was no validation.

        Where there is no test split, the report is of the validation split.
        """
        self._run()

    def validate(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: None = None) -> None:
        """Scores the validation split, and writes the report."""
        self._run()

    def test(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: None = None) -> None:
        """Scores the test split, and writes the report."""
        self._run()

    def predict(self, model: TextClassifier, datamodule: TextDataModule, ckpt_path: None = None) -> None:
        """Labels texts that have no label, in flat memory."""
        self._run()

    def _run(self) -> None:
        """Runs the command; the records of its loggers end with it, so that another one in this process has its own."""
        if not self.execute_command:
            return
        try:
            with recorded(self.trainer):
                if self.subcommand == "predict":
                    self._predict()
                else:
                    self._execute()
        except BaseException as error:
            if (number := interruption(error)) is None:
                raise
            run = self.trainer.default_root_dir
            again = f"fit --config {quote(f'{run}/config.yaml')} --run_dir {quote(run)} --ckpt_path last"
            another = ", with another --run_dir" if self.options.run_dir else ""
            say_interrupted(number, str(self.subcommand), run, again, another)
            sys.exit(128 + number)

    def _execute(self) -> None:
        command = cast(Command, self.subcommand)
        test_after_fit = bool(self.options.get("test_after_fit"))
        execute(command, self.trainer, self.model, self.datamodule, self.checkpoint_path, test_after_fit)

    def _predict(self) -> None:
        data, model = self.datamodule, self.model
        check_prediction(self.trainer, self.options.input)
        model.textclf.text_steps = text_steps(data.cleaning)
        data.show_examples(model, "predict")
        if is_first_process():
            self._open_inputs()
        batches = self.stream.batches(model, data.eval_batch_size, data.max_batch_tokens)
        path = str(self.checkpoint_path) if self.checkpoint_path else None
        with ends_its_processes(self.trainer):
            self.trainer.predict(model, dataloaders=batches, ckpt_path=path, return_predictions=False)

    def _open_inputs(self) -> None:
        data = self.datamodule
        inputs = read_texts(
            self.options.texts,
            self.options.input,
            data.text_column,
            data.text_pair_column,
            keep=self._columns_to_keep(),
            reserved=reserved_names(self.model.label_names),
            options={role: name for role in ("text", "text_pair") if (name := data.column_option(role))},
        )
        if self.options.resume and inputs.content is None:
            raise UserError("--resume: standard input cannot be read again: give a file")
        check_output_apart(self.options.output, inputs.files)
        self.stream.inputs = inputs
        self.stream.facts = answer_facts(inputs.content, self.checkpoint_path, plain(self.options.as_dict()))

    def _columns_to_keep(self) -> Sequence[str] | Literal["all"]:
        if self.options.keep_all:
            return "all"
        return as_list(self.options.keep or None)


def _add_prediction_options(parser: LightningArgumentParser) -> None:
    parser.add_argument("--texts", type=one_text_or_several, help="One text, or a JSON list of texts.")
    parser.add_argument("--input", type=str | None, help="File, folder or pattern; - is standard input, one a line.")
    parser.add_argument(
        "--output", type=str | None, help="A .jsonl, .csv, .tsv or .parquet file, or a folder; stdout by default."
    )
    parser.add_argument("--resume", action=ActionYesNo, nargs="?", default=False, help="Resume an interrupted run.")
    parser.add_argument("--shard_rows", type=int, default=SHARD_ROWS, help="Rows of the input in a shard.")
    parser.add_argument("--shard_format", type=str | None, help="Of shards in a folder; parquet by default.")
    parser.add_argument("--keep", type=list[str] | str | None, help="Column or columns of the input to keep.")
    parser.add_argument(
        "--keep_all", action=ActionYesNo, nargs="?", default=False, help="All columns of the input are kept."
    )


def build(arguments: Sequence[str]) -> tuple[TextClassifier, TextDataModule, Trainer]:
    """Makes the objects of a command without running it, for scripts and notebooks.

    They are those of the command line: `fit` and the like also make the run folder (`trainer.default_root_dir`), and
    the trainer has its callbacks and loggers.

    >>> model, data, trainer = build(["fit", "--config", "configs/quickstart.yaml"])
    >>> trainer.fit(model, datamodule=data)

    Args:
        arguments: The command, then its options, as words. A checkpoint among them gives the arguments and the fitted
            state of the method; its weights are loaded by the `ckpt_path` of the trainer's methods.

    Returns:
        The method, the data and the trainer.

    Raises:
        UserError: An option is wrong, or the command cannot work.
    """
    made = TextCLI(arguments, execute_command=False)
    return made.model, made.datamodule, made.trainer


def build_parts(arguments: Sequence[str]) -> tuple[TextClassifier, TextDataModule]:
    """Builds the method and the data of a command alone: nothing is run or written, and no weights are loaded.

    Args:
        arguments: The options of `test`, as words.

    Raises:
        UserError: An option is wrong.
    """

    class Parts(TextCLI):
        def before_instantiate_classes(self) -> None:
            """Creates no run folder."""

        def instantiate_trainer(self, **kwargs: Any) -> Trainer:
            """A trainer that writes nothing: there is no run."""
            return Trainer(logger=False, enable_checkpointing=False)

    made = Parts(["test", *arguments], execute_command=False)
    return made.model, made.datamodule


def merged_config(arguments: Sequence[str]) -> dict[str, Any]:
    """The configuration of a command with all defaults, as `--print_config` prints it; nothing is read or made.

    Args:
        arguments: The command, then its options, as words.

    Raises:
        UserError: An option is wrong.
    """
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):  # the parser exits once it has printed
        TextCLI([*arguments, "--print_config"])
    config: dict[str, Any] = yaml.safe_load(printed.getvalue())
    return config


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; a user's mistake ends with one line and an exit code that is not 0.

    Args:
        arguments: The command, then its options; by default those of this process.
    """
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
