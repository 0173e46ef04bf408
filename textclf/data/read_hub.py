"""Reading rows from the hub, or from the local cache of it, at a pinned revision."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from textclf.data.read_files import ANY_SUFFIX
from textclf.errors import UserError
from textclf.hub import loading
from textclf.types import Dataset

REMEDY = f"pass --data.data_dir with a folder of <split>{ANY_SUFFIX} files"
TIMEOUT = 10.0
"""Seconds that the hub has for its first answer."""


def read_hub(repository: str, config: str | None, revision: str, split: str) -> Dataset:
    """Reads one split of a data set on the hub, in any format that `datasets` knows, or of the local cache of it.

    The files of the revision are fetched, then read as those of a folder. (Given a repository's name where the hub
    cannot be reached, `load_dataset` takes whatever revision it read last, with no more than a warning.)

    Args:
        repository: Such as `user/movies`.
        config: A folder of the repository, else a configuration that its README names; None for all of it.
        revision: A commit, a tag or a branch; only a commit stays what it is.
        split: Such as `train`.

    Raises:
        UserError: Neither hub nor cache has the revision, or there is no such split in it, or it is a loading script.
    """
    from datasets import load_dataset_builder

    with loading("data set", repository, REMEDY):
        script = f"{repository.rpartition('/')[2]}.py"
        folder = _files(repository, revision, (f"{config}/*", script) if config else None)
        if config and not (folder / config).is_dir():
            folder = _files(repository, revision, None)
        if (folder / script).is_file():
            raise UserError(
                f"the data set {repository!r} is a loading script at revision {revision!r}, and those are not run: "
                f"name a revision that has files of rows, such as 'refs/convert/parquet', or {REMEDY}"
            )
        if config and (folder / config).is_dir():
            folder, config = folder / config, None
        builder = load_dataset_builder(str(folder), config)
        if builder.name == "csv":  # whose texts 'NA' and 'null' stay texts
            builder = load_dataset_builder(str(folder), config, keep_default_na=False, na_values=[""])
        builder.download_and_prepare()
        return builder.as_dataset(split=split)


@cache
def _files(repository: str, revision: str, patterns: tuple[str, ...] | None) -> Path:
    """The folder of a revision's files in the hub's cache, once those that are missing have been fetched.

    Raises:
        OSError: The hub does not give them, and the cache has not all of them.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(local: bool) -> Path:
        allowed = list(patterns) if patterns else None
        return Path(
            snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=allowed, local_files_only=local
            )
        )

    try:
        # Asked first, and once: where there is no hub, `snapshot_download` tries for half a minute, or for ever.
        HfApi().dataset_info(repository, revision=revision, timeout=TIMEOUT)
        return snapshot(local=False)
    except Exception as error:  # of one HTTP client or another
        try:
            return snapshot(local=True)
        except LocalEntryNotFoundError:
            raise OSError(f"{_reason(error)}; the cache has not all of revision {revision!r}") from error


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, RevisionNotFoundError):
        return "the hub has no such revision of it"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no data set of that name, or keeps it from you"
    return f"the hub gives none: {(str(error).strip() or type(error).__name__).splitlines()[0].rstrip('.')}"
