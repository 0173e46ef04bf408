"""Trials of one kind of command: a fault, the command once more, and the comparison with a run without a fault."""

from __future__ import annotations

from typing import Any

from kills.checks import first_difference, half_files, leftovers
from kills.disks import empty_folder, enlarge, used_bytes
from kills.faults import Plan, Progress, Undisturbed, small_disk
from kills.kinds import Kind
from kills.processes import Ended, Forked, Started
from kills.trials import Trial
from textclf.errors import UserError

LINES = ("textclf: ", "run_all: ")
"""Beginnings of the lines by which commands report a fault."""


class Bench:
    """Runs trials of one kind, one after another in the same folder.

    Args:
        kind: The command.
        name: Its name.
        progress: Shared with the processes.
    """

    def __init__(self, kind: Kind, name: str, progress: Progress) -> None:  # noqa: D107
        self.kind = kind
        self.name = name
        self.progress = progress
        folder = kind.folder
        self.processes = Forked(folder, progress, kind.first_step) if kind.is_forked else Started(folder, progress)
        self.undisturbed = Undisturbed()

    def measure(self) -> None:
        """Runs the command without a fault.

        Raises:
            UserError: It fails.
        """
        with empty_folder(self.kind.folder):
            ended, self.undisturbed = self.processes.measure(self.kind.words())
            if ended.code:
                raise UserError(f"{self.name} fails without a fault (exit code {ended.code}): {ended.output[-2000:]}")
            self.undisturbed.disk = used_bytes(self.kind.folder)
            self.expected = self.kind.result()
            self.kind.after_fault()
            self.kind.broken_promise()

    def trial(self, plan: Plan) -> Trial | None:
        """Meets one fault, runs the command again, and compares; None if the command ended before the fault."""
        size = small_disk(plan, self.undisturbed) if plan.fault == "full disk" else None
        with empty_folder(self.kind.folder, size):
            ended = self.processes.run(self.kind.words(), self.undisturbed, plan)
            if ended.code == 0:
                self.kind.after_fault()
                self.kind.broken_promise()
                return None
            trial = self._after_fault(plan, ended)
            if plan.fault == "full disk":
                enlarge(self.kind.folder)
            self._run_again(trial)
        return trial

    def _after_fault(self, plan: Plan, ended: Ended) -> Trial:
        kind = self.kind
        has_started = ended.has_started or kind.has_started()
        was_writing = ended.was_writing or plan.fault == "full disk"
        trial = Trial(self.name, plan.fault, ended.code, has_started, was_writing, ended.reached)
        trial.leftovers = len(leftovers(kind.folder))
        if halves := half_files(kind.folder):
            trial.problems["half"] = "; ".join(halves)
        kind.after_fault()
        if not halves and (early := kind.early_result()) is not None:
            self._compare(trial, early, "taken for complete")
        if ended.hung:
            trial.problems["unclear"] = f"hung: {ended.output[-1000:]}"
        elif ended.code > 0 and (ended.has_traceback or not ended.last_line.startswith(LINES)):
            trial.problems["unclear"] = ended.output[-3000:]
        return trial

    def _run_again(self, trial: Trial) -> None:
        kind = self.kind
        ended = self.processes.run(kind.again(), self.undisturbed)
        trial.leftovers_in_the_end = len(leftovers(kind.folder))
        trial.resumed = ended.code == 0
        if ended.code:
            trial.problems["failed"] = f"exit code {ended.code}: {ended.output[-2000:]}"
            return
        if halves := half_files(kind.folder):
            trial.problems["half"] = "in the end: " + "; ".join(halves)
        self._compare(trial, kind.result(), "in the end")
        if broken := kind.broken_promise():
            trial.problems["wrong"] = broken

    def _compare(self, trial: Trial, result: Any, when: str) -> None:
        difference = first_difference(self.expected, result, self.kind.tolerance)
        if difference is not None:
            trial.problems["wrong"] = f"{when}: {difference}"
