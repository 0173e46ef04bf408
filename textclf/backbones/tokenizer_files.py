"""Tokenizers as text, so that a checkpoint can carry them."""

from __future__ import annotations

import base64
from pathlib import Path
from tempfile import TemporaryDirectory

from textclf.errors import UserError
from textclf.types import PreTrainedTokenizerBase


def tokenizer_files(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """The files that `save_pretrained` writes: names to contents, base64 where a file is not UTF-8 text."""
    files = {}
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for path in sorted(Path(folder).iterdir()):
            if path.is_file():
                files[path.name] = _read(path)
    return files


def tokenizer_from_files(files: dict[str, str]) -> PreTrainedTokenizerBase:
    """Loads the tokenizer whose files `tokenizer_files` returned; no code of it is run.

    Raises:
        UserError: The name of a file has a folder, so that it would be written elsewhere.
    """
    from transformers import AutoTokenizer

    with TemporaryDirectory() as folder:
        for name, content in files.items():
            if name != Path(name).name or name in ("", ".", "..") or "\\" in name:
                raise UserError(f"the tokenizer has a file {name!r}, which is not a plain name: use another checkpoint")
            if content.startswith("base64:"):
                Path(folder, name).write_bytes(base64.b64decode(content.removeprefix("base64:")))
            else:
                Path(folder, name).write_text(content, encoding="utf-8")
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return tokenizer


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(path.read_bytes()).decode()
