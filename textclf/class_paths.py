"""Classes and functions that are named by their path: names to write, former names, imports, and errors."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

from textclf.errors import UserError

DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

CLASS_KEYS = ("class_path", "model", "data", "callbacks", "logger", "calibrator")
"""The keys of a configuration whose values may be class paths."""

KOREAN = "Kor3i4kDataModule KorHateDataModule KorSAEDataModule KorSarcasmDataModule YNATDataModule"

FORMER_MODULES: dict[str, dict[str, str]] = {
    "textclf.data": {
        "textclf.data.ag_news": "AGNewsDataModule",
        "textclf.data.bbc_news": "BBCNewsDataModule",
        "textclf.data.cleaning": "DecodeHTML DropEmpty DropOverlap DropRepeats DropUnknownLabels JoinLines "
        "NormalizeUnicode RemoveControlCharacters ResolveConflicts StripWhitespace",
        "textclf.data.emotion": "EmotionDataModule",
        "textclf.data.files": "FilesDataModule",
        "textclf.data.korean": KOREAN,
        "textclf.data.nsmc": "NSMCDataModule",
        "textclf.data.rotten_tomatoes": "RottenTomatoesDataModule",
        "textclf.data.sets.korean": KOREAN,
    },
    "textclf.models": {
        "textclf.models.causal_lm": "CausalLMClassifier",
        "textclf.models.chat": "ChatClassifier",
        "textclf.models.embedded": "EmbeddingClassifier",
        "textclf.models.embedding_zero_shot": "EmbeddingZeroShot",
        "textclf.models.fine_tuned": "FineTunedClassifier",
        "textclf.models.linear_probe": "LinearProbe",
        "textclf.models.nearest_centroid": "NearestCentroid",
        "textclf.models.nli": "NLIClassifier",
        "textclf.models.pretrained": "PretrainedClassifier",
        "textclf.models.seq2seq": "Seq2SeqClassifier",
        "textclf.models.tfidf": "TfidfClassifier",
    },
    "textclf.models.label_scores": {
        "textclf.models.score_record": "ScoreRecord",
        "textclf.score_record": "ScoreRecord",
    },
    "textclf.run": {
        "textclf.callbacks": "BestCheckpoint ConfigWriter LastCheckpoint PredictionStream RandomStates ReportWriter",
        "textclf.extra_metrics": "ExtraMetrics",
        "textclf.loggers": "MetricsCSV WandbRunLogger",
        "textclf.memory": "HeapTrimmer",
        "textclf.progress": "ProgressLines",
        "textclf.reporting": "ReportWriter",
        "textclf.temperature": "TemperatureScaling",
        "textclf.thresholds": "TunedThresholds",
        "textclf.tracking": "CleaningRecord ReportRecord TrainingSpeed",
        "textclf.validation": "Calibration",
        "textclf.run.callbacks": "BestCheckpoint ConfigWriter LastCheckpoint PredictionStream RandomStates",
        "textclf.run.extra_metrics": "ExtraMetrics",
        "textclf.run.loggers": "MetricsCSV WandbRunLogger",
        "textclf.run.progress": "ProgressLines",
        "textclf.run.temperature": "TemperatureScaling",
        "textclf.run.thresholds": "TunedThresholds",
        "textclf.run.tracking": "CleaningRecord ReportRecord TrainingSpeed",
    },
}
"""The modules by which classes were once named, and the classes, by the package that exports them now.

Configurations and checkpoints of earlier versions hold these paths. New ones hold those of `public_path`, so that a
class that moves within a package needs no entry.
"""

RENAMED = {
    "textclf.callbacks.CleaningWriter": "textclf.run.CleaningRecord",
    "textclf.tracking.TestRecord": "textclf.run.ReportRecord",
    "textclf.callbacks.WholeCheckpointIO": "textclf.run.AtomicCheckpointIO",
    "textclf.run.callbacks.WholeCheckpointIO": "textclf.run.AtomicCheckpointIO",
    "textclf.run.checkpoints.WholeCheckpointIO": "textclf.run.AtomicCheckpointIO",
    "textclf.run.WholeCheckpointIO": "textclf.run.AtomicCheckpointIO",
}
"""Former paths of classes that have another name now."""

FORMER_PATHS = RENAMED | {
    f"{module}.{name}": f"{package}.{name}"
    for package, modules in FORMER_MODULES.items()
    for module, names in modules.items()
    for name in names.split()
}
"""The current path for each former class path."""


def public_path(kind: type) -> str:
    """The path that configurations and checkpoints name a class by.

    For a class of this package, that is the shortest path by which a package exports it, such as
    `textclf.models.TfidfClassifier`, so that its module may change. Any other class is named by its module.

    Args:
        kind: Any class.
    """
    packages = kind.__module__.split(".")[:-1]
    if packages[:1] == ["textclf"]:
        for depth in range(len(packages)):
            package = ".".join(packages[: depth + 1])
            if getattr(sys.modules[package], kind.__qualname__, None) is kind:
                return f"{package}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def current_path(path: str) -> str:
    """The current path for a class path that an earlier version of this package wrote; any other path as it is."""
    return FORMER_PATHS.get(path, path)


def with_current_paths(config: Any) -> Any:
    """A copy of a configuration in which each former class path is replaced by the current path.

    Args:
        config: Nested dictionaries and lists. Strings are class paths under the keys `CLASS_KEYS`, and in lists there.
    """
    if isinstance(config, dict):
        return {name: _with_current_path(value, name in CLASS_KEYS) for name, value in config.items()}
    if isinstance(config, list):
        return [with_current_paths(value) for value in config]
    return config


def _with_current_path(value: Any, is_class: bool) -> Any:
    if is_class and isinstance(value, str):
        return current_path(value)
    if is_class and isinstance(value, list):
        return [_with_current_path(entry, is_class) for entry in value]
    return with_current_paths(value)


def search_current_folder() -> None:
    """Lets modules in the current folder be imported, as under `python -m`.

    A console script, and a script that is started by its path, look for modules in their own folder instead. If
    Python is set to search neither (`PYTHONSAFEPATH`, `-P`, `-I`), nothing is added.
    """
    if not sys.flags.safe_path and "" not in sys.path:
        sys.path.insert(0, "")


def lazy_exports(
    package: str, names_of_modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes the `__getattr__` and `__dir__` of a package whose exports take seconds to import.

    Args:
        package: Its `__name__`.
        names_of_modules: The names that it exports, separated by spaces, by the modules that define them.

    Returns:
        A function that imports an exported name on first use, and one that lists all names of the package.
    """
    modules = {name: module for module, names in names_of_modules.items() for name in names.split()}

    def export(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return export, names


def class_paths_in(config: Any) -> Iterator[str]:
    """All dotted class paths in a configuration: of model and data, callbacks, loggers, and classes in their arguments.

    Args:
        config: Nested dictionaries and lists, as YAML gives them.
    """
    if isinstance(config, dict):
        for name, value in config.items():
            if name in CLASS_KEYS and isinstance(value, str):
                if DOTTED.fullmatch(value):
                    yield value
            else:
                yield from class_paths_in(value)
    elif isinstance(config, list):
        for value in config:
            yield from class_paths_in(value)


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
