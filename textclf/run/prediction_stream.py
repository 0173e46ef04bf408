"""The stream of `predict`: rows are read, scored and written shard by shard, by one process or by several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from textclf.errors import UserError, check_least
from textclf.models.streaming import InOrder, StreamedBatches, predictions_of
from textclf.processes import gather, on_first_process
from textclf.run.prediction_inputs import Inputs
from textclf.run.prediction_outputs import (
    OUTPUTS,
    OutputColumns,
    Write,
    check_output,
    join_outputs,
    open_sink,
    say_flattened,
)
from textclf.run.prediction_shards import ShardFolder, ShardPlan

SHARD_ROWS = 100_000
FOREVER = timedelta(days=365)
"""How long a process waits for the others at the end: their last shards may take hours."""


class PredictionStream(Callback):
    """Writes the predictions of streamed texts as they come, in the order of the input.

    The rows are divided into shards of `shard_rows` consecutive rows. Batches never span two shards, so the answers do
    not depend on the number of processes. Each process scores every n-th shard, and writes it to a file of its own.

    Attributes:
        inputs: The rows; the first process sets it.
        facts: What the answers depend on, for `ShardFolder.claim`; the first process sets it.
    """

    def __init__(
        self,
        output: str | None,
        shard_rows: int = SHARD_ROWS,
        shard_format: str | None = None,
        resume: bool = False,
    ) -> None:
        """Stores where to write.

        Args:
            output: A `.jsonl`, `.csv`, `.tsv` or `.parquet` file; a folder for shards and their manifest; None is
                standard output.
            shard_rows: Rows in a shard.
            shard_format: `parquet`, `jsonl`, `csv` or `tsv`: the format of the shards in a folder, Parquet by default.
            resume: Whether to keep the shards of an interrupted run.

        Raises:
            UserError: A value is out of range, or the output cannot be written.
        """
        check_least("--shard_rows", shard_rows, 1)
        self.output = output
        self.shard_rows = shard_rows
        self.inputs: Inputs | None = None
        self.facts: Mapping[str, Any] = {}
        self._resume = resume
        self._folder = _folder_of(output, shard_rows, shard_format)
        self._claimed = False
        self._bar: Any = None
        self._open = ExitStack()
        if resume and self._folder is None:
            raise UserError("--resume: standard output cannot be resumed: pass --output")

    # Reading

    def batches(self, model: Any, batch_size: int, max_batch_tokens: int | None) -> ShardedBatches:
        """The batches of this process, for `Trainer.predict`.

        Args:
            model: The method.
            batch_size: Rows in a batch.
            max_batch_tokens: Tokens in a padded batch, instead of `batch_size`.
        """
        self._batches = StreamedBatches(model, (), batch_size=batch_size, max_batch_tokens=max_batch_tokens)
        self._loader = ShardedBatches(self, self._batches)
        return self._loader

    # Hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Opens the output on the first process, and sends the others what they need.

        Raises:
            UserError: There are several processes and one stream, or the output cannot be written.
        """
        processes = trainer.world_size
        if processes > 1 and self._folder is None:
            raise UserError(
                f"standard output is one stream of one process, and there are {processes}: pass --output FILE or FOLDER"
            )
        self._group = None
        if processes > 1:
            self._group = torch.distributed.new_group(backend="gloo", timeout=FOREVER)
        self.inputs = trainer.strategy.broadcast(self.inputs)
        folder = self._folder
        done: list[int] = []
        if folder is not None:
            done = on_first_process(lambda: folder.claim(self.facts, self._resume), trainer)
        self._claimed = folder is not None and trainer.is_global_zero
        self.plan = ShardPlan(self.shard_rows, done, trainer.global_rank, processes)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts without rows."""
        from tqdm.auto import tqdm

        model: Any = pl_module
        assert self.inputs is not None
        decides = model.textclf.calibrator(decides=True) is not None
        self._columns = OutputColumns(model.label_names, decides, self.inputs.kept)
        self._counts: Counter[str] = Counter()
        self._bar = tqdm(unit="text", disable=None if trainer.is_global_zero else True)
        self._shard: int | None = None
        if self._folder is None:
            self._begin(0)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Writes the rows that no earlier row is missing before.

        Raises:
            SIGTERMException: The process was asked to end.
        """
        shard = int(batch["row"][0]) // self.shard_rows
        if self._folder is not None and shard != self._shard:
            self._end()
            self._begin(shard)
        self._sink(self._ready(pl_module, outputs, batch))
        self._bar.update(len(batch["row"]))
        if self._folder is not None and self._missing == 0:
            self._end()
        if trainer.received_sigterm:  # Lightning itself asks for it in training and evaluation alone
            raise SIGTERMException

    def _begin(self, shard: int) -> None:
        output = None if self._folder is None else str(self._folder.shard(shard))
        self._shard = shard
        self._missing = self.shard_rows
        self._in_order = InOrder(shard * self.shard_rows)
        self._sink: Write = self._open.enter_context(open_sink(output, self._columns, self._counts))

    def _end(self) -> None:
        """Completes the shard that is open, if one is."""
        self._open.close()
        self._shard = None

    def _ready(self, model: Any, outputs: Any, batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        outputs = model.checked_outputs("predict_step", outputs, batch)
        self._counts["rows"] += len(outputs["prediction"])
        self._counts["invalid"] += int((outputs["prediction"] < 0).sum())
        carried = batch["carried"]
        kept = carried.kept or [{}] * len(batch["id"])
        answered = zip(batch["id"], carried.given, predictions_of(outputs, model), kept, strict=True)
        for id_, text, prediction, columns in self._in_order.add(outputs["row"].tolist(), answered):
            self._missing -= 1
            yield {"id": id_, "text": text, **prediction, **columns}

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Completes the output, once all processes have written their shards.

        Raises:
            UserError: A row could not be read; no row has an answer, as after a training that has diverged; or another
                process has failed.
        """
        if self._loader.error is not None:
            raise self._loader.error
        total = self._loader.total
        if self._folder is not None and total == 0 and self.plan.is_mine(0):
            self._begin(0)  # a shard without rows, which has the names of the columns
        self._end()
        self._bar.close()
        for counts, replaced, cut in self._gathered(trainer)[1:]:
            self._counts += counts
            self._batches.add_counts(replaced, cut)
        if not trainer.is_global_zero:
            return
        self._complete(pl_module, total)
        say_flattened(self._counts["flattened"])
        self._batches.report_replaced()
        self._batches.report_cut()

    def _gathered(self, trainer: Trainer) -> list[Any]:
        """The counts of all processes, on the first one; waits until all have written their shards."""
        try:
            return gather((self._counts, self._batches.replaced, self._batches.cut), trainer, self._group)
        except RuntimeError as error:
            raise UserError(
                "another process of this run has ended before: its own message says why; the same command with "
                "--resume goes on"
            ) from error

    def _complete(self, model: Any, total: int) -> None:
        folder = self._folder
        try:
            if not self.plan.done:
                model.check_answered(self._counts["rows"], self._counts["invalid"])
        except UserError:
            if folder is not None:
                folder.remove()  # it has no answer
                self._claimed = False
            raise
        if folder is None:
            return
        shards = folder.shards(total)
        if folder.joined:
            join_outputs(shards, folder.joined, self._columns)
            folder.remove()
        else:
            folder.complete(total)
        self._claimed = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Removes the shard that is not complete; whole shards are kept."""
        self._open.__exit__(type(exception), exception, exception.__traceback__)
        if self._bar is not None:
            self._bar.close()
        if self._claimed and self._folder is not None:
            self._folder.abandon(others_write=trainer.world_size > 1)


class _Carried:
    """What comes back with a batch for the output; in a list, Lightning would look for tensors, string by string."""

    def __init__(self, given: list[str], kept: list[dict[str, Any]] | None) -> None:
        self.given = given
        self.kept = kept


class ShardedBatches:
    """The batches of one process: those of its shards, one shard after another.

    Attributes:
        total: Number of rows of the whole input; 0 until all is read.
        error: What ended the reading too early; None where nothing did. The trainer reads ahead: raised at once, it
            would lose rows before it.
    """

    def __init__(self, stream: PredictionStream, batches: StreamedBatches) -> None:
        """Stores what is read when the trainer iterates over it.

        Args:
            stream: Its `inputs` and `plan` are set by then.
            batches: Forms the batches of a shard.
        """
        self.total = 0
        self.error: Exception | None = None
        self._stream = stream
        self._batches = batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yields batches as `StreamedBatches` does; `row` is the index of a row in the whole input.

        `given` and `kept` are in an object, `carried`.
        """
        try:
            yield from self._read()
        except Exception as error:
            self.error = error

    def _read(self) -> Iterator[dict[str, Any]]:
        assert self._stream.inputs is not None
        plan = self._stream.plan
        reader = self._stream.inputs.reader()
        for shard in count():
            first = shard * plan.rows
            if plan.is_mine(shard):
                for batch in self._batches.batches(reader.take(plan.rows), first):
                    batch["carried"] = _Carried(batch.pop("given"), batch.pop("kept", None))
                    yield batch
            else:
                reader.skip(plan.rows)
            if reader.position < first + plan.rows:
                break
        self.total = reader.position


def _folder_of(output: str | None, shard_rows: int, shard_format: str | None) -> ShardFolder | None:
    """The folder of the shards: the output itself, or a hidden one next to the output file; None for standard output.

    Raises:
        UserError: The output cannot be written, or the format does not belong to it.
    """
    path = Path(output or "")
    if output and (path.is_dir() or output.endswith("/") or not (path.suffix or path.name.startswith("."))):
        suffix = f".{shard_format or 'parquet'}"
        if suffix not in OUTPUTS:
            formats = ", ".join(each[1:] for each in OUTPUTS)
            raise UserError(f"--shard_format {shard_format!r} is none of {formats}")
        return ShardFolder(path, suffix, shard_rows)
    check_output(output)
    if shard_format is not None:
        raise UserError("--shard_format is for a folder of shards: pass --output FOLDER, or leave it out")
    if output is None:
        return None
    return ShardFolder(path.with_name(f".{path.name}.parts"), path.suffix, shard_rows, joined=path)
