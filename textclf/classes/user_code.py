"""The user's own code: its modules are imported by dotted paths, and an error in it is reported with its place."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

from textclf.classes.paths import DOTTED, public_path
from textclf.errors import UserError


def search_current_folder() -> None:
    """Lets modules in the current folder be imported, as under `python -m`.

    A console script, and a script that is started by its path, look for modules in their own folder instead. If
    Python is set to search neither (`PYTHONSAFEPATH`, `-P`, `-I`), nothing is added.
    """
    if not sys.flags.safe_path and "" not in sys.path:
        sys.path.insert(0, "")


def import_modules(class_paths: Iterable[str]) -> None:
    """Imports the modules of classes, so that an error in one is not reported as a wrong class path.

    A module that does not exist is left to the parser, which reports it.

    Raises:
        UserError: A module exists, and importing it fails.
    """
    for path in dict.fromkeys(class_paths):
        with suppress(ModuleNotFoundError):
            import_module(path.rpartition(".")[0], path)


def import_module(name: str, source: str) -> ModuleType:
    """Imports a module of the user.

    Args:
        name: Its dotted name.
        source: What names it, for errors: a class path or an option.

    Raises:
        ModuleNotFoundError: There is no such module.
        UserError: There is, and importing it fails.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Neither the module nor a package that it is in is missing, but a module that it imports.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_error(source, error) from error
        raise
    except Exception as error:  # its code may raise any error
        raise _import_error(source, error) from error


def _import_error(source: str, error: Exception) -> UserError:
    """The error of importing a module as one line, with the last place in the user's code that led to it."""
    if isinstance(error, SyntaxError):
        message = error.msg
        place = f"{error.filename or source}, line {error.lineno}"
    else:
        message = (str(error).splitlines() or [""])[0]
        frames = traceback.extract_tb(error.__traceback__)
        users = [frame for frame in frames if not _is_library(frame.filename)]
        last = (users or frames)[-1]
        place = f"{last.filename}, line {last.lineno}"
    return UserError(f"{source}: importing its module fails: {type(error).__name__}: {message} ({place})")


def _is_library(file: str) -> bool:
    return "importlib" in file or "site-packages" in file


def missing_class(path: str) -> str:
    """Why there is no class under a path: its module does not exist, or has no such class.

    Args:
        path: A class path, such as `my_package.MyClassifier`.
    """
    module, _, name = path.rpartition(".")
    if not module:
        return f"there is no class {path!r}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return f"there is no module {error.name!r} for the class {path!r}: put its folder on PYTHONPATH"
    return f"there is no class {name!r} in the module {module!r}"


def import_path(path: str, option: str) -> Any:
    """Imports a module, and gives an attribute of it.

    Args:
        path: A dotted path, such as `my_package.rules.mine`.
        option: The option that the path was given for; errors name it.

    Raises:
        UserError: There is no such module, importing it fails, or it has no such attribute.
    """
    if not DOTTED.fullmatch(path):
        raise UserError(f"{option} {path!r} is not a dotted path: write it as my_package.module.name")
    module_name, _, name = path.rpartition(".")
    try:
        module = import_module(module_name, path)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{option} {path!r}: there is no module {error.name!r}: check the path, and that the folder it is in is on "
            "PYTHONPATH"
        ) from error
    if not hasattr(module, name):
        raise UserError(f"{option} {path!r}: the module {module_name!r} has no {name!r}")
    return getattr(module, name)


class FailedClass(BaseException):
    """Carries an error of a class past the parser, which would report it as an error of the configuration.

    Attributes:
        error: The error that the class raised.
    """

    def __init__(self, error: Exception) -> None:
        """Wraps an error."""
        super().__init__(str(error))
        self.error = error


def build(kind: type[Any], args: Iterable[Any], kwargs: Mapping[str, Any]) -> Any:
    """Builds an object of a class that a configuration names.

    Args:
        kind: The class.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Raises:
        FailedClass: Its code raises an error, which gets a note that names the class path.
        UserError: Its arguments are wrong, or it does not pass `num_classes` and `label_names` to its base class.
    """
    path = public_path(kind)
    try:
        return kind(*args, **kwargs)
    except UserError:
        raise
    except Exception as error:  # its code may raise any error
        if path.startswith("textclf."):
            raise
        if isinstance(error, TypeError) and re.fullmatch(r"\w+\.__init__\(\) missing .*'label_names'", str(error)):
            raise UserError(
                f"{kind.__name__}.__init__: call super().__init__(num_classes, label_names) first ({error})"
            ) from error
        error.add_note(f"(raised while {path} was made)")
        raise FailedClass(error) from error
