"""Required hooks: hooks of a base class that run even if a subclass overrides them without calling `super()`.

Lightning calls a hook by its name, so an override replaces the hook of the base class. The base class counts the rows
in `validation_step`, and stores what a checkpoint needs in `on_save_checkpoint`: an override that only logs a loss
would switch that off. A base class marks such hooks with `required_hook`; `keep_required_hooks` wraps the overrides of
each new subclass, so that the marked hook runs after an override that has not called it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import Tensor

from textclf.errors import UserError
from textclf.models.checkpoint import check_readable

Hook = Callable[..., Any]
AnyHook = TypeVar("AnyHook", bound=Hook)

STEPS = ("validation_step", "test_step")
"""Hooks that return the results of a batch to the callbacks."""

_required: set[Hook] = set()
"""Hooks that are marked with `required_hook`."""
_wrappers: set[Hook] = set()
"""Wrapped overrides."""


def required_hook(hook: AnyHook) -> AnyHook:
    """Decorator for a hook of a base class that must run.

    Each call of the hook is recorded for the overrides that are running, so that they know that it has run.

    Args:
        hook: A method of a class whose objects have a `MethodState` as `textclf`.
    """

    @wraps(hook)
    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = hook(self, *args, **kwargs)
        for calls in self.textclf.hook_calls:
            calls[recorded] = result
        return result

    _required.add(recorded)
    return recorded  # type: ignore[return-value]  # the same signature


def keep_required_hooks(kind: type) -> None:
    """Wraps a new class's overrides of required hooks, those of its mixins included.

    Args:
        kind: The class, from its `__init_subclass__`.
    """
    names = set()
    for base in kind.__mro__:
        names |= {name for name, value in vars(base).items() if _is_required(value)}
    for name in names:
        override = next(vars(base)[name] for base in kind.__mro__ if name in vars(base))
        if isinstance(override, FunctionType) and override not in _required | _wrappers:
            setattr(kind, name, _wrapper(kind, name, override))


def _is_required(value: Any) -> bool:
    return isinstance(value, FunctionType) and value in _required  # other attributes may not be hashable


def _wrapper(kind: type, name: str, override: Hook) -> Hook:
    source = f"{kind.__name__}.{name}"

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        required = _next_required(type(self), kind, name)
        base_args: tuple[Any, ...] = args
        base_kwargs = kwargs
        if name in STEPS:
            base_args = _step_arguments(args, kwargs)
            base_kwargs = {}
            # An override may change its batch: take `labels` out, or mask tokens in place. What is counted, and what
            # callbacks get, stays as it is.
            args = tuple(map(_copied_batch, args))
            kwargs = {parameter: _copied_batch(value) for parameter, value in kwargs.items()}
        if name == "on_save_checkpoint":
            checkpoint = args[0] if args else kwargs["checkpoint"]
            known = set(checkpoint)
        calls: dict[Hook, Any] = {}
        self.textclf.hook_calls.append(calls)
        try:
            returned = override(self, *args, **kwargs)
        finally:
            self.textclf.hook_calls.pop()
        was_called = required in calls
        if was_called:
            result = calls[required]
        else:
            result = required(self, *base_args, **base_kwargs)
        if name in STEPS:
            return merged_outputs(source, result, returned)
        if name == "on_save_checkpoint":
            check_readable({key: checkpoint[key] for key in checkpoint.keys() - known}, source)
        if name == "configure_callbacks" and not was_called:
            return [*_as_list(returned), *_as_list(result)]
        return returned

    # Lightning reads the parameters of a hook from `__wrapped__`, one level deep.
    wrapped = wraps(inspect.unwrap(override))(wrapped)
    _wrappers.add(wrapped)
    return wrapped


def _step_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
    """The batch and its number: the parameters of the steps of the base class; an override may have others."""
    batch = args[0] if args else kwargs["batch"]
    batch_idx = args[1] if len(args) > 1 else kwargs.get("batch_idx", 0)
    return batch, batch_idx


def _copied_batch(value: Any) -> Any:
    """A copy of a batch, its tensors included; other objects in it are shared."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: _copied_batch(entry) for name, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_copied_batch, value))
    return value


def _next_required(kind: type, after: type, name: str) -> Hook:
    """The first required hook behind a class in the method resolution order of an object's class.

    Args:
        kind: Class of the object.
        after: Class of the override.
        name: Of the hook.
    """
    bases = kind.__mro__[kind.__mro__.index(after) + 1 :]
    hook: Hook = next(vars(base)[name] for base in bases if _is_required(vars(base).get(name)))
    return hook


def merged_outputs(source: str, outputs: Mapping[str, Tensor], returned: Any) -> Mapping[str, Any]:
    """Adds what an overridden step returned to the results that callbacks need.

    Args:
        source: Class and method, for the error.
        outputs: Results of the base's step.
        returned: A dictionary, whose entries are added; a tensor, which is added as `loss`; None; or anything else,
            which is added as `output`.

    Raises:
        UserError: A result of the base comes back with another value, after the base has counted it.
    """
    if returned is None or returned is outputs:
        return outputs
    if isinstance(returned, Tensor):
        return {"loss": returned, **outputs}
    if not isinstance(returned, Mapping):
        return {"output": returned, **outputs}
    for name in outputs.keys() & returned.keys():
        if not _is_same(outputs[name], returned[name]):
            raise UserError(
                f"{source} returned other values as {name!r} than those that were counted: override log_scores to "
                "change scores, or return them under another name"
            )
    return {**returned, **outputs}


def _is_same(value: Tensor, other: Any) -> bool:
    if value is other:
        return True
    if not isinstance(other, Tensor) or value.shape != other.shape:
        return False
    return torch.allclose(value.double().cpu(), other.double().cpu(), equal_nan=True)


def _as_list(callbacks: Any) -> list[Any]:
    """What `configure_callbacks` returns, one callback or a sequence of them, as a list."""
    if callbacks is None:
        return []
    if isinstance(callbacks, list | tuple):
        return list(callbacks)
    return [callbacks]
