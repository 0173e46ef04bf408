"""A folder of shards: the predictions of consecutive rows, each in a file of its own, with a manifest."""

from __future__ import annotations

import json
import re
import shutil
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from textclf.console import say
from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.hashing import file_hash, value_hash
from textclf.parsing import parse_json
from textclf.version import __version__

MANIFEST = "_manifest.json"
"""pandas, pyarrow and Spark read a folder without the files whose names begin with an underscore or a dot."""
LOCK = ".lock"
SHARD = re.compile(r"part-(\d{5,})(\.\w+)")


NOT_IN_ANSWERS = ("batch_size", "num_workers")
"""Options of the data on which no answer depends."""


def answer_facts(
    content: Sequence[Mapping[str, Any]] | None, checkpoint: Path | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    """What the answers of a `predict` depend on.

    The arguments of the model are hashed: they may have a password in them.

    Args:
        content: What identifies the input; see `Inputs`.
        checkpoint: The checkpoint, if there is one.
        config: The configuration of the command, plain values only.
    """
    data, model = config["data"], config["model"]
    options = {
        "--data": data["class_path"],
        "--model": model["class_path"],
        "the hash of all --model options": value_hash(model.get("init_args", {})),
        "--trainer.precision": config["trainer"]["precision"],
        "--keep": config["keep"],
        "--keep_all": config["keep_all"],
    }
    for name, value in data.get("init_args", {}).items():
        if name not in NOT_IN_ANSWERS:
            options[f"--data.{name}"] = value
    read = None if checkpoint is None else {"path": str(checkpoint), "hash": file_hash(checkpoint)}
    return {"textclf": __version__, "input": content, "checkpoint": read, "options": options}


@dataclass(frozen=True)
class ShardPlan:
    """Which shards a process writes: of those that are missing, every `processes`-th one, from its rank on.

    Attributes:
        rows: Consecutive rows of the input in a shard; the last shard may have fewer.
        done: The shards that an interrupted run has written, in ascending order.
        rank: Index of this process.
        processes: Number of processes.
    """

    rows: int
    done: Sequence[int] = ()
    rank: int = 0
    processes: int = 1

    def is_mine(self, shard: int) -> bool:
        """Whether this process writes a shard."""
        before = bisect_left(self.done, shard)
        if before < len(self.done) and self.done[before] == shard:
            return False
        return (shard - before) % self.processes == self.rank


class ShardFolder:
    """The folder of the shards of one run. A shard is renamed when it is complete, so those in it are whole.

    Attributes:
        path: The folder.
        suffix: The suffix of the shards, which is their format.
        rows: Rows in a shard.
        facts: What the answers depend on, in JSON: the run is resumed only if it is the same.
        joined: The file that the shards are joined to, and whose folder this is; None where they are the output.
    """

    def __init__(self, path: Path, suffix: str, rows: int, joined: Path | None = None) -> None:
        """Stores the place; see `claim`."""
        self.path = path
        self.suffix = suffix
        self.rows = rows
        self.joined = joined
        self.facts: dict[str, Any] = {}
        self._output = f"--output {str(joined or path)!r}"

    def shard(self, number: int) -> Path:
        """The path of a shard."""
        return self.path / f"part-{number:05d}{self.suffix}"

    # Before the first row

    def claim(self, facts: Mapping[str, Any], resume: bool) -> list[int]:
        """Takes the folder for this run; the first process alone calls it.

        Args:
            facts: See the class.
            resume: Whether to resume an interrupted run.

        Returns:
            The shards that are there already, in ascending order.

        Raises:
            UserError: Another run is writing to it, it has the shards of another run, or other files.
        """
        self.facts = json.loads(json.dumps({**facts, "format": self.suffix[1:], "shard_rows": self.rows}))
        self._made = not self.path.exists()
        self._acquire()
        try:
            return self._claim(resume)
        except BaseException:
            self._release()
            if not (self.path / MANIFEST).exists():  # it is no folder of shards
                (self.path / LOCK).unlink(missing_ok=True)
            raise

    def _acquire(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path / LOCK, timeout=0)
            self._lock.acquire()
        except Timeout as error:
            raise UserError(
                f"{self._output}: another predict is writing to it: wait until it ends, or name another output"
            ) from error
        except OSError as error:
            raise UserError(f"{self._output} cannot be written ({error.strerror}): name another place") from error

    def _claim(self, resume: bool) -> list[int]:
        manifest = self._manifest()
        if manifest is None:
            self._check_empty()
            done = []
        else:
            done = self._whole_shards()
        if done and not resume:
            raise UserError(self._refusal(bool((manifest or {}).get("complete"))))
        if resume and not done:
            say(f"{self._output}: there is nothing to resume, so it starts with the first row")
        if manifest is not None and done:
            try:
                self._check_same(manifest)
            except (AttributeError, KeyError, TypeError) as error:  # its entries are not what they were
                raise self._damaged(error) from error
            say(f"{self._output}: {_number_of(done)} kept")
        self._write_manifest({"complete": False})
        return done

    def _manifest(self) -> dict[str, Any] | None:
        path = self.path / MANIFEST
        try:
            manifest: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
            _check_manifest(manifest)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise self._damaged(error) from error
        return manifest

    def _damaged(self, error: Exception) -> UserError:
        return UserError(f"{str(self.path / MANIFEST)!r} is damaged ({error!r}): delete its folder, or name another")

    def _check_empty(self) -> None:
        """Refuses a folder with other files; what is left in a hidden folder of an earlier run is removed."""
        for path in self.path.iterdir():
            if self.joined:
                if path.name != LOCK:
                    path.unlink()
            elif not path.name.startswith("."):
                raise UserError(f"{self._output} is a folder with other files, such as {path.name!r}: name a new one")

    def _whole_shards(self) -> list[int]:
        numbers = []
        for path in self.path.iterdir():
            name = SHARD.fullmatch(path.name)
            if name is None or not path.is_file():
                continue
            if name[2] == self.suffix and not _is_readable(path):  # after a loss of power
                path.unlink()
            else:
                numbers.append(int(name[1]))
        return sorted(numbers)

    def _refusal(self, is_complete: bool) -> str:
        if self.joined:
            return (
                f"{self._output}: an interrupted run has left its shards in {str(self.path)!r}: resume it with "
                "--resume, or delete them"
            )
        if is_complete:
            return f"{self._output} has the predictions of an earlier run: name another folder, or delete it"
        return f"{self._output} has the shards of an interrupted run: resume it with --resume, or name another folder"

    def _check_same(self, manifest: Mapping[str, Any]) -> None:
        """Refuses to resume a run of another input, checkpoint or options; and shards that have changed since."""
        difference = _difference(manifest, self.facts)
        if difference:
            raise UserError(
                f"--resume: {self._output.removeprefix('--output ')} was begun with another {difference}: give that of "
                "the first command, or name another output"
            )
        for shard in manifest.get("shards", ()):
            path = self.path / shard["name"]
            if path.exists() and file_hash(path) != shard["hash"]:
                raise UserError(f"{str(path)!r} has changed since it was written: delete it, and resume again")

    def _write_manifest(self, more: Mapping[str, Any]) -> None:
        with atomic_path(self.path / MANIFEST) as path:
            path.write_text(json.dumps({**self.facts, **more}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    # After the last row

    def shards(self, total: int) -> list[Path]:
        """The paths of all shards; also of an empty input there is one.

        Args:
            total: Number of rows of the input.
        """
        number = max(1, -(-total // self.rows))  # rounded up
        return [self.shard(index) for index in range(number)]

    def complete(self, total: int) -> None:
        """Writes the whole manifest, with the rows and a hash of each shard, and ends the claim.

        Args:
            total: Number of rows of the input.
        """
        shards = []
        for index, path in enumerate(self.shards(total)):
            first = index * self.rows
            rows = min(self.rows, total - first)
            size = path.stat().st_size
            shards.append({"name": path.name, "first_row": first, "rows": rows, "bytes": size, "hash": file_hash(path)})
        self._write_manifest({"complete": True, "rows": total, "shards": shards})
        for leftover in self.path.glob(".part-*"):  # of processes that were killed
            leftover.unlink()
        self._release()
        (self.path / LOCK).unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the shards, and the folder if it was made for them; ends the claim."""
        (self.path / MANIFEST).unlink(missing_ok=True)  # first: what is left is then not taken for a run
        if self.joined:
            shutil.rmtree(self.path)
            self._release()
            return
        for path in self.path.iterdir():
            if path.name.startswith(".part-") or SHARD.fullmatch(path.name):
                path.unlink()
        self._release()
        (self.path / LOCK).unlink(missing_ok=True)
        if self._made:
            with suppress(OSError):  # there are other files in it by now
                self.path.rmdir()

    def abandon(self, others_write: bool) -> None:
        """Ends the claim of a run that has failed: whole shards are kept.

        Args:
            others_write: Whether other processes may still write shards.
        """
        whole = self._whole_shards()
        can_resume = self.facts["input"] is not None
        if not others_write and (not whole or (self.joined and not can_resume)):
            self.remove()
            return
        self._release()
        if whole and can_resume:
            say(f"{_number_of(whole)} kept in {str(self.path)!r}: the same command with --resume goes on")

    def _release(self) -> None:
        self._lock.release()


def _number_of(shards: Sequence[int]) -> str:
    return "1 whole shard is" if len(shards) == 1 else f"{len(shards):,} whole shards are"


def _check_manifest(manifest: Any) -> None:
    """Refuses entries of other types than `ShardFolder` writes, and shards outside of their folder.

    Raises:
        ValueError: There are some.
    """
    if not isinstance(manifest, dict):
        raise ValueError("it is no JSON object")
    inputs, shards = manifest.get("input") or [], manifest.get("shards", [])
    if not isinstance(inputs, list) or not all(isinstance(entry, dict) for entry in inputs):
        raise ValueError("its input is no list of files")
    for name in ("checkpoint", "options"):
        if not isinstance(manifest.get(name) or {}, dict):
            raise ValueError(f"its {name} is no object")
    if not isinstance(shards, list) or not all(map(_is_named_shard, shards)):
        raise ValueError("its shards are not files of this folder")


def _is_named_shard(entry: Any) -> bool:
    """Whether an entry of a manifest has the plain name of a shard, and its hash."""
    if not isinstance(entry, dict) or not isinstance(entry.get("hash"), str):
        return False
    return isinstance(entry.get("name"), str) and SHARD.fullmatch(entry["name"]) is not None


def _is_readable(shard: Path) -> bool:
    """Whether a `.parquet` file has its footer, and a text file rows and its last line end."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if shard.suffix != ".parquet":
        with shard.open("rb") as file:
            file.seek(max(0, shard.stat().st_size - 1))
            return file.read() == b"\n"
    try:
        pq.read_metadata(shard)
    except (pa.ArrowException, OSError):
        return False
    return True


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Names the first fact in which two runs differ; None where they are the same."""
    for name, value in now.items():
        old = before.get(name)
        if name == "input":
            if [entry.get("hash") for entry in old or ()] != [entry.get("hash") for entry in value or ()]:
                return "input"
        elif name == "checkpoint":
            if (old or {}).get("hash") != (value or {}).get("hash"):
                return "checkpoint"
        elif name == "options":
            for option in sorted({*(old or {}), *value}):
                if (old or {}).get(option) != value.get(option):
                    return f"{option} ({(old or {}).get(option)!r}, now {value.get(option)!r})"
        elif old != value:
            return f"{name} ({old!r}, now {value!r})"
    return None
