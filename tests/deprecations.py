"""Warnings of deprecation are errors in the tests, and in the processes that tests start."""

import logging
import re

CATEGORIES = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
INSIDE_LIBRARIES = (
    ("`isinstance(treespec", "FutureWarning"),  # lightning 2.6 with torch 2.13
    ("`is_gradient_checkpointing` is deprecated", "FutureWarning"),  # peft 0.19 with transformers 5.23
    ("`torch.jit.script_method` is deprecated", "DeprecationWarning"),  # DeBERTa in transformers 5.23 with torch 2.13
    ("numpy.core is deprecated", "DeprecationWarning"),  # accelerate 1.1 with numpy 2
    ("'enablePackrat' deprecated", "DeprecationWarning"),  # matplotlib 3.9 with pyparsing 3.3, as the next three
    ("'resetCache' deprecated", "DeprecationWarning"),
    ("'parseString' deprecated", "DeprecationWarning"),
    ("'oneOf' deprecated", "DeprecationWarning"),
)
"""How warnings begin that no code of this project causes: one library uses what another one has deprecated."""
LOGGERS = ("", "datasets", "huggingface_hub", "lightning", "sentence_transformers", "transformers")
"""Loggers of libraries that report deprecations as log lines."""


def python_warnings() -> str:
    """The value of `PYTHONWARNINGS` for the processes that tests start; the last filter that matches decides."""
    errors = [f"error::{category}" for category in CATEGORIES]
    return ",".join([*errors, *(f"ignore:{message}:{category}" for message, category in INSIDE_LIBRARIES)])


def warning_filters() -> list[str]:
    """The same as lines of pytest's option `filterwarnings`, whose messages are regular expressions."""
    errors = [f"error::{category}" for category in CATEGORIES]
    return [*errors, *(f"ignore:{re.escape(message)}:{category}" for message, category in INSIDE_LIBRARIES)]


class RaisesDeprecations(logging.Handler):
    """Raises a `DeprecationWarning` for a log line that names something deprecated."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Raises it where the line is logged."""
        if record.levelno >= logging.WARNING and "deprecated" in record.getMessage():
            raise DeprecationWarning(f"{record.name}: {record.getMessage()}")
        return True


def raise_on_log_lines() -> None:
    """Lets the loggers of libraries raise errors for deprecations."""
    for name in LOGGERS:
        logging.getLogger(name).addHandler(RaisesDeprecations())
