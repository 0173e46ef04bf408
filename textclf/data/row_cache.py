"""Encoded rows, kept on disk between runs."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

from textclf.console import say
from textclf.data.contract import Method, encoded
from textclf.errors import UserError
from textclf.hashing import rows_hash, text_hash
from textclf.hub import cache_folder
from textclf.types import Dataset


class CachedEncoding:
    """The encoded rows of a split: read from the cache, or encoded and written to it.

    The file is named by a hash of the rows and of `Method.encoding_key`, so it is read again only for the same rows and
    the same encoding.

    Args:
        model: The method that encodes.
        rows: The rows of the split.
        split: Its name, for the progress bar.
    """

    def __init__(self, model: Method, rows: Dataset, split: str) -> None:  # noqa: D107  # the class describes it
        self.model = model
        self.rows = rows
        self.split = split
        self.key = text_hash(f"{rows_hash(rows)} {model.encoding_key()}")[:32]
        self.file: Path = cache_folder() / f"{self.key}.arrow"

    def read(self) -> Dataset:
        """Gives the rows with the columns of `encode`; a damaged file is replaced.

        Raises:
            UserError: `encode` does not give what it should.
        """
        import pyarrow as pa

        if not self.file.exists():
            return self._encode()
        # A file that was cut off may be read without an error, with fewer rows.
        with suppress(OSError, pa.ArrowInvalid):
            cached = self._map()
            if len(cached) == len(self.rows):
                return cached
        say(f"{str(self.file)!r} is damaged: its rows are encoded again")
        self.file.unlink()
        return self._encode()

    def _encode(self) -> Dataset:
        import pyarrow as pa

        try:
            return self._map()
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UserError(
                f"{type(self.model).__name__}.encode gave columns that are not of one type in all rows "
                f"({str(error).splitlines()[0]}): wanted entries of one type in each column"
            ) from error

    def _map(self) -> Dataset:
        """Reads the file if it is there, else encodes; `datasets` writes it atomically."""
        return self.rows.map(
            partial(encoded, self.model),
            batched=True,
            batch_size=self.model.encoded_together,
            cache_file_name=str(self.file),
            new_fingerprint=self.key,
            desc=f"encoding {self.split}",
        )
