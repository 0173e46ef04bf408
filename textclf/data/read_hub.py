"""Rows from the hub, or from its local cache, at a pinned revision."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from textclf.data.read_files import ANY_SUFFIX
from textclf.errors import UserError
from textclf.hub import loading
from textclf.types import Dataset

REMEDY = f"pass --data.data_dir with a folder of <split>{ANY_SUFFIX} files"
TIMEOUT = 10.0
"""Seconds within which the hub must answer the first request."""


def read_hub(repository: str, config: str | None, revision: str, split: str) -> Dataset:
    """Reads one split of a data set on the hub or in its local cache, in any format that `datasets` reads.

    The files of the revision are downloaded, then read as those of a folder. (With the name of a repository and no
    connection, `load_dataset` would read the revision that was read last, with nothing but a warning.)

    Args:
        repository: Such as `user/movies`.
        config: A folder of the repository, else a configuration that its README names; None for all of it.
        revision: A commit, a tag or a branch; only a commit always means the same rows.
        split: Such as `train`.

    Raises:
        UserError: Neither hub nor cache has the revision, it has no such split, or it has only a loading script.
    """
    from datasets import load_dataset_builder

    with loading("data set", repository, REMEDY):
        script = f"{repository.rpartition('/')[2]}.py"
        folder = _files(repository, revision, (f"{config}/*", script) if config else None)
        if config and not (folder / config).is_dir():
            folder = _files(repository, revision, None)
        if (folder / script).is_file():
            raise UserError(
                f"the data set {repository!r} has only a loading script at revision {revision!r}, which textclf does "
                f"not run: name a revision that has files of rows, such as 'refs/convert/parquet', or {REMEDY}"
            )
        if config and (folder / config).is_dir():
            folder = folder / config
            config = None
        builder = load_dataset_builder(str(folder), config)
        if builder.name == "csv":  # pandas would read texts such as 'NA' and 'null' as missing
            builder = load_dataset_builder(str(folder), config, keep_default_na=False, na_values=[""])
        builder.download_and_prepare()
        return builder.as_dataset(split=split)


@cache
def _files(repository: str, revision: str, patterns: tuple[str, ...] | None) -> Path:
    """Downloads the files of a revision that are not in the hub's cache, and returns their folder.

    Args:
        repository: Such as `user/movies`.
        revision: A commit, a tag or a branch.
        patterns: Of the files that are needed; None for all.

    Raises:
        OSError: The hub returned no files, and the cache does not contain all of them.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(local: bool) -> Path:
        folder = snapshot_download(
            repository,
            repo_type="dataset",
            revision=revision,
            allow_patterns=list(patterns) if patterns else None,
            local_files_only=local,
        )
        return Path(folder)

    try:
        # A first, cheap request: without a hub, `snapshot_download` tries again for half a minute or longer.
        HfApi().dataset_info(repository, revision=revision, timeout=TIMEOUT)
        return snapshot(local=False)
    except Exception as error:  # its class depends on the HTTP client
        try:
            return snapshot(local=True)
        except LocalEntryNotFoundError:
            raise OSError(f"{_reason(error)}; the cache does not contain all files of revision {revision!r}") from error


def _reason(error: Exception) -> str:
    """Why the hub returned no files, for a message."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, RevisionNotFoundError):
        return "the hub has no such revision of it"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no data set of that name, or you have no access to it"
    message = str(error).strip() or type(error).__name__
    return f"the hub returned no files: {message.splitlines()[0].rstrip('.')}"
