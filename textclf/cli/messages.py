"""Mistakes on the command line and in configurations, each said in one line with what was probably meant."""

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
COMMANDS = {  # what other tools call them
    "fit": "train training finetune fine_tune learn run",
    "validate": "val valid validation dev eval evaluate evaluation",
    "test": "score benchmark",
    "predict": "infer inference classify label pred prediction",
}
OPTIONS = {  # what other tools call them
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
MEANT = {name: option for option, names in OPTIONS.items() for name in names.split()}


def explain(message: str, options: Iterable[str] = ()) -> str:
    """Says an error of jsonargparse in one line, with the remedy.

    Args:
        message: What jsonargparse says, in many lines.
        options: The options that the command has.
    """
    if words := re.search(r"unrecognized arguments: (.*)", message, re.DOTALL):
        return _unknown_option(words[1], options)
    if name := re.search(r"does not accept option '([\w.-]+)'", message):
        return f"there is no option {name[1]!r}{_meant(name[1], options, dashes='')}"
    keys, inner = _innermost(message)
    key, kind = ".".join(keys), next(iter(re.findall(r"given class_path '([\w.]+)'", message)), "")
    if name := re.search(r"Option '([\w.-]+)' is not accepted", inner):
        return _unknown_argument(key, kind, name[1])
    if name := re.search(r"the following arguments are required: (.+)", inner):
        missing = " and ".join(f"--{key}.{each} ..." for each in name[1].split(", "))
        return f"{key}: {kind.rpartition('.')[2]} needs {name[1]}: pass {missing}"
    unknown = re.search(r"(?:dot import path string: |given class_path ')([^\s']+)", inner)
    if unknown:
        known = sorted({kind.__name__ for kind in classes(AXES[key])}) if key in AXES else []
        ours = f"one of {', '.join(known)}, or " if known else ""
        return f"{key}: {missing_class(unknown[1])}: give {ours}the full path of your own class"
    return f"{key}: {_mismatch(inner)}" if key else _mismatch(inner)


def misplaced_command(arguments: Sequence[str]) -> str:
    """Says what is wrong where the first word is none of the commands."""
    known = "the commands are fit, validate, test and predict; `textclf --help` says more"
    if not arguments:
        return f"a command is missing: {known}"
    if command := next((word for word in arguments if word in COMMANDS), None):
        return f"the command comes first: write `textclf {command} ...`, then its options"
    if arguments[0].startswith("-"):
        return f"a command comes before the options: {known}"
    name = arguments[0].lower().replace("-", "_")
    close = get_close_matches(name, COMMANDS, 1)
    meant = next((command for command, names in COMMANDS.items() if name in names.split()), close[0] if close else "")
    return f"there is no command {arguments[0]!r}: " + (f"did you mean {meant!r}? " if meant else "") + known


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
    first, *values = words.split(" ")
    if not first.startswith("-"):
        return f"{words!r} belongs to no option: put a value with spaces, or several texts, in quotation marks"
    name, equals, value = first.lstrip("-").partition("=")
    values = [value] if equals else values[: 0 if values and values[0].startswith("--") else 1]
    return f"there is no option {first.partition('=')[0]}{_meant(name, options, ' '.join(values))}"


def _meant(name: str, options: Iterable[str], value: str = "", dashes: str = "--") -> str:
    """`: did you mean ...?`, or where to look."""
    section, _, last = name.replace("-", "_").rpartition(".")
    known = _known(options)
    option = MEANT.get(last.lower(), "")
    if re.sub(r"^--([\w.]+).*", r"\1", option) in known:
        takes_value = re.fullmatch(r"--[\w.]+", option) is not None
        found = [f"{option[2:]} {value}".rstrip() if takes_value else option[2:]]
    else:
        found = [f"{full} {value}".rstrip() for full in _closest(section, last, known)]
    if not found:
        return ": `--help` lists the options"
    return f": did you mean {' or '.join(repr(f'{dashes}{each}') for each in found)}?"


def _known(options: Iterable[str]) -> list[str]:
    names = {option.removeprefix("--") for option in options if option.startswith("--") and option != "--help"}
    names |= {f"trainer.{name}" for name in parameters([Trainer])} | {"trainer"} | set(AXES)
    names |= {f"{axis}.{name}" for axis, base in AXES.items() for name in parameters([*classes(base), base])}
    return sorted(names)


def _closest(section: str, last: str, known: Sequence[str]) -> list[str]:
    if same := [full for full in known if full.rpartition(".")[2] == last]:
        return same
    within = [full for full in known if full.startswith(f"{section}.")] if section else known
    ends = {full.rpartition(".")[2]: full for full in within}
    if close := get_close_matches(last, ends, 1, cutoff=0.75):
        return [ends[close[0]]]
    sections = get_close_matches(section, [*AXES, "trainer"], 1)
    if within or not sections:
        return []
    return [f"{sections[0]}.{last}" if f"{sections[0]}.{last}" in known else sections[0]]


def _unknown_argument(key: str, kind: str, name: str) -> str:
    """The class has no such argument; perhaps another name was meant, or another class has it."""
    axis, short = key.partition(".")[0], kind.rpartition(".")[2]
    found = locate(kind)
    own = parameters(base for base in getattr(found, "__mro__", ()) if "__init__" in vars(base) and base is not object)
    last = name.replace("-", "_").rpartition(".")[2]
    meant = MEANT.get(last, "").removeprefix(f"--{axis}.")
    close = [meant] if meant in own else get_close_matches(last, own, 1)
    text = f"{key}: there is no argument {name!r} of {short}" + (f": did you mean {close[0]!r}?" if close else "")
    return text + (f" (`textclf fit --{key}.help {short}` lists them)" if key in AXES else "")


def _innermost(message: str) -> tuple[list[str], str]:
    """The keys that lead to the argument that is wrong, and what is said of it.

    (jsonargparse says of each class on the way what it was given, in lines that are indented by depth.)
    """
    lines, keys, start = message.splitlines(), [], 0
    for number, line in enumerate(lines):
        if key := re.search(r'Parser key "([\w.]+)"', line):
            start = number
            if key[1] not in keys:
                keys.append(key[1])
    depth = len(lines[start]) - len(lines[start].lstrip())
    inner = [re.sub(r'^.*?Parser key "[\w.]+"(?: element \d+)?:', "", lines[start])]
    for line in lines[start + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            break
        inner.append(line)
    return keys, "\n".join(inner if keys else lines)


def _mismatch(inner: str) -> str:
    """Says what was expected and what came instead."""
    dull = ("Does not validate", "Subtypes:", "Errors:", "Given value type", "Expected a <class 'NoneType'>")
    lines = dict.fromkeys(line.strip().removeprefix("- ") for line in inner.splitlines())
    text = "\n".join(line for line in lines if line and not line.startswith((*dull, "Expected a path")))
    kinds = re.findall(r"^Expected a (?!dot import)(.+?)(?:\. Got value.*)?$", text, re.MULTILINE)
    kinds = [re.sub(r"^<class '(.+)'>$", r"\1", kind) for kind in kinds]
    kinds = [re.sub(r"^(?:typing\.)?Literal\[(.*)\]$", r"one of \1", kind) for kind in dict.fromkeys(kinds)]
    given = re.search(r"(?:Got value|Given value): (.*)", text)
    if not kinds or given is None:
        return re.sub(r"\n?Given value: .*", "", text).replace("\n", " ")
    value, said = given[1], f"expected {' or '.join(kinds)}, got {given[1]}"
    if value.startswith(("{", "[")) and (wrong := yaml_error(value)):
        return f"{said}, which is not valid YAML ({wrong})"
    written = {"True": "true", "False": "false", "None": "null"}.get(value, value)
    if "str" in kinds and (written != value or re.fullmatch(r"[-+.\d][-+.\w]*", value)):
        said += f': put a text in quotation marks where it looks like a number, true, false or null ("{written}")'
    return said
