"""Messages for mistakes on the command line and in configurations: one line, with what was probably meant."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pydoc import locate
from typing import Any

from lightning.pytorch import Trainer

from textclf.class_paths import missing_class
from textclf.data.base import TextDataModule
from textclf.models.base import TextClassifier
from textclf.models.embedding import EmbeddingClassifier
from textclf.models.inference import InferenceClassifier
from textclf.models.preparation import PreparedClassifier
from textclf.run.yaml_values import yaml_error

AXES: dict[str, type[Any]] = {"model": TextClassifier, "data": TextDataModule}
COMMANDS = {  # and the names that other tools give them
    "fit": "train training finetune fine_tune learn run",
    "validate": "val valid validation dev eval evaluate evaluation",
    "test": "score benchmark",
    "predict": "infer inference classify label pred prediction",
}
OPTIONS = {  # and the names that other tools give them
    "--ckpt_path": "checkpoint ckpt checkpoint_path load resume resume_from_checkpoint resume_from weights",
    "--config": "cfg conf config_file yaml",
    "--data.batch_size": "batch bs train_batch_size per_device_train_batch_size per_gpu_train_batch_size",
    "--data.data_dir": "data_path data_folder dataset dataset_name dataset_path train_file train_data train_path",
    "--data.eval_batch_size": "test_batch_size per_device_eval_batch_size per_gpu_eval_batch_size",
    "--data.label_names": "labels classes class_names id2label",
    "--data.limit": "max_samples max_train_samples max_eval_samples max_predict_samples subset n_samples",
    "--data.num_workers": "workers dataloader_num_workers",
    "--data.shots_per_class": "shots_per_label samples_per_class k_shot few_shot",
    "--data.text_pair_column": "sentence2_column text2_column",
    "--data.text_column": "sentence1_column sentence_column text1_column",
    "--data.val_size": "validation_split val_split dev_size validation_size",
    "--input": "input_file input_path file infile",
    "--model.learning_rate": "lr",
    "--model.max_length": "max_len max_seq_length max_seq_len max_source_length sequence_length seq_len",
    "--model.pretrained": "model_name model_name_or_path model_path pretrained_model pretrained_model_name_or_path "
    "encoder backbone hf_model",
    "--model.warmup": "warmup_steps warmup_ratio num_warmup_steps",
    "--output": "output_file output_path out outfile",
    "--run_dir": "output_dir save_dir log_dir logging_dir exp_dir experiment_dir",
    "--run_name": "name experiment experiment_name exp_name",
    "--seed_everything": "seed random_seed manual_seed",
    "--texts": "text sentence sentences",
    "--trainer.accelerator": "device accelerator_type",
    "--trainer.accelerator cpu": "cpu no_cuda use_cpu",
    "--trainer.accumulate_grad_batches": "gradient_accumulation_steps grad_accum accumulate grad_accumulation",
    "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=val/macro_f1": "patience early_stopping "
    "early_stopping_patience",
    "--trainer.devices": "gpus gpu num_gpus n_gpu n_gpus ngpus nproc nproc_per_node num_devices",
    "--trainer.fast_dev_run": "debug dry_run",
    "--trainer.gradient_clip_val": "max_grad_norm grad_clip clip gradient_clip clip_grad_norm",
    "--trainer.log_every_n_steps": "logging_steps log_interval log_every",
    "--trainer.logger false": "no_wandb no_log no_logging",
    "--trainer.max_epochs": "epochs epoch num_epochs n_epochs num_train_epochs train_epochs ep",
    "--trainer.max_steps": "steps num_steps num_train_steps max_train_steps train_steps",
    "--trainer.num_nodes": "nnodes nodes",
    "--trainer.precision": "dtype mixed_precision",
    "--trainer.precision 16-mixed": "fp16 half amp",
    "--trainer.precision 32-true": "fp32",
    "--trainer.precision bf16-mixed": "bf16",
    "--trainer.val_check_interval": "eval_steps eval_interval evaluation_steps",
}
# Parts of jsonargparse's messages.
UNRECOGNIZED = re.compile(r"unrecognized arguments: (.*)", re.DOTALL)
OPTION_OF_A_FILE = re.compile(r"does not accept option '([\w.-]+)'")
GIVEN_CLASS = re.compile(r"given class_path '([\w.]+)'")
UNKNOWN_ARGUMENT = re.compile(r"Option '([\w.-]+)' is not accepted")
MISSING_ARGUMENTS = re.compile(r"the following arguments are required: (.+)")
UNKNOWN_CLASS = re.compile(r"(?:dot import path string: |given class_path ')([^\s']+)")
KEY = re.compile(r'Parser key "([\w.]+)"')
EXPECTED = re.compile(r"^Expected a (?!dot import)(.+?)(?:\. Got value.*)?$", re.MULTILINE)
GIVEN_VALUE = re.compile(r"(?:Got value|Given value): (.*)")

MEANT = {name: option for option, names in OPTIONS.items() for name in names.split()}


def explain(message: str, options: Iterable[str] = ()) -> str:
    """Rewrites an error of jsonargparse as one line, with the remedy.

    jsonargparse has no error codes or fields: its messages are searched for the patterns above.

    Args:
        message: The message of jsonargparse, of many lines.
        options: The options that the command has.
    """
    if found := UNRECOGNIZED.search(message):
        return _unknown_option(found[1], options)
    if found := OPTION_OF_A_FILE.search(message):
        return f"there is no option {found[1]!r}{_meant(found[1], options, dashes='')}"
    keys, inner = _innermost(message)
    return _explain_value(".".join(keys), inner, message)


def _explain_value(key: str, inner: str, message: str) -> str:
    """Explains why the value of an option is refused.

    Args:
        key: The option, such as `data` or `trainer.callbacks`; empty where the message names none.
        inner: The lines of the message about this option.
        message: The whole message.
    """
    class_path = ""
    if found := GIVEN_CLASS.search(message):
        class_path = found[1]
    if found := UNKNOWN_ARGUMENT.search(inner):
        return _unknown_argument(key, class_path, found[1])
    if found := MISSING_ARGUMENTS.search(inner):
        missing = " and ".join(f"--{key}.{name} ..." for name in found[1].split(", "))
        return f"{key}: {class_path.rpartition('.')[2]} needs {found[1]}: pass {missing}"
    if found := UNKNOWN_CLASS.search(inner):
        known = ""
        if key in AXES:
            known = f"one of {', '.join(sorted({kind.__name__ for kind in classes(AXES[key])}))}, or "
        return f"{key}: {missing_class(found[1])}: give {known}the full path of your own class"
    mismatch = _mismatch(inner)
    return f"{key}: {mismatch}" if key else mismatch


def misplaced_command(arguments: Sequence[str]) -> str:
    """Says what is wrong where the first word is not a command."""
    known = "the commands are fit, validate, test and predict; `textclf --help` says more"
    if not arguments:
        return f"a command is missing: {known}"
    if command := next((word for word in arguments if word in COMMANDS), None):
        return f"the command comes first: write `textclf {command} ...`, then its options"
    if arguments[0].startswith("-"):
        return f"a command comes before the options: {known}"
    meant = _meant_command(arguments[0].lower().replace("-", "_"))
    if meant is not None:
        known = f"did you mean {meant!r}? {known}"
    return f"there is no command {arguments[0]!r}: {known}"


def _meant_command(name: str) -> str | None:
    """The command that another tool calls by this name, or one that is spelled much alike."""
    for command, names in COMMANDS.items():
        if name in names.split():
            return command
    close = get_close_matches(name, COMMANDS, 1)
    return close[0] if close else None


def classes(base: type[Any]) -> list[type[Any]]:
    """All classes below a base that can be named, each once: one may have two bases that lead to it."""
    kinds: dict[type[Any], None] = {}
    for kind in base.__subclasses__():
        kinds |= dict.fromkeys([kind, *classes(kind)])
    return [kind for kind in kinds if kind not in (PreparedClassifier, EmbeddingClassifier, InferenceClassifier)]


def parameters(kinds: Iterable[Any]) -> set[str]:
    """The arguments that any of some classes takes."""
    names = {name for kind in kinds for name in inspect.signature(kind).parameters}
    return names - {"self", "kwargs"}


def _unknown_option(words: str, options: Iterable[str]) -> str:
    first, *following = words.split(" ")
    if not first.startswith("-"):
        return f"{words!r} belongs to no option: put a value with spaces, or several texts, in quotation marks"
    option, equals, value = first.partition("=")
    if not equals and following and not following[0].startswith("--"):
        value = following[0]
    return f"there is no option {option}{_meant(option.lstrip('-'), options, value)}"


def _meant(name: str, options: Iterable[str], value: str = "", dashes: str = "--") -> str:
    """`: did you mean ...?`, or where the options are listed.

    Args:
        name: The option that does not exist, without dashes.
        options: The options that the command has.
        value: The value that it was given; may be empty.
        dashes: What an option begins with: dashes on the command line, nothing in a file.
    """
    section, _, last = name.replace("-", "_").rpartition(".")
    known = _known(options)
    option = MEANT.get(last.lower(), "")
    if re.sub(r"^--([\w.]+).*", r"\1", option) in known:
        found = [option.removeprefix("--")]
        takes_value = re.fullmatch(r"--[\w.]+", option) is not None
    else:
        found = _closest(section, last, known)
        takes_value = True
    if not found:
        return ": `--help` lists the options"
    if takes_value:
        found = [f"{full} {value}".rstrip() for full in found]
    return f": did you mean {' or '.join(repr(f'{dashes}{each}') for each in found)}?"


def _known(options: Iterable[str]) -> list[str]:
    """The names of all options, those of any method and data set included, without dashes."""
    names = {"trainer", *AXES}
    names |= {option.removeprefix("--") for option in options if option.startswith("--") and option != "--help"}
    names |= {f"trainer.{name}" for name in parameters([Trainer])}
    for axis, base in AXES.items():
        names |= {f"{axis}.{name}" for name in parameters([*classes(base), base])}
    return sorted(names)


def _closest(section: str, last: str, known: Sequence[str]) -> list[str]:
    """The options that a misspelled one may stand for.

    Args:
        section: What it has before its last dot, such as `data`; may be empty.
        last: What it has after its last dot.
        known: The options that exist, sorted.
    """
    if same := [full for full in known if full.rpartition(".")[2] == last]:
        return same
    within = list(known)
    if section:
        within = [full for full in known if full.startswith(f"{section}.")]
    by_last_word = {full.rpartition(".")[2]: full for full in within}
    if close := get_close_matches(last, by_last_word, 1, cutoff=0.75):
        return [by_last_word[close[0]]]
    if within:
        return []
    sections = get_close_matches(section, [*AXES, "trainer"], 1)
    with_section = [f"{each}.{last}" for each in sections]
    return [full for full in with_section if full in known] or sections


def _unknown_argument(key: str, class_path: str, name: str) -> str:
    """Says that a class has no such argument, and which one was probably meant."""
    axis = key.partition(".")[0]
    short = class_path.rpartition(".")[2]
    bases = getattr(locate(class_path), "__mro__", ())
    own = parameters(base for base in bases if "__init__" in vars(base) and base is not object)
    last = name.replace("-", "_").rpartition(".")[2]
    meant = MEANT.get(last, "").removeprefix(f"--{axis}.")
    if meant not in own:
        meant = "".join(get_close_matches(last, own, 1))
    text = f"{key}: there is no argument {name!r} of {short}"
    if meant:
        text += f": did you mean {meant!r}?"
    if key in AXES:
        text += f" (`textclf fit --{key}.help {short}` lists them)"
    return text


def _innermost(message: str) -> tuple[list[str], str]:
    """The keys that lead to the argument that is wrong, and the lines about it.

    (jsonargparse names each class on the way, and what it was given, in lines that are indented by depth.)
    """
    lines = message.splitlines()
    keys: list[str] = []
    start = 0
    for number, line in enumerate(lines):
        if key := KEY.search(line):
            start = number
            if key[1] not in keys:
                keys.append(key[1])
    if not keys:
        return keys, message
    inner = [re.sub(r'^.*?Parser key "[\w.]+"(?: element \d+)?:', "", lines[start])]
    for line in lines[start + 1 :]:
        if line.strip() and _indent(line) <= _indent(lines[start]):
            break
        inner.append(line)
    return keys, "\n".join(inner)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


NOT_SHOWN = (
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Given value type",
    "Expected a <class 'NoneType'>",
    "Expected a path",
)
"""Beginnings of lines of jsonargparse that say nothing to a user."""


def _mismatch(inner: str) -> str:
    """Says what was expected and what was given instead."""
    lines = dict.fromkeys(line.strip().removeprefix("- ") for line in inner.splitlines())  # each once, in order
    text = "\n".join(line for line in lines if line and not line.startswith(NOT_SHOWN))
    kinds = list(dict.fromkeys(_type_name(kind) for kind in EXPECTED.findall(text)))
    given = GIVEN_VALUE.search(text)
    if not kinds or given is None:
        return re.sub(r"\n?Given value: .*", "", text).replace("\n", " ")
    value = given[1]
    message = f"expected {' or '.join(kinds)}, got {value}"
    if value.startswith(("{", "[")) and (wrong := yaml_error(value)):
        return f"{message}, which is not valid YAML ({wrong})"
    written = {"True": "true", "False": "false", "None": "null"}.get(value, value)
    looks_like_number = re.fullmatch(r"[-+.\d][-+.\w]*", value) is not None
    if "str" in kinds and (written != value or looks_like_number):
        message += f': put a text in quotation marks where it looks like a number, true, false or null ("{written}")'
    return message


def _type_name(kind: str) -> str:
    """A type without what Python and jsonargparse write around its name."""
    name = re.sub(r"^<class '(.+)'>$", r"\1", kind)
    return re.sub(r"^(?:typing\.)?Literal\[(.*)\]$", r"one of \1", name)
