"""Secrets are planted wherever a user may have them, and looked for in every file and line of output."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.chat_server import ChatServer, completion
from textclf.cli import main

ROOT = Path(__file__).parents[2]
SECRETS = {
    "OPENAI_API_KEY": "sk-canary-openai-000",
    "HF_TOKEN": "hf_canary_hub_000000",
    "WANDB_API_KEY": "0123456789canary0123456789wandb012345678",
    "AWS_SECRET_ACCESS_KEY": "canary/aws/000000000",
    "DB_PASSWORD": "canary-password-0000",
}
TYPED = "sk-canary-typed"
PROXY_PASSWORD = "canary-proxy-0000000"
CRASHING = """
import os
from textclf.data import FilesDataModule
from textclf.errors import UserError

class Crashes(FilesDataModule):
    def load_split(self, split):
        raise RuntimeError("connecting with " + " and ".join(os.environ[name] for name in {names!r}))

class Refuses(FilesDataModule):
    def load_split(self, split):
        raise UserError("no access with " + " and ".join(os.environ[name] for name in {names!r}))
"""
TEXTS = ("good", "429 good", "too long", "your key", "500 bad", "slow")
TFIDF = ("--model", "TfidfClassifier", "--trainer.accelerator", "cpu", "--trainer.precision", "32-true")


@pytest.fixture
def folder(rows_folder, tmp_path, monkeypatch):
    """The current folder, with rows, a module whose classes repeat secrets, and secrets in the environment."""
    monkeypatch.chdir(tmp_path)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PROXY_PASSWORD}@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "rows").symlink_to(rows_folder)
    (tmp_path / "crashing.py").write_text(CRASHING.format(names=list(SECRETS)))
    (tmp_path / "texts").mkdir()
    lines = ["text,label", *(f"{text},{('positive', 'negative')[row % 2]}" for row, text in enumerate(TEXTS))]
    (tmp_path / "texts" / "test.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def exit_code(*words):
    try:
        main(words)
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.slow
def test_secrets_reach_no_file_and_no_line(folder, capfd):
    rows = ("--data", "FilesDataModule", "--data.data_dir", "rows")
    assert exit_code("fit", *rows, *TFIDF, "--run_dir", "fitted") == 0
    assert exit_code("fit", *rows, *TFIDF, "--model.C", "2", "--run_dir", "again") == 0

    server = ChatServer(lambda _: completion(f"positive {SECRETS['OPENAI_API_KEY']}"))  # it repeats the key
    chat = ["--data", "FilesDataModule", "--data.data_dir", "texts", "--model", "ChatClassifier", "--model.model", "m"]
    asked = [*chat, "--model.base_url", server.url, "--trainer.accelerator", "cpu"]
    assert exit_code("test", *asked, "--run_dir", "asked") == 0
    assert exit_code("test", *asked, "--run_dir", "forbidden", "--model.prompt", "forbidden {text}") == 2
    far = ["--model.base_url", "https://nowhere.invalid/v1", "--model.timeout", "2", "--model.max_retries", "0"]
    exit_code("test", *chat, *far, "--trainer.accelerator", "cpu", "--run_dir", "far")  # through the proxy
    for words in (["--model.api_key", TYPED], ["--model.system", SECRETS["HF_TOKEN"]], [f"--api_key={TYPED}"]):
        assert exit_code("test", *asked, *words, "--run_dir", "refused") == 2

    compare = [str(ROOT / "scripts" / "compare.py"), "fitted", "again", "--html", "page.html", "--json", "x.json"]
    output = run(compare, 0, folder)
    for name, code in (("Crashes", 1), ("Refuses", 2)):
        words = ["fit", "--data", f"crashing.{name}", "--data.data_dir", "rows", *TFIDF, "--run_dir", name]
        output += run(["-m", "textclf", *words], code, folder)

    output += "".join(capfd.readouterr())
    assert "connecting with *** and ***" in output
    assert "no access with *** and ***" in output
    assert [line for line in output.splitlines() if "canary" in line] == []
    assert files_with([*SECRETS.values(), PROXY_PASSWORD, TYPED], folder) == []
    assert files_with(["connecting with"], folder) == ["crashing.py"]  # it finds what is there


def run(words, code, folder):
    """Runs Python, which ends with an exit code; gives what it printed."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def files_with(words, folder):
    """The names of files, and of entries of archives, that hold one of some words."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        contents = {path.name: path.read_bytes()}
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents |= {f"{path.name}: {name}": archive.read(name) for name in archive.namelist()}
        found += [name for name, content in contents.items() if any(word.encode() in content for word in words)]
    return found
