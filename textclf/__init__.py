"""Text classification for research: every data set with every method, one command, one report."""

from typing import TYPE_CHECKING

from textclf.classes.paths import lazy_exports
from textclf.version import __version__ as __version__

if TYPE_CHECKING:
    from textclf.conformance import check_method as check_method
    from textclf.run.experiment import run_experiment as run_experiment

__getattr__, __dir__ = lazy_exports(
    __name__, {"textclf.conformance": "check_method", "textclf.run.experiment": "run_experiment"}
)
