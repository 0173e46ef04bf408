"""Errors caused by the user or by the machine (disk, memory, open files, folders), each reported as one line."""

from __future__ import annotations

import errno
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from textclf.redaction import redacted

DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Bidirectional classes of the characters that change the order in which a terminal shows others."""


class UserError(ValueError):
    """Error caused by user input; the command line prints its message as one line, without a traceback.

    The message names the wrong value, the values that are allowed, and what to do. It may quote a file: line breaks and
    control characters, which could change what a terminal shows, are escaped. Secrets are left out.
    """

    def __init__(self, message: str = "") -> None:
        """Takes the message."""
        super().__init__(printable(redacted(message)))


def printable(text: str) -> str:
    """A text as one line that a terminal shows as it is.

    Control characters, line breaks and changes of the writing direction are escaped.
    """
    if text.isprintable():  # nearly always
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    is_control = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    is_control |= unicodedata.bidirectional(character) in DIRECTIONS
    return character.encode("unicode_escape").decode() if is_control else character


def check_range(argument: str, value: object, valid: bool, allowed: str) -> None:
    """Refuses a value that is out of range.

    Args:
        argument: The argument's name.
        value: Its value.
        valid: Whether the value is in range.
        allowed: The range in words, such as `1 or more`.

    Raises:
        UserError: It is not.
    """
    if not valid:
        raise UserError(f"{argument} {value!r} is out of range: give {allowed}")


def check_least(argument: str, value: float | None, least: int, hint: str = "") -> None:
    """Refuses a number that is too small; None passes.

    Args:
        argument: The argument's name.
        value: Its value.
        least: The smallest value that is allowed.
        hint: More about the allowed values, appended to the message.

    Raises:
        UserError: It is smaller.
    """
    if value is not None and not value >= least:  # NaN is not in range either
        raise UserError(f"{argument} {value!r} is too small: give {least} or more{hint}")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, the cause of that, and so on, as a traceback shows them."""
    while error is not None:
        yield error
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:  # it is set by `raise ... from None`
            cause = error.__context__
        error = cause


class Fault(NamedTuple):
    """A fault of the machine.

    Attributes:
        name: What it is called in messages.
        numbers: Values of `OSError.errno` that report it.
        words: Regular expressions of the messages by which libraries in other languages report it.
        remedy: What to do, as an imperative.
    """

    name: str
    numbers: tuple[int, ...]
    words: tuple[str, ...]
    remedy: str


SPACE = Fault(
    "no space left on the device",
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    ("No space left on device",),
    "free some space, then run the command again (fit resumes from its newest checkpoint with --ckpt_path last)",
)
FAULTS = (
    SPACE,
    Fault(
        "too many open files",
        (errno.EMFILE, errno.ENFILE),
        ("Too many open files", "items of ancdata"),
        "raise the limit (`ulimit -n 65536`), or pass --data.num_workers 0",
    ),
    Fault(
        "too little shared memory",
        (),
        ("out of shared memory", "unable to open shared memory", "unable to allocate shared memory"),
        "enlarge /dev/shm (docker: --shm-size 8g), or pass --data.num_workers 0",
    ),
    Fault(
        "out of memory",
        (errno.ENOMEM,),
        (
            "out of memory",
            "can't allocate memory",
            "Cannot allocate memory",
            "std::bad_alloc",
            "can't start new thread",
            "Failed to launch worker thread",
            "failed to map segment from shared object",
            "could not create a primitive(?! descriptor)",  # by oneDNN; one without a descriptor is not supported
        ),
        "give a smaller --data.batch_size, --data.eval_batch_size or --data.max_batch_tokens, or a smaller model",
    ),
    Fault(
        "the file system cannot lock files",
        (errno.ENOLCK,),
        ("does not appear to support flock",),
        "set HF_HOME and HF_DATASETS_CACHE to folders on a local disk",
    ),
    Fault(
        "the disk or its network connection fails",
        (errno.EIO, errno.ESTALE),
        ("Input/output error", "Stale file handle"),
        "check the file system, then run the command again",
    ),
    Fault(
        "there is no temporary folder",
        (),
        ("No usable temporary directory",),
        "set TMPDIR to a folder that can be written",
    ),
)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Values of `OSError.errno` if a file may not be read or written."""


def user_error(error: BaseException | None) -> UserError | None:
    """The first cause of an error that the user can correct, or a fault of the machine; None if there is none."""
    for cause in causes(error):
        if isinstance(cause, UserError):
            return cause
    return machine_error(error)


def machine_error(error: BaseException | None) -> UserError | None:
    """A fault of the machine among the causes of an error, as one line with its remedy; None if there is none."""
    for fault in FAULTS:
        if (cause := find_fault(error, fault)) is not None:
            return UserError(f"{fault.name} ({_first_line(cause)}): {fault.remedy}")
    for cause in causes(error):
        for variable, folder in _caches():
            if str(folder) not in str(cause):
                continue
            reason = _why_not_writable(folder)
            if reason is not None:
                return UserError(f"{str(folder)!r} cannot be written ({reason}): set {variable} to another folder")
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in DENIED and cause.filename is not None:
            return UserError(f"{str(cause.filename)!r}: {cause.strerror}: change its permissions, or name another")
    return None


def find_fault(error: BaseException | None, fault: Fault) -> BaseException | None:
    """The first of an error and its causes that reports a fault; None if none does."""
    for cause in causes(error):
        if fault.name == "out of memory" and isinstance(cause, MemoryError):
            return cause
        if getattr(cause, "errno", None) in fault.numbers:
            return cause
        message = str(cause)
        if any(re.search(words, message) for words in fault.words):
            return cause
    return None


def check_home() -> None:
    """Refuses to run without a home folder, as for an unknown user in a container.

    (Libraries would create a folder called `~` in the current one.)

    Raises:
        UserError: The user has no home folder.
    """
    try:
        Path.home()
    except RuntimeError as error:
        raise UserError("this user has no home folder: set HOME to a folder that can be written") from error


def _first_line(error: BaseException) -> str:
    message = str(error).strip() or type(error).__name__
    return message.splitlines()[0]


def _caches() -> Iterator[tuple[str, Path]]:
    """The folders that libraries write to, each after the environment variable that sets it."""
    from datasets import config
    from huggingface_hub import constants

    yield "HF_DATASETS_CACHE", Path(config.HF_DATASETS_CACHE)
    yield "HF_HUB_CACHE", Path(constants.HF_HUB_CACHE)
    yield "HF_HOME", Path(constants.HF_HOME)


def _why_not_writable(folder: Path) -> str | None:
    """Tries to write into a folder; gives the reason if that fails, and None if it does not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)
