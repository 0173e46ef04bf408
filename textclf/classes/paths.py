"""Dotted paths of classes: the ones that configurations name, former ones, and lazy exports of packages."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

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
        return {name: _with_current_path(value, _is_class_key(name)) for name, value in config.items()}
    if isinstance(config, list):
        return [with_current_paths(value) for value in config]
    return config


def _is_class_key(name: Any) -> bool:
    """Whether class paths may stand under a key of a configuration; `callbacks+` adds to the list `callbacks`."""
    return str(name).removesuffix("+") in CLASS_KEYS


def _with_current_path(value: Any, is_class: bool) -> Any:
    if is_class and isinstance(value, str):
        return current_path(value)
    if is_class and isinstance(value, list):
        return [_with_current_path(entry, is_class) for entry in value]
    return with_current_paths(value)


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
            if _is_class_key(name) and isinstance(value, str):
                if DOTTED.fullmatch(value):
                    yield value
            else:
                yield from class_paths_in(value)
    elif isinstance(config, list):
        for value in config:
            yield from class_paths_in(value)
