"""Checks on the attributes of classes that researchers extend, so that no name is taken by accident."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from torch import nn

from textclf.errors import UserError

BASES = (
    "textclf.models.base",
    "textclf.models.few_shot",
    "textclf.data.base",
    "textclf.data.rows",
)
"""Modules of the base classes; their names with an underscore are not for subclasses."""


UNUSED_METHODS = frozenset({"freeze", "print", "to_onnx", "to_tensorrt", "to_torchscript", "unfreeze"})
"""Methods of Lightning that nothing calls in a run: an attribute may have their names."""


class GuardedAttributes:
    """Base class whose subclasses get one clear line where an attribute of theirs would break the base class.

    Attributes:
        attribute_types: The type that an attribute of the base class keeps, and what it holds.
        former_names: The present name of each attribute for subclasses that had another name in an earlier version.
        init_call: How a subclass calls the base class, for messages.
    """

    attribute_types: ClassVar[Mapping[str, tuple[type | tuple[type, ...], str]]] = {}
    former_names: ClassVar[Mapping[str, str]] = {}
    init_call: ClassVar[str] = "super().__init__()"
    _base_ready = False

    def _base_begins(self) -> None:
        """Lets attributes be set from now on; the first thing in the `__init__` of the base class.

        Raises:
            UserError: A subclass has a private name of the base class, a class attribute of another type, or a former
                name of an attribute.
        """
        self.__dict__["_base_ready"] = True
        for kind in type(self).__mro__:
            if kind.__module__ in BASES:
                break
            for name, value in vars(kind).items():
                if name in self.former_names:
                    raise UserError(f"{kind.__name__}.{name} is called {self.former_names[name]!r} now: rename it")
                _check_type(type(self), name, value)
                _check_private(type(self), kind, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute.

        Raises:
            UserError: It is set before the `__init__` of the base class, hides a method, or has another type.
        """
        if not self._base_ready:
            raise UserError(f"{type(self).__name__}.__init__ sets {name!r} too early: call {self.init_call} first")
        _check_type(type(self), name, value)
        # Lightning sets attributes of its own with every batch: a name that is set already is not looked up again.
        if name not in self.__dict__ or isinstance(value, nn.Module | nn.Parameter):
            _check_hidden(type(self), name, value)
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # a type checker would take any attribute to be there

        def __getattr__(self, name: str) -> Any:
            """Reads an attribute that an instance does not have, such as a layer.

            Raises:
                UserError: The `__init__` of the base class was not called.
                AttributeError: It was, and there is none.
            """
            if not self._base_ready and not name.startswith("__"):
                raise UserError(f"{type(self).__name__}.__init__ reads {name!r} too early: call {self.init_call} first")
            below = getattr(super(), "__getattr__", None)
            if below is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return below(name)


def _check_private(own: type, kind: type, name: str) -> None:
    if not name.startswith("_") or name.startswith("__") or kind.__module__.startswith("textclf."):
        return
    owner = next((base for base in own.__mro__ if base.__module__ in BASES and name in vars(base)), None)
    if owner is not None:
        raise UserError(
            f"{kind.__name__}.{name}: {owner.__name__} has a private attribute of that name: give yours another"
        )


def _check_type(kind: type, name: str, value: Any) -> None:
    wanted = cast(Any, kind).attribute_types.get(name)
    if wanted is None or isinstance(value, wanted[0]) or hasattr(value, "__get__"):
        return
    raise UserError(
        f"{kind.__name__}.{name} is set to {value!r:.80}, a {type(value).__name__}: it must be {wanted[1]}; give an "
        "attribute of your own another name"
    )


def _check_hidden(kind: type, name: str, value: Any) -> None:
    """Refuses a value that hides a method or property, and a layer that a class attribute hides."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), None)
    if owner is None or (name in UNUSED_METHODS and owner.__module__.startswith("lightning.")):
        return
    found, layer = vars(owner)[name], isinstance(value, nn.Module | nn.Parameter)
    if isinstance(found, property) and found.fset is None:
        what = "property"
    elif callable(found) and (layer or not callable(value)):
        what = "method"
    elif layer and not owner.__module__.startswith(("torch.", "lightning.")):
        what = "class attribute"
    else:
        return
    raise UserError(
        f"{kind.__name__}.{name} is a {what} of {owner.__name__}: give an attribute of your own another name"
    )
