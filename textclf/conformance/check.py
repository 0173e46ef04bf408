"""`check_method`: runs a method on a few invented rows, and reports each violation of the contract."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from textclf.conformance import checkpoint_rules, encoding_rules, run_rules, score_rules
from textclf.conformance.subject import Make, NotCheckable, Run, Subject, isolated
from textclf.errors import UserError, printable
from textclf.models.base import TextClassifier
from textclf.models.checkpoint import accepted
from textclf.redaction import redacted

LABELS = (("negative", "positive"), ("negative", "neutral", "positive"))
PREPARING = ("prepare", "set_examples", "configure_model")
"""Methods in which a method may refuse its labels."""
T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One check of a method.

    Attributes:
        name: What was checked, such as `batches`.
        labels: The labels that it was checked with.
        status: `passed`, `failed`, or `skipped`.
        reason: One line: what the method returned and what it must return, or why the check was skipped; empty where
            it passed.
    """

    name: str
    labels: tuple[str, ...]
    status: Literal["passed", "failed", "skipped"]
    reason: str = ""


def check_method(
    method: type[TextClassifier] | TextClassifier | Callable[..., TextClassifier],
    /,
    *,
    labels: Sequence[str] | None = None,
    on_fail: Literal["raise", "report"] = "raise",
    new_process: bool = True,
    **arguments: Any,
) -> list[Check]:
    """Checks that a method keeps the contract of `TextClassifier`, on a few invented rows.

    The method is made with two and with three labels, prepared, trained for two steps where it trains, tested, saved,
    loaded, and loaded again in a new process. This takes seconds, on the CPU; it leaves no files, and needs no network
    but for weights that the method itself downloads.

    Args:
        method: A class; a function that takes `num_classes`, `label_names` and the arguments; or an object, whose class
            is checked with its hyper-parameters.
        labels: The labels to check it with, where it does not take any; by default two labels, then three.
        on_fail: Whether to `raise` an error for what fails, or only to `report` it.
        new_process: Whether a checkpoint is loaded in a new process as well, which takes most of the time.
        **arguments: Arguments of the constructor.

    Returns:
        All checks, in their order.

    Raises:
        UserError: A check failed, and `on_fail` is `raise`; the message has one line for each.
    """
    make = _maker(method, arguments)
    checks: list[Check] = []
    for place, names in enumerate(LABELS if labels is None else (tuple(labels),)):
        with isolated() as folder:
            subject = Subject(make, names, folder)
            checks += _Checks(subject, _class_of(method), first=place == 0, new_process=new_process).run()
    failed: dict[str, str] = {}
    for check in checks:
        if check.status == "failed":
            failed.setdefault(check.name, check.reason)
    if failed and on_fail == "raise":
        lines = dict.fromkeys(failed.values())
        raise ContractError([f"check_method: {len(lines)} of the checks failed", *lines])
    return checks


class ContractError(UserError):
    """Violations of the contract, one line each."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Takes the lines."""
        ValueError.__init__(self, "\n".join(printable(redacted(line)) for line in lines))


def _class_of(method: Any) -> type:
    """The class of a method before it is made; that of all methods for a function."""
    if isinstance(method, type):
        return method
    return type(method) if isinstance(method, TextClassifier) else TextClassifier


def _maker(method: Any, arguments: dict[str, Any]) -> Make:
    """A function that makes an object of the method for some labels.

    Raises:
        UserError: It is not a method, or an object was given together with arguments.
    """
    if isinstance(method, TextClassifier):
        if arguments:
            raise UserError(f"check_method: arguments {sorted(arguments)} are given with an object: give its class")
        arguments = accepted(type(method), method.hparams)  # not those of base classes that it does not take
        for name in ("num_classes", "label_names"):
            arguments.pop(name, None)
        method = type(method)
    if not callable(method) or (isinstance(method, type) and not issubclass(method, TextClassifier)):
        raise UserError(f"check_method takes a TextClassifier, not {method!r}")

    def make(label_names: Sequence[str]) -> TextClassifier:
        made = method(num_classes=len(label_names), label_names=tuple(label_names), **arguments)
        if not isinstance(made, TextClassifier):
            raise UserError(f"check_method: {method!r} made a {type(made).__name__}, not a TextClassifier")
        return made

    return make


class _Checks:
    """The checks of a method with one set of labels; checks that depend on one that failed are left out.

    A method may refuse the second set of labels, and the checks that take longest run with the first one only.
    """

    def __init__(self, subject: Subject, kind: type, first: bool, new_process: bool) -> None:
        self.subject = subject
        self.kind = kind
        self.first = first
        self.new_process = first and new_process
        self.found: list[Check] = []

    def run(self) -> list[Check]:
        """Runs them all."""
        subject = self.subject
        model = self._value("constructor", checkpoint_rules.constructed, subject)
        if model is None:
            return self.found
        self.kind = type(model)
        run = self._value("run", subject.run)
        if run is None:
            ready = self._value("prepare", lambda: subject.ready(subject.new()))
        else:
            ready = run.model
        if ready is not None and self._passes("scores", score_rules.scores, ready.eval()):
            self._check_batches(ready)
            if run is not None and self._passed("repetition"):
                self._check_run(run)
        self._drop_consequences()
        return self.found

    def _check_batches(self, model: TextClassifier) -> None:
        self._passes("encode", encoding_rules.encoding, model)
        if self._passes("collate", encoding_rules.collating, model):
            self._passes("workers", encoding_rules.workers, model)
        repeats = self._passes("repetition", score_rules.repetition, model)
        if repeats and self._passes("batches", score_rules.batches, model):
            if self.first:
                self._passes("batch sizes", score_rules.batch_sizes, model)
            if self.first and self._passed("run"):
                self._passes("text pairs", score_rules.pairs, self.subject)
            self._passes("label order", score_rules.label_order, self.subject, model)
        if self._passed("run"):  # else what was fitted may be no part of a key
            self._passes("encoding key", encoding_rules.encoding_key, model)

    def _check_run(self, run: Run) -> None:
        if self._passed("batches"):
            self._passes("predictions", run_rules.predictions, run)
        loads = self._passes("checkpoint", checkpoint_rules.checkpoint, run)
        if loads and self.new_process:
            self._passes("new process", checkpoint_rules.loaded_in_new_process, run)
        self._passes("seed", run_rules.same_seed, self.subject, run)

    def _passed(self, name: str) -> bool:
        return any(check.name == name and check.status == "passed" for check in self.found)

    def _passes(self, name: str, check: Callable[..., object], *arguments: Any) -> bool:
        """Runs a check with its arguments, and records its result; whether it passed."""
        self._value(name, check, *arguments)
        return self.found[-1].status == "passed"

    def _value(self, name: str, check: Callable[..., T], *arguments: Any) -> T | None:
        """Runs a check with its arguments, and records its result.

        Returns:
            What the check returns; None where it failed or was skipped.
        """
        labels = self.subject.label_names
        try:
            value = check(*arguments)
        except NotCheckable as reason:
            self.found.append(Check(name, labels, "skipped", str(reason)))
        except UserError as error:
            # A method may not take the second set of labels.
            refused = not self.first and (name == "constructor" or _is_refusal(error, self.kind))
            status: Literal["failed", "skipped"] = "skipped" if refused else "failed"
            self.found.append(Check(name, labels, status, str(error)))
        except Exception as error:  # a bug in the method can be of any kind
            self.found.append(Check(name, labels, "failed", _described(error, self.kind, name)))
        else:
            self.found.append(Check(name, labels, "passed"))
            return value
        return None

    def _drop_consequences(self) -> None:
        """Drops the failure of the run where another failed check names the same method."""
        failed = [check for check in self.found if check.status == "failed"]
        for check in failed:
            source = check.reason.split(" ", 1)[0]
            named_again = any(other is not check and other.reason.startswith(f"{source} ") for other in failed)
            if check.name in ("run", "prepare") and named_again:
                self.found.remove(check)


def _described(error: Exception, kind: type, name: str) -> str:
    """An exception in one line that names the method of a class that it came through, and the file and line.

    Args:
        error: The exception.
        kind: The class.
        name: What was done, for an exception that did not come through the class.
    """
    files = _files_of(kind)
    source = f"{kind.__name__}: {name}"
    where = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename in files:
            parts = frame.f_code.co_qualname.split(".<locals>.")
            source = next((part for part in parts if "." in part), parts[0])
            where = f" ({frame.f_code.co_filename}, line {line})"
    first = (str(error).splitlines() or [""])[0]
    return f"{source} raised {type(error).__name__}: {first}{where}"


def _is_refusal(error: UserError, kind: type) -> bool:
    """Whether a method has refused its labels or arguments itself, while it was prepared."""
    files = _files_of(kind)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename in files and frame.f_code.co_name in PREPARING:
            return True
    return False


def _files_of(kind: type) -> set[str]:
    """The files with the code of a class, and of its bases up to `TextClassifier`."""
    files = set()
    for base in kind.__mro__:
        if issubclass(base, TextClassifier) and base is not TextClassifier:
            functions = filter(inspect.isfunction, vars(base).values())
            files |= {inspect.unwrap(function).__code__.co_filename for function in functions}
    return files
