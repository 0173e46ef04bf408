"""When W&B is used, and when the record stays on this machine."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import wandb

from textclf.run import wandb_server
from textclf.run.wandb_server import refusal, why_offline


@pytest.fixture(autouse=True)
def key(tmp_path, monkeypatch):
    """A key, in a home without settings."""
    for name in ("WANDB_MODE", "WANDB_BASE_URL", "WANDB_CONFIG_DIR", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def serve():
    """Starts a server that answers every request with a status; gives its address."""
    servers = []

    def start(status):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()

            def log_message(self, *args):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, None),
        (401, None),
        (403, None),
        (404, None),
        (407, "HTTP 407"),
        (500, "HTTP 500"),
        (502, "HTTP 502"),
        (503, "HTTP 503"),
    ],
)
def test_statuses(status, reason, serve, monkeypatch):
    address = serve(status)
    monkeypatch.setenv("WANDB_BASE_URL", f"{address}/")
    assert why_offline() == (reason and f"W&B cannot be reached at {address} ({reason})")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://127.0.0.1:9", "(Connection refused)"),
        ("127.0.0.1:9", "(unknown url type: 127.0.0.1)"),
        ("http://", "(no host given)"),
    ],
)
def test_addresses_that_nobody_answers(address, reason, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", address)
    assert why_offline().endswith(reason)


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(wandb_server, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        assert why_offline() is not None
        assert time.monotonic() - started < 5


def test_the_proxy_of_the_environment_is_asked(serve, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://wandb.example.org")
    monkeypatch.setenv("http_proxy", serve(200))
    assert why_offline() is None
    monkeypatch.setenv("http_proxy", serve(504))
    assert why_offline() == "W&B cannot be reached at http://wandb.example.org (HTTP 504)"
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")  # which cannot be asked without a package
    assert why_offline() is None


@pytest.mark.parametrize("place", ["wandb/settings", ".config/wandb/settings", "elsewhere/settings"])
def test_the_address_of_the_settings_counts(place, serve, tmp_path, monkeypatch):
    if place.startswith("elsewhere"):
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "elsewhere"))
    address = serve(500)
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text(f"[default]\nbase_url = {address}\n")
    assert address in why_offline()
    (tmp_path / place).write_text("not settings")
    monkeypatch.setattr(wandb_server, "PUBLIC", serve(200))
    assert why_offline() is None


def test_without_a_key_nothing_is_asked(monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setattr(wandb_server, "_unreachable", lambda address: pytest.fail("it was asked"))
    assert why_offline() == "no W&B key was found"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            wandb.errors.AuthenticationError("API key\nis not valid"),
            "W&B refuses the run (API key is not valid): `wandb",
        ),
        (
            wandb.errors.CommError("timed out"),
            "W&B refuses the run (timed out): `wandb login --relogin`, or set WANDB_",
        ),
        (wandb.errors.UsageError("no project"), "W&B refuses the run (no project)"),
        (KeyError("a bug"), None),
    ],
)
def test_what_wandb_refuses_is_one_line(error, line):
    found = refusal(error)
    assert (found is None) == (line is None)
    if line is not None:
        assert str(found).startswith(line)
