"""A chat server on loopback that misbehaves, as a process of its own; it imports the standard library alone.

python scripts/soaks/server.py PORT LOG SEED REQUESTS

It ends itself after that many requests; `Server` starts it again.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ANSWER = "answer"
RESTART = "restart"
BEHAVIOURS = {
    ANSWER: 70.0,
    "429 with Retry-After": 6.0,
    "429": 5.0,
    "500": 4.0,
    "503": 4.0,
    "hang": 0.5,
    "broken JSON": 4.0,
    "truncated body": 4.0,
    "connection reset": 2.5,
}
"""What the server does with a request, and how often, in per cent."""
HANG_SECONDS = 15.0
"""Longer than the client waits."""
PAUSE = 0.5
"""Seconds between the end of the server's process and its next start."""
RESET = struct.pack("ii", 1, 0)
"""The value of `SO_LINGER` with which closing a connection resets it."""


class MisbehavingServer(ThreadingHTTPServer):
    """Answers a question with 1 if it has the word `good`, otherwise with 0, or misbehaves.

    Each line of the log is a behaviour and the question, with a tab between them. An answer is logged once it was sent
    whole: it counts as paid.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, log: Path, seed: int, requests: int) -> None:
        """Binds the port.

        Args:
            port: On loopback.
            log: The file that lines are appended to.
            seed: Of the behaviours.
            requests: Number of requests after which the process ends.
        """
        super().__init__(("127.0.0.1", port), Handler)
        self.log = log.open("a", encoding="utf-8")
        self.draw = random.Random(seed)
        self.left = requests
        self.lock = threading.Lock()

    def behaviour(self, question: str) -> str:
        """Draws what is done with a request; ends the process where its last request has come."""
        with self.lock:
            self.left -= 1
            if self.left < 0:
                self.note(RESTART, question)
                os._exit(0)  # no answer is being sent: that needs the lock
            drawn = self.draw.choices(list(BEHAVIOURS), list(BEHAVIOURS.values()))[0]
            if drawn != ANSWER:
                self.note(drawn, question)
        return drawn

    def note(self, behaviour: str, question: str) -> None:
        """Appends a line to the log; the caller holds the lock."""
        self.log.write(f"{behaviour}\t{question}\n")
        self.log.flush()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Is silent about a client that has closed its connection."""


class Handler(BaseHTTPRequestHandler):
    """Handles one request after another of a connection."""

    protocol_version = "HTTP/1.1"
    server: MisbehavingServer

    def log_message(self, format: str, *arguments: Any) -> None:
        """Is silent."""

    def do_POST(self) -> None:
        """Answers a question, or misbehaves."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        behaviour = self.server.behaviour(question)
        if behaviour == ANSWER:
            with self.server.lock:
                self.send(200, completion("1" if "good" in question else "0"))
                self.server.note(ANSWER, question)
        elif behaviour == "hang":
            time.sleep(HANG_SECONDS)
            self.close_connection = True
        elif behaviour == "broken JSON":
            self.send(200, completion("1")[:-9])
        elif behaviour == "truncated body":
            self.send(200, completion("1"), {"Content-Length": "99999"})
            self.close_connection = True
        elif behaviour == "connection reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.connection.close()
            self.close_connection = True
        else:
            status, _, name = behaviour.partition(" with ")
            self.send(int(status), json.dumps({"error": {"message": "later"}}), {name: "0.3"} if name else {})

    def send(self, status: int, content: str, headers: dict[str, str] | None = None) -> None:
        """Sends a response."""
        data = content.encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


def completion(content: str) -> str:
    """The body of an answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]} | {"usage": usage}
    )


class Server:
    """The server's process, which is started again whenever it has ended.

    Attributes:
        url: Its address.
        starts: How often the process was started.
    """

    def __init__(self, log: Path, requests: int) -> None:
        """Chooses a port.

        Args:
            log: The server's log.
            requests: Number of requests after which the process ends.
        """
        self.log = log
        self.requests = requests
        self.starts = 0
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Server:
        """Starts the process."""
        self._start()
        self._keeper.start()
        return self

    def __exit__(self, *error: Any) -> None:
        """Ends the process."""
        self._ended.set()
        self._process.kill()
        self._keeper.join()

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """How often the server did what, and how often each question was answered."""
        behaviours: Counter[str] = Counter()
        paid: Counter[str] = Counter()
        for line in self.log.read_text(encoding="utf-8").splitlines():
            behaviour, _, question = line.partition("\t")
            behaviours[behaviour] += 1
            if behaviour == ANSWER:
                paid[question] += 1
        return behaviours, paid

    def _start(self) -> None:
        words = [self._port, self.log, self.starts, self.requests]
        self._process = subprocess.Popen([sys.executable, __file__, *map(str, words)])
        self.starts += 1

    def _keep(self) -> None:
        while True:
            self._process.wait()
            if self._ended.wait(PAUSE):
                return
            self._start()


def free_port() -> int:
    """A port below those that the system gives to clients: a client could not get it while the server is down."""
    for port in random.Random().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


if __name__ == "__main__":
    port, log, seed, requests = sys.argv[1:]
    MisbehavingServer(int(port), Path(log), int(seed), int(requests)).serve_forever()
