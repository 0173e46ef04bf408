"""A chat server on loopback, in a process of its own, that counts what it is asked."""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECONDS = 0.02
"""How long an answer takes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    counts: Counter[str] = Counter()
    lock = threading.Lock()
    pause = threading.Event()
    answers: Sequence[str] = ()

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""

    def do_GET(self) -> None:
        """Tells how often each question was asked, or starts counting again."""
        with self.lock:
            counts = dict(self.counts)
            if self.path == "/reset":
                self.counts.clear()
        self._send(counts)

    def do_POST(self) -> None:
        """Answers a question: the answer depends on its text alone."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        with self.lock:
            self.counts[text] += 1
        self.pause.wait(SECONDS)
        answer = self.answers[zlib.crc32(text.encode()) % len(self.answers)]
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
        head = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
        self._send({**head, "choices": [choice], "usage": usage})

    def _send(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is expected."""


@contextmanager
def serving(answers: Sequence[str]) -> Iterator[str]:
    """Runs the server in a forked process.

    Args:
        answers: The possible answers.

    Yields:
        Its address.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    pid = os.fork()
    if pid == 0:
        _Handler.answers = answers
        server.serve_forever()
        os._exit(0)
    server.socket.close()
    try:
        yield url
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def asked(url: str, reset: bool = False) -> dict[str, int]:
    """How often each question was asked since the counts were reset."""
    with urllib.request.urlopen(f"{url}/{'reset' if reset else 'counts'}") as response:
        counts: dict[str, int] = json.load(response)
    return counts
