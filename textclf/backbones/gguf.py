"""Conversion of GGUF files to folders that `from_pretrained` reads; the folders are cached."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from filelock import FileLock

from textclf.backbones.announced import check_depth, check_memory
from textclf.backbones.gguf_header import check_header
from textclf.console import say
from textclf.files import atomic_folder
from textclf.hashing import file_hash
from textclf.hub import cache_folder, loading

HUB_OPTIONS = ("revision", "token", "cache_dir")
"""Options of `from_pretrained` that `hf_hub_download` takes, too."""


def converted_folder(location: str, name: str, options: Mapping[str, Any], reference: str, remedy: str) -> str:
    """Converts a GGUF file, unless the same file was converted before.

    Args:
        location: The file's folder, or a repository of the hub.
        name: The file in it.
        options: Options of `from_pretrained`.
        reference: As the user wrote it.
        remedy: What to do if it cannot be read, for the message.

    Returns:
        The folder with weights and tokenizer, in the cache.

    Raises:
        UserError: It cannot be read, or no space is left.
    """
    import transformers

    with loading("model", reference, remedy):
        file = _local_file(location, name, options)
        check_header(file)
        status = file.stat()
        content = _hash_of(file, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        key = f"{content}-{transformers.__version__}"
    folder = cache_folder() / "gguf" / key
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):  # only one of several processes converts
        if not folder.is_dir():
            size = status.st_size / 2**20
            start = monotonic()
            say(f"converting {reference!r} ({size:,.0f} MiB), once: about a minute for 100 MiB")
            with atomic_folder(folder) as temporary, loading("model", reference, remedy):
                convert(file, temporary)
            say(
                f"converted in {monotonic() - start:.0f} s; later commands take it from the cache, "
                f"or from a copy of it by --model.pretrained: {folder}"
            )
    return str(folder)


@lru_cache(maxsize=16)
def _hash_of(file: Path, status: tuple[int, ...]) -> str:
    """The hash of a file, computed once per process while its status is unchanged.

    Args:
        file: The file.
        status: Its inode, size, and times of modification and of change. (Programs can reset the time of modification,
            but not the time of change.)
    """
    return file_hash(file)


def convert(file: Path, out: Path) -> None:
    """Writes the weights (fp32) and the tokenizer of a GGUF file as files that `from_pretrained` reads.

    Args:
        file: The GGUF file.
        out: The folder to write to.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    source["trust_remote_code"] = False  # the folder may have other files
    announced = AutoConfig.from_pretrained(**source)
    check_depth(announced, file.name)
    with torch.device("meta"):
        check_memory(AutoModelForCausalLM.from_config(announced, trust_remote_code=False), file.name)  # type: ignore[no-untyped-call]
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # it describes the file; the weights are no longer quantized
    # transformers refuses to save a model that was loaded from a GGUF file, so its weights go into a new one.
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    model.load_state_dict(read.state_dict())
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(**source).save_pretrained(out)


def _local_file(location: str, name: str, options: Mapping[str, Any]) -> Path:
    """The file on disk, downloaded from the hub if it is not in a folder."""
    if Path(location).is_dir():
        return Path(location, options.get("subfolder") or "", name)
    from huggingface_hub import hf_hub_download

    hub_options = {option: options[option] for option in HUB_OPTIONS if option in options}
    return Path(hf_hub_download(location, name, subfolder=options.get("subfolder"), **hub_options))
