"""Checks of checkpoint files that anybody may have written: of sizes, before memory is taken, and of entries."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from textclf.errors import UserError
from textclf.hub import loading
from textclf.parsing import check_size


def check_archive(path: Path) -> None:
    """Refuses an archive that would take more memory than its file has bytes, before anything of it is read.

    (torch stores tensors as they are. Compressed ones can be a thousand times as large as the file.)

    Raises:
        UserError: Entries of the archive are compressed, or overlap.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            announced = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):  # torch says what else it may be
        return
    size = path.stat().st_size
    if announced > size:
        raise UserError(
            f"the checkpoint {str(path)!r} has {size:,} bytes and announces {announced:,}, as torch never does, so it "
            "is not loaded: use one of a run"
        )


def check_entries(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Refuses entries of other types than those that a run writes, and tensors that are larger than the file.

    Args:
        checkpoint: What `torch.load` gives; `textclf` is a dictionary.
        path: The file.

    Raises:
        UserError: There are some.
    """
    try:
        for problem in _problems(checkpoint):
            raise ValueError(problem)
        size = path.stat().st_size
        for tensor in _tensors_in(checkpoint):
            if tensor.numel() * tensor.element_size() > size:  # an expanded tensor repeats its bytes
                raise ValueError(f"a tensor of shape {tuple(tensor.shape)} is larger than the file")
    except ValueError as error:
        raise UserError(f"the checkpoint {str(path)!r} is damaged ({error}): use another one of the run") from error


def refuse_remote_code(checkpoint: Mapping[str, Any], given: Mapping[str, Any], path: str | Path) -> None:
    """Refuses a checkpoint that allows the code that comes with a model, unless the user does.

    Args:
        checkpoint: As `read_checkpoint` gives it.
        given: Arguments of the user, which replace the stored ones.
        path: The file, for the error.

    Raises:
        UserError: A stored argument has `trust_remote_code`.
    """
    for name, value in checkpoint["hyper_parameters"].items():
        if name not in given and isinstance(value, Mapping) and value.get("trust_remote_code"):
            raise UserError(
                f"the checkpoint {str(path)!r} would run code that comes with a model: if you trust it, pass "
                f"{name}={dict(value)!r}"
            )


def loading_part(part: str) -> AbstractContextManager[None]:
    """Turns errors of a damaged part of a checkpoint into one line.

    Args:
        part: What is read, such as `tokenizer`.
    """
    return loading(part, "of the checkpoint", "use another checkpoint of the run")


def _problems(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the entries that every checkpoint has."""
    facts = checkpoint["textclf"]
    arguments = checkpoint.get("hyper_parameters")
    for value in (arguments, {**facts, "fitted": None}):  # what is fitted may be large, and is not copied
        check_size(value)
    if not isinstance(arguments, dict) or not all(isinstance(name, str) for name in arguments):
        yield "hyper_parameters is not a dictionary of arguments"
    names = facts.get("label_names")
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        yield "label_names is not a list of texts"
    if not isinstance(checkpoint.get("state_dict"), Mapping):
        yield "state_dict is not a dictionary"
    if not _has_class_path(facts):
        yield "class_path is not a class path"
    for name in ("text_steps", "calibrators"):
        entries = facts.get(name, [])
        if not isinstance(entries, list) or not all(_has_class_path(entry) for entry in entries):
            yield f"{name} is not a list of classes"
    data = facts.get("data")
    if data is not None and not (_has_class_path(data) and isinstance(data.get("init_args"), dict)):
        yield "data is not a class with arguments"


def _has_class_path(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("class_path"), str)


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in dictionaries, lists and tuples, each of which is looked at once."""
    seen: set[int] = set()
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            left += value.values() if isinstance(value, Mapping) else value
