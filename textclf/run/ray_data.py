"""`predict` over Ray Data: each worker of a cluster loads a checkpoint once, and writes shards of the output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textclf.errors import UserError
from textclf.models.base import TextClassifier
from textclf.models.streaming import score_rows
from textclf.run.prediction_inputs import Inputs, RowReader
from textclf.run.prediction_outputs import OutputColumns, open_sink
from textclf.run.prediction_shards import ShardFolder


@dataclass(frozen=True)
class RayJob:
    """What the workers need to know.

    Attributes:
        checkpoint: The checkpoint, on a file system that all workers share.
        inputs: The rows.
        folder: The folder of the shards, on such a file system.
        device: Device of the model, such as `cpu` or `cuda`.
        max_batch_tokens: Tokens in a padded batch.
    """

    checkpoint: Path
    inputs: Inputs
    folder: ShardFolder
    device: str
    max_batch_tokens: int


class ShardPredictor:
    """Predicts whole shards: a callable class for `ray.data.Dataset.map_batches`, with an object in each actor.

    A shard is renamed when it is complete. If an actor dies, Ray gives its shard to another one, which writes all of it
    again: each row is in the output once.
    """

    def __init__(self, job: RayJob) -> None:
        """Loads the checkpoint.

        Args:
            job: What the workers need to know.
        """
        self.job = job
        self.model = TextClassifier.load_from_checkpoint(job.checkpoint, map_location=job.device)
        decides = self.model.textclf.calibrator(decides=True) is not None
        self.columns = OutputColumns(self.model.label_names, decides, job.inputs.kept)
        self._reader = job.inputs.reader()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Writes shards.

        Args:
            batch: The column `id`: numbers of shards.

        Returns:
            The same column; `rows`, the number of rows of each; and `error`, the reason why it could not be written,
            empty where it was. (An exception would come back from Ray with a long traceback.)
        """
        shards = [int(number) for number in batch["id"]]
        written, errors = zip(*map(self._result, shards), strict=True)
        return {"id": shards, "rows": list(written), "error": list(errors)}

    def _result(self, shard: int) -> tuple[int, str]:
        try:
            return self._write(shard), ""
        except UserError as error:
            return 0, str(error)

    def _write(self, shard: int) -> int:
        job = self.job
        try:
            rows = list(self._reader_at(shard * job.folder.rows).take(job.folder.rows))
        except BaseException:
            self._reader = job.inputs.reader()  # after an error, a reader leaves out the rest of its file
            raise
        with open_sink(str(job.folder.shard(shard)), self.columns) as sink:
            sink(self._answered(rows))
        return len(rows)

    def _reader_at(self, position: int) -> RowReader:
        if self._reader.position > position:  # a shard of a worker that has died
            self._reader = self.job.inputs.reader()
        self._reader.skip(position - self._reader.position)
        return self._reader

    def _answered(self, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        answers = score_rows(self.model, rows, self.job.max_batch_tokens)
        for row, answer in zip(rows, answers, strict=True):
            yield {"id": row["id"], "text": row["text"], **answer, **row.get("kept", {})}
