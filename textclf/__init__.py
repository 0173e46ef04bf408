"""Text classification for research: every data set with every method, one command, one report."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textclf.conformance import check_method as check_method
    from textclf.run.experiment import run_experiment as run_experiment

__version__ = "0.1.0"

MODULES = {"check_method": "textclf.conformance", "run_experiment": "textclf.run.experiment"}
"""Where the public functions are defined. They are imported on first use: what they need takes seconds to import."""


def __getattr__(name: str) -> Any:
    """Imports a public function."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    """The names of the module, those that are not imported yet included."""
    return sorted({*globals(), *MODULES})
