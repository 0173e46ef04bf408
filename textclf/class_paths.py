"""Classes and functions that are named by their path: importing them, and telling their own errors from wrong paths."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from textclf.errors import UserError

DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def search_current_folder() -> None:
    """Lets modules in the current folder be imported, as under `python -m`.

    A console script, and a script that is started by its path, look for modules in their own folder instead. Where
    Python is told to search neither (`PYTHONSAFEPATH`, `-P`, `-I`), nothing is added.
    """
    if not sys.flags.safe_path and "" not in sys.path:
        sys.path.insert(0, "")


def class_paths_in(config: Any) -> Iterator[str]:
    """All dotted class paths in a configuration: of model and data, callbacks, loggers, and classes in their arguments.

    Args:
        config: Nested dictionaries and lists, as YAML gives them.
    """
    if isinstance(config, dict):
        for name, value in config.items():
            if name in ("class_path", "model", "data", "callbacks", "logger") and isinstance(value, str):
                if DOTTED.fullmatch(value):
                    yield value
            else:
                yield from class_paths_in(value)
    elif isinstance(config, list):
        for value in config:
            yield from class_paths_in(value)


def import_modules(class_paths: Iterable[str]) -> None:
    """Imports the modules of classes, so that an error in one is shown as it is.

    A module that is not there is left to the parser, which says so.

    Raises:
        UserError: The module is there, and importing it fails.
    """
    for path in dict.fromkeys(class_paths):
        module = path.rpartition(".")[0]
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise _import_error(path, error) from error
        except Exception as error:  # whatever the code in it raises
            raise _import_error(path, error) from error


def _import_error(path: str, error: Exception) -> UserError:
    message = (str(error).splitlines() or [""])[0]
    if isinstance(error, SyntaxError):
        message, file, line = error.msg, error.filename or path, error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "importlib" not in frame.filename and "site-packages" not in frame.filename]
        file, line = (own or frames)[-1].filename, (own or frames)[-1].lineno
    where = f"{file}, line {line}"
    return UserError(f"{path}: importing its module fails: {type(error).__name__}: {message} ({where})")


def missing_class(path: str) -> str:
    """Why a class path leads nowhere: its module is not there, or has no such class.

    Args:
        path: Such as `my_package.MyClassifier`.
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
    """Imports what a dotted path names: a module, then an attribute of it.

    Args:
        path: Such as `my_package.rules.mine`.
        option: What the path was given for; errors name it.

    Raises:
        UserError: There is no such module, importing it fails, or it has no such attribute.
    """
    if not DOTTED.fullmatch(path):
        raise UserError(f"{option} {path!r} is no path: write it as my_package.module.name")
    import_modules([path])
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{option} {path!r}: there is no module {error.name!r}: check the path, and that the folder it is in is on "
            "PYTHONPATH"
        ) from error
    if not hasattr(module, name):
        raise UserError(f"{option} {path!r}: the module {module_name!r} has no {name!r}")
    return getattr(module, name)


class FailedClass(BaseException):
    """Carries an error of a class past the parser, which would make an error of the configuration of it.

    Attributes:
        error: What the class raised.
    """

    def __init__(self, error: Exception) -> None:
        """Takes the error."""
        super().__init__(str(error))
        self.error = error


def build(kind: type[Any], args: Iterable[Any], kwargs: Mapping[str, Any]) -> Any:
    """Makes an object of a class that a configuration names.

    Args:
        kind: The class.
        args: Its positional arguments.
        kwargs: Its other arguments.

    Raises:
        FailedClass: Its code raises an error, which is kept, with a note that names the class path.
        UserError: Its arguments are wrong, or it does not pass the facts of the data on.
    """
    path = f"{kind.__module__}.{kind.__qualname__}"
    try:
        return kind(*args, **kwargs)
    except UserError:
        raise
    except Exception as error:  # whatever the code in it raises
        if path.startswith("textclf."):
            raise
        if isinstance(error, TypeError) and re.fullmatch(r"\w+\.__init__\(\) missing .*'label_names'", str(error)):
            raise UserError(
                f"{kind.__name__}.__init__: call super().__init__(num_classes, label_names) first ({error})"
            ) from error
        error.add_note(f"(raised while {path} was made)")
        raise FailedClass(error) from error
