"""Contents of a checkpoint: read safely, compared with a configuration, and resolved to a class."""

from __future__ import annotations

import inspect
import io
import pickle
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

import torch
from torch import Tensor

from textclf.classes.paths import public_path, with_current_paths
from textclf.classes.user_code import import_module, import_modules
from textclf.data.labels import normalized_names, refuse_other_labels
from textclf.errors import UserError
from textclf.models.checkpoint_checks import check_archive, check_entries
from textclf.plain_values import plain_part

T = TypeVar("T")


def accepted(kind: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Selects the stored arguments that a class takes: Lightning's `hparams` also hold those of its base classes.

    Args:
        kind: The class.
        arguments: Arguments by name.
    """
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        passes_on = False
        for parameter in inspect.signature(vars(base)["__init__"]).parameters.values():
            names.add(parameter.name)
            passes_on |= parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not passes_on:
            break
    return {name: value for name, value in arguments.items() if name in names}


def read_checkpoint(path: str | Path, mmap: bool = False) -> dict[str, Any]:
    """Loads a checkpoint into memory, not onto a device, without running any code that it may hold.

    Args:
        path: Of the file.
        mmap: Whether tensors are read when they are used: the file must stay until then.

    Raises:
        UserError: The file is missing, cut off, would run code, or is not a checkpoint of this package.
    """
    if not Path(path).is_file():
        raise UserError(f"the checkpoint {str(path)!r} does not exist: give the path of a .ckpt file of a run")
    check_archive(Path(path))
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"the checkpoint {str(path)!r} holds objects that could run code, so it is not loaded: use one of a run"
        ) from error
    except Exception as error:  # torch raises nearly every kind on a damaged file
        raise UserError(
            f"the checkpoint {str(path)!r} is damaged or cut off: use another one of the run, such as last.ckpt"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("textclf"), dict):
        raise UserError(f"{str(path)!r} is not a checkpoint of this package: give a .ckpt file of a run")
    check_entries(checkpoint, Path(path))
    checkpoint["textclf"] = current_facts(checkpoint)
    return checkpoint


def check_readable(entries: Mapping[str, Any], source: str) -> None:
    """Refuses what could be saved in a checkpoint, but not be read again without running code.

    Args:
        entries: Some entries of the checkpoint.
        source: What stores them, for the error.

    Raises:
        UserError: An entry is, or holds, an object.
    """
    for name, value in entries.items():
        if _is_plain(value):  # nearly always: only other values are written, and read, to find out
            continue
        file = io.BytesIO()
        try:
            torch.save(value, file)
            file.seek(0)
            torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # objects raise errors of many kinds when they are pickled
            raise UserError(
                f"{source} stores under {name!r} what cannot be read from a checkpoint without running code: store "
                "numbers, strings, lists, dictionaries and tensors"
            ) from error


def _is_plain(value: Any) -> bool:
    """Whether a value consists of numbers, strings, lists, dictionaries and tensors alone."""
    if type(value) in (dict, OrderedDict):
        return all(map(_is_plain, value.keys())) and all(map(_is_plain, value.values()))
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return type(value) in (NoneType, bool, int, float, str, bytes, Tensor)


def current_facts(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What this package keeps in a checkpoint, with current class paths in place of former ones.

    Args:
        checkpoint: What `torch.load` gives.
    """
    facts = dict(checkpoint["textclf"])
    fitted = facts.pop("fitted", {})  # large, and without class paths
    return {**with_current_paths(facts), "fitted": fitted}


def data_entry(data: Any, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """How to build the data module of a run again, for its checkpoint.

    Args:
        data: The data module.
        checkpoint: The checkpoint, whose copy of the module's arguments is reduced to plain values.
    """
    init_args = plain_part(data.hparams)
    if data.CHECKPOINT_HYPER_PARAMS_KEY in checkpoint:  # Lightning's copy may hold objects
        checkpoint[data.CHECKPOINT_HYPER_PARAMS_KEY] = dict(init_args)
    if "label_names" in init_args:  # as they were found, so that no file is needed to know them
        init_args["label_names"] = list(data.label_names)
    return {"class_path": public_path(type(data)), "init_args": init_args}


def check_restorable(
    checkpoint: Mapping[str, Any], kind: type, label_names: Sequence[str], architecture: Mapping[str, Any]
) -> None:
    """Refuses a checkpoint of another method than the one that is to be restored from it.

    Args:
        checkpoint: As `read_checkpoint` gives it.
        kind: Class of the method.
        label_names: Its label names.
        architecture: Its arguments that must be equal in the checkpoint, as plain values.

    Raises:
        UserError: The checkpoint is of another class, architecture, or set of labels.
    """
    saved = current_facts(checkpoint)
    class_path = public_path(kind)
    remedy = "use the config.yaml of the checkpoint's own run"
    if saved["class_path"] != class_path:
        raise UserError(
            f"the checkpoint holds a {saved['class_path']}, the configuration describes a {class_path}: {remedy}"
        )
    refuse_other_labels("checkpoint", normalized_names(saved["label_names"]), label_names)
    for name, configured in architecture.items():
        trained = checkpoint["hyper_parameters"].get(name)
        if trained != configured:
            raise UserError(
                f"the checkpoint was trained with {name} {trained!r}, the configuration says {configured!r}: {remedy}"
            )


def resolve_class(class_path: str, base: type[T], source: str) -> type[T]:
    """Finds the class of a checkpoint: one of this package, or one that is imported already.

    Loading a checkpoint imports no code of other packages. (The command line does import the class that a checkpoint or
    a configuration names.)

    Args:
        class_path: As the checkpoint names the class.
        base: What it must be a subclass of.
        source: What names it, for the error.

    Raises:
        UserError: The class is not imported, or not a `base`.
    """
    module, _, name = class_path.rpartition(".")
    if module.startswith("textclf."):
        import_modules([class_path])
    kind = getattr(sys.modules.get(module), name, None)
    if kind is None:
        remedy = f"write `from {module} import {name}` first (for scripts/export.py: `--import {module}`)"
        if module == "__main__":
            remedy = f"define {name} here as well, as in the script or notebook that trained it"
        raise UserError(f"{source} holds a {class_path}, which is not imported: {remedy}")
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise UserError(f"{source} holds a {class_path}, which is not a {base.__name__}: load it with that class")
    return kind


def import_calibrators(checkpoint: Mapping[str, Any]) -> None:
    """Imports the calibrators that a checkpoint names, as the command line does with its method and data set.

    Raises:
        UserError: One does not exist, or importing its module fails.
    """
    for stored in checkpoint["textclf"].get("calibrators", []):
        module, _, name = stored["class_path"].rpartition(".")
        try:
            import_module(module, stored["class_path"])
        except ModuleNotFoundError as error:
            raise UserError(
                f"the checkpoint was calibrated by {stored['class_path']}, and {error.name} is not there: put its "
                f"folder on PYTHONPATH, so that `from {module} import {name}` works"
            ) from error
