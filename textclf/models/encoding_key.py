"""The key of cached rows: a hash of all that the `encode` of a method depends on.

The package's methods name what their `encode` depends on (`encoding_facts`). For a class of the user this is found out:
its code, its arguments, what was fitted, and the attributes that `encode` reads.
"""

from __future__ import annotations

import dis
import inspect
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any
from uuid import uuid4

from torch import nn

from textclf.errors import UserError
from textclf.hashing import file_hash, value_hash, weights_hash
from textclf.plain_values import plain_arguments, plain_state
from textclf.version import __version__

LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
"""The folders of Python's own modules, and of installed packages."""


def hash_of_encoding(model: Any, base: type, fitted: dict[str, Any]) -> str:
    """A hash of all that the `encode` of a method depends on.

    It is made of `encoding_facts`. Where a class does not give them, or a subclass of that class overrides `encode`
    or anything that `encode` uses, its source, that of its module, all arguments, what was fitted, and the
    attributes that `encode` reads are added. What cannot be compared with another run, such as an argument that is an
    object, is replaced by a random number: such rows are encoded again in each run.

    Args:
        model: The method.
        base: `TextClassifier`, whose own `encoding_facts` are empty.
        fitted: What was fitted.
    """
    kind = type(model)
    owner = next(each for each in kind.__mro__ if "encoding_facts" in vars(each))
    facts: list[Any] = [__version__, model.encoding_facts()]
    if not _is_built_in(owner):  # the facts of built-in classes differ, or they encode alike
        facts.append(f"{owner.__module__}.{owner.__qualname__}")
    if "encode" in vars(model):  # a function that was assigned to the object
        facts.append(uuid4().hex)
    if owner is base or overrides(kind, owner, "encode"):
        lineage = kind.__mro__[: kind.__mro__.index(owner)]
        facts += [_code_of(each) for each in lineage]
        facts.append(plain_state(fitted, f"{kind.__name__}.fitted"))
        try:
            facts.append(plain_arguments(model))
        except UserError:  # an object, which cannot be compared with that of another run
            facts.append(uuid4().hex)
        facts += _attributes_of_encode(model)
    return value_hash(facts)


def _is_built_in(kind: type) -> bool:
    """Whether a class is one of this package."""
    return kind.__module__.startswith("textclf.")


# The attributes that `encode` reads


def _attributes_of_encode(model: Any) -> list[list[str]]:
    """Names and hashes of the attributes of a subclass that `encode` reads; the arguments do not tell their values.

    Parameters, buffers and modules are among them. Attributes that are set by this package, by Lightning or by torch
    are left out: `encoding_facts` covers them.
    """
    kind = type(model)
    if _is_built_in(kind):
        return []
    others = set(vars(nn.Module()))  # set by other means than an assignment
    for base in kind.__mro__:
        if base.__module__.startswith(("textclf.", "lightning.", "torch.")):
            others |= _names_set_by(base)
    others.discard("label_names")  # a checkpoint may have another order than the arguments
    attributes = dict(vars(model))
    for named in (model.named_parameters(recurse=False), model.named_buffers(recurse=False), model.named_children()):
        attributes.update(named)
    read = _names_used_by(kind, "encode").intersection(attributes) - others
    return [[name, _object_hash(attributes[name])] for name in sorted(read)]


def _object_hash(value: Any) -> str:
    """A hash of any object, such as a tokenizer or a function, that is the same in each process.

    Modules are hashed by their weights, other objects by their pickled content. If an object cannot be pickled, each
    call gives another text.
    """
    from datasets.fingerprint import Hasher

    try:
        if isinstance(value, nn.Module):  # its pickled content differs between training and evaluation
            return weights_hash(value)
        digest: str = Hasher.hash(value)
    except Exception:  # objects raise errors of many kinds when they are pickled
        return uuid4().hex
    return digest


# The code of a class


def overrides(kind: type, owner: type, name: str) -> bool:
    """Whether a subclass from outside of this package replaces a method, or any attribute that the method uses.

    For example, `encode` calls `self.tokenize`: a subclass that defines `tokenize` changes what `encode` gives.

    Args:
        kind: A subclass of `owner`, or `owner` itself.
        owner: The class that defines the method.
        name: Name of the method.
    """
    used = {each for each in _names_used_by(owner, name) if hasattr(owner, each)}
    own: set[str] = set()
    for subclass in kind.__mro__[: kind.__mro__.index(owner)]:
        if not _is_built_in(subclass):
            own.update(vars(subclass))
    return not used.isdisjoint(own)


def _names_used_by(owner: type, name: str) -> set[str]:
    """All names in the code of a method, and in that of the methods it uses, itself included: attributes, and others.

    Args:
        owner: A class that has the method.
        name: Name of the method.
    """
    used: set[str] = set()
    unread = [name]
    while unread:
        name = unread.pop()
        if name in used:
            continue
        used.add(name)
        for base in owner.__mro__:
            for code in _codes(vars(base).get(name)):
                unread += code.co_names
    return used


@cache
def _names_set_by(kind: type) -> frozenset[str]:
    """The attributes that the methods of a class set, and those of the class itself."""
    names = set(vars(kind))
    for value in vars(kind).values():
        for code in _codes(value):
            names |= {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_ATTR"}
    return frozenset(names)


def _code_of(kind: type) -> list[str]:
    """The source code of a class, of its module, and of the user's modules that this one imports, or a hash of it.

    If the behaviour of the class depends on more than that, each call gives another text: the class was defined in a
    console, or in a function whose variables its methods use.
    """
    try:
        source = [kind.__qualname__, inspect.getsource(kind)]
        module = inspect.getmodule(kind)
        if module is not None:
            source += _sources_of(module)
    except (OSError, TypeError):
        return [uuid4().hex]
    enclosed: set[str] = set()
    for value in vars(kind).values():
        code = next(_codes(value), None)
        if code is not None:
            enclosed.update(code.co_freevars)
    enclosed.discard("__class__")  # the variable behind `super()`
    return [uuid4().hex] if enclosed else source


def _sources_of(module: ModuleType) -> list[str]:
    """The source code of a module, and hashes of that of the modules that it imports from, except installed ones."""
    found = {module.__name__: inspect.getsource(module)}
    unread = [module]
    while unread:
        for value in vars(unread.pop()).values():
            used = inspect.getmodule(value)
            if used is not None and used.__name__ not in found and _is_of_user(used):
                found[used.__name__] = file_hash(Path(str(used.__file__)))  # it may be empty
                unread.append(used)
    return [found[name] for name in sorted(found)]


def _is_of_user(module: ModuleType) -> bool:
    """Whether a module is neither of this package nor of an installed one, nor of Python itself."""
    file = getattr(module, "__file__", None) or ""
    if module.__name__.split(".")[0] == "textclf" or not file.endswith(".py"):
        return False
    return not any(Path(file).is_relative_to(folder) for folder in LIBRARIES)


def _codes(value: Any) -> Iterator[CodeType]:
    """The code of a function, method or property, and of the functions defined in it; nothing for other values."""
    wrapped = [getattr(value, name, None) for name in ("fget", "func", "__func__")]  # of properties and methods
    for function in (value, *wrapped):
        unread = [getattr(inspect.unwrap(function), "__code__", None)] if callable(function) else []
        while unread:
            code = unread.pop()
            if code is not None:
                yield code
                unread += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
