"""Hooks of the base classes that run even if a subclass overrides them without calling `super()`.

Lightning calls a hook by its name, so an override replaces the base's hook. `validation_step` is where the base counts
the rows, `on_save_checkpoint` is where it stores what a checkpoint needs: an override that only logs a loss would
switch that off. A base class marks such hooks with `required_hook`; `keep_required_hooks` wraps the overrides of each
new subclass, so that the marked hook runs after an override that has not called it.
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

Hook = Callable[..., Any]
AnyHook = TypeVar("AnyHook", bound=Hook)

STEPS = ("validation_step", "test_step")
"""Hooks that return the results of a batch to the callbacks."""

_required: set[Hook] = set()
_wrappers: set[Hook] = set()


def required_hook(hook: AnyHook) -> AnyHook:
    """Marks a hook of a base class that must run, and reports each of its calls to the overrides around it.

    Args:
        hook: A method of a class whose objects have a `MethodState` as `textclf`.
    """

    @wraps(hook)
    def reported(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = hook(self, *args, **kwargs)
        for calls in self.textclf.hook_calls:
            calls[reported] = result
        return result

    _required.add(reported)
    return reported  # type: ignore[return-value]  # the same signature


def keep_required_hooks(kind: type) -> None:
    """Wraps a new class's overrides of required hooks, those of its mixins included.

    Args:
        kind: The class, from its `__init_subclass__`.
    """
    names = {name for base in kind.__mro__ for name, value in vars(base).items() if _is_in(value, _required)}
    for name in names:
        override = next(vars(base)[name] for base in kind.__mro__ if name in vars(base))
        if isinstance(override, FunctionType) and override not in _required | _wrappers:
            setattr(kind, name, _wrapper(kind, name, override))


def _is_in(value: Any, hooks: set[Hook]) -> bool:
    return isinstance(value, FunctionType) and value in hooks  # other attributes may not be hashable


def _wrapper(kind: type, name: str, override: Hook) -> Hook:
    source = f"{kind.__name__}.{name}"

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        required = _next_required(type(self), kind, name)
        base_args, base_kwargs = args, kwargs
        if name in STEPS:
            base_args, base_kwargs = _step_arguments(args, kwargs), {}
            args, kwargs = _with_own_batch(args, kwargs)
        calls: dict[Hook, Any] = {}
        self.textclf.hook_calls.append(calls)
        try:
            returned = override(self, *args, **kwargs)
        finally:
            self.textclf.hook_calls.pop()
        was_called = required in calls
        result = calls[required] if was_called else required(self, *base_args, **base_kwargs)
        if name in STEPS:
            return merged_outputs(source, result, returned)
        if name == "configure_callbacks" and not was_called:
            return [*_as_list(returned), *_as_list(result)]
        return returned

    # Lightning reads the parameters of a hook from `__wrapped__`, one level deep.
    wrapped = wraps(inspect.unwrap(override))(wrapped)
    _wrappers.add(wrapped)
    return wrapped


def _step_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
    """The batch and its number, which are all parameters of the base's steps, whatever the override has."""
    batch = args[0] if args else kwargs["batch"]
    batch_idx = args[1] if len(args) > 1 else kwargs.get("batch_idx", 0)
    return batch, batch_idx


def _with_own_batch(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with copies of dictionaries: an override may take `labels` out of its batch, callbacks need them."""
    own_args = tuple(dict(arg) if isinstance(arg, dict) else arg for arg in args)
    return own_args, {name: dict(arg) if isinstance(arg, dict) else arg for name, arg in kwargs.items()}


def _next_required(kind: type, after: type, name: str) -> Hook:
    """The first required hook behind a class in the method resolution order of an object's class."""
    bases = kind.__mro__[kind.__mro__.index(after) + 1 :]
    found: Hook = next(vars(base)[name] for base in bases if _is_in(vars(base).get(name), _required))
    return found


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
    if not isinstance(returned, Mapping):
        return {"loss" if isinstance(returned, Tensor) else "output": returned, **outputs}
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
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
