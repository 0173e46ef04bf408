"""Checks of the attributes of subclasses: no name of a base class is replaced by accident."""

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
    "textclf.data.source",
)
"""Modules of the base classes; subclasses may not use their names that begin with an underscore."""

UNUSED_METHODS = frozenset({"freeze", "print", "to_onnx", "to_tensorrt", "to_torchscript", "unfreeze"})
"""Methods of Lightning that nothing calls in a run: an attribute may have their names."""


class GuardedAttributes:
    """Base class that refuses an attribute of a subclass which would break the base class.

    Attributes:
        attribute_types: Types of attributes of the base class, each with its description for messages.
        former_names: The current names of attributes for subclasses, by the names that they had in earlier versions.
        init_call: The call of the base class's `__init__`, for messages.
    """

    attribute_types: ClassVar[Mapping[str, tuple[type | tuple[type, ...], str]]] = {}
    former_names: ClassVar[Mapping[str, str]] = {}
    init_call: ClassVar[str] = "super().__init__()"
    _base_ready = False

    def _base_begins(self) -> None:
        """Allows attributes to be set from now on; the first call in the `__init__` of the base class.

        Raises:
            UserError: A subclass uses a private or a former name of the base class, or a class attribute has the
                wrong type.
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
            UserError: It is set before the `__init__` of the base class, hides a method, or has the wrong type.
        """
        if not self._base_ready:
            raise UserError(f"{type(self).__name__}.__init__ sets {name!r} too early: call {self.init_call} first")
        _check_type(type(self), name, value)
        # Lightning sets its own attributes in every batch: a name that is already set is not checked again.
        if name not in self.__dict__ or isinstance(value, nn.Module | nn.Parameter):
            _check_hidden(type(self), name, value)
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # with `__getattr__`, a type checker would accept any attribute

        def __getattr__(self, name: str) -> Any:
            """Reads an attribute that is not in the instance's dictionary, such as a layer.

            Raises:
                UserError: The `__init__` of the base class was not called.
                AttributeError: There is no such attribute.
            """
            if not self._base_ready and not name.startswith("__"):
                raise UserError(f"{type(self).__name__}.__init__ reads {name!r} too early: call {self.init_call} first")
            next_getattr = getattr(super(), "__getattr__", None)  # of `nn.Module`; a data module has none
            if next_getattr is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return next_getattr(name)


def _check_private(object_class: type, kind: type, name: str) -> None:
    """Refuses a private name that a subclass shares with a base class.

    Args:
        object_class: The class of the object.
        kind: The class, among those that it inherits from, that defines the name.
        name: The name.
    """
    if not name.startswith("_") or name.startswith("__") or kind.__module__.startswith("textclf."):
        return
    for base in object_class.__mro__:
        if base.__module__ in BASES and name in vars(base):
            raise UserError(
                f"{kind.__name__}.{name}: {base.__name__} has a private attribute of that name: give yours another"
            )


def _check_type(kind: type, name: str, value: Any) -> None:
    """Refuses a value of the wrong type for an attribute of the base class; properties and methods pass."""
    expected = cast(Any, kind).attribute_types.get(name)
    if expected is None or hasattr(value, "__get__"):
        return
    types, description = expected
    if not isinstance(value, types):
        raise UserError(
            f"{kind.__name__}.{name} is set to {value!r:.80}, a {type(value).__name__}: it must be {description}; "
            "give an attribute of your own another name"
        )


def _check_hidden(kind: type, name: str, value: Any) -> None:
    """Refuses a value that hides a method or property, and a layer that a class attribute hides."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), None)
    if owner is None or (name in UNUSED_METHODS and owner.__module__.startswith("lightning.")):
        return
    defined = vars(owner)[name]
    is_layer = isinstance(value, nn.Module | nn.Parameter)
    if isinstance(defined, property) and defined.fset is None:
        what = "property"
    elif callable(defined) and (is_layer or not callable(value)):
        what = "method"
    elif is_layer and not owner.__module__.startswith(("torch.", "lightning.")):
        what = "class attribute"
    else:
        return
    raise UserError(
        f"{kind.__name__}.{name} is a {what} of {owner.__name__}: give an attribute of your own another name"
    )
