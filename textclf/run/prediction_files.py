"""The files that `predict --input` names: one file, a folder of files, or a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from textclf.console import say
from textclf.data.read_files import SUFFIXES, check_suffix, is_visible_file, natural_order
from textclf.data.readers.compression import uncompressed_suffix
from textclf.errors import UserError

INPUTS = (".txt", *SUFFIXES)
"""Suffixes of files of texts; text files may be compressed, as in `texts.txt.gz`."""


def input_files(source: str) -> list[Path]:
    """Finds the files of an input, in natural order of their names: `part-2` before `part-10`.

    Args:
        source: A file; a folder, of which all visible files with a suffix of `INPUTS` are read; or a pattern such as
            `data/*.parquet`, in which `**` stands for any number of folders.

    Raises:
        UserError: There is no such file, or its suffix is none of `INPUTS`.
    """
    if not source:  # an empty variable in a shell; as a path, it would be the current folder
        raise UserError("--input '' is empty: give a file, a folder, a pattern, or - for standard input")
    path = Path(source)
    if path.is_dir():
        return _in_folder(path, source)
    if path.exists() or not glob.has_magic(source):
        check_suffix(path, INPUTS, "--input ")
        if not path.is_file():
            raise UserError(f"--input {source!r} does not exist: give a file that does, or - for standard input")
        return [path]
    return _by_pattern(source)


def check_output_apart(output: str | Path | None, files: Iterable[str | Path]) -> None:
    """Refuses an output that would replace a file of the input, or a folder of shards with one in it.

    A pattern or folder of the input may also find what an earlier command has written.

    Args:
        output: `--output`; None is standard output.
        files: The files of the input.

    Raises:
        UserError: It is such an output.
    """
    if output is None:
        return
    target = Path(output).resolve()
    for file in files:
        path = Path(file).resolve()
        if target == path:
            raise UserError(f"--output {str(output)!r} is a file of the input: name another file, outside of it")
        if target in path.parents:
            raise UserError(
                f"--output {str(output)!r}: the input has {str(file)!r}, which is in that folder: name another folder, "
                "outside of the input"
            )


def _in_folder(folder: Path, source: str) -> list[Path]:
    files = [path for path in folder.iterdir() if is_visible_file(path) and _is_known(path)]
    inner = [path for path in folder.glob("*/*") if is_visible_file(path) and _is_known(path)]
    pattern = os.path.join(glob.escape(source), "**", f"*{inner[0].suffix}") if inner else ""
    if not files:
        remedy = f"give a pattern such as {pattern!r}" if inner else f"give files with {', '.join(INPUTS)}"
        raise UserError(f"--input {source!r} is a folder without a file of texts: {remedy}")
    if inner:
        say(f"--input {source!r}: {len(inner):,} files in folders inside it are not read; {pattern!r} would read them")
    return _in_order(files, source)


def _by_pattern(source: str) -> list[Path]:
    files = [Path(path) for path in glob.glob(source, recursive=True) if Path(path).is_file()]
    if not files:
        raise UserError(f"--input {source!r} matches no file: give a file, a folder, or a pattern that does")
    for path in files:
        check_suffix(path, INPUTS, "--input ")
    return _in_order(files, source)


def _in_order(files: Sequence[Path], source: str) -> list[Path]:
    ordered = sorted(files, key=lambda path: ([natural_order(part) for part in path.parts], path.parts))
    if len(ordered) > 1:
        say(f"--input {source!r}: {len(ordered):,} files, from {str(ordered[0])!r} to {str(ordered[-1])!r}")
    return ordered


def _is_known(path: Path) -> bool:
    return uncompressed_suffix(path) in INPUTS
