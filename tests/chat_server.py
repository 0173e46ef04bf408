"""A chat server on loopback whose answers, and troubles, are told by the texts that it is asked about."""

import json
import math
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(content, logprobs=None, finish_reason="stop", **message):
    """The body of an answer: 20 tokens asked, 5 written."""
    message = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": logprobs}
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def step(*tokens):
    """A written token and its alternatives, as (text or bytes, probability)."""
    entries = [
        {"token": t if isinstance(t, str) else "\ufffd", "bytes": list(t.encode() if isinstance(t, str) else t)}
        | {"logprob": math.log(p)}
        for t, p in tokens
    ]
    return {**entries[0], "top_logprobs": entries}


class ChatServer(ThreadingHTTPServer):
    """Answers `reply(request body)`, after what a word in the user's message asks for.

    Attributes:
        asked: User messages, each time they came.
        answered: User messages whose answer went out whole, status 200.
        bodies: All requests.
        most: Most requests that were under way at once.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, reply):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply = reply
        self.asked, self.answered, self.bodies, self.pauses = Counter(), Counter(), [], {}
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that hung up is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        with server.lock:
            server.asked[text] += 1
            server.bodies.append(body)
            time_before = server.asked[text]
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            self.answer(body, text, time_before)
        finally:
            with server.lock:
                server.now -= 1

    def answer(self, body, text, times):
        server = self.server
        key = self.headers["Authorization"].removeprefix("Bearer ")
        if "429" in text and times <= 2:
            server.pauses.setdefault(text, []).append(time.monotonic())
            return self.send(429, {"error": {"message": f"slow down, {key}"}}, {"Retry-After": "0.3"})
        if "500" in text and times <= 2:
            return self.send(500, {"error": {"message": "oh"}})
        if "hangs" in text and times <= 1:
            time.sleep(5)
            return None
        if "breaks" in text and times <= 2:
            return self.send(200, completion("1"), {"Content-Length": "99999"})
        if "garbage" in text and (times <= 1 or "always" in text):
            return self.send(200, "<html>not what you want</html>" if times % 2 else {"choices": []})
        if "forbidden" in text:
            return self.send(401, {"error": {"message": f"Incorrect API key provided: {key}"}})
        if "no credit" in text:
            return self.send(402, {"error": {"message": f"insufficient balance, {key}"}})
        if "tomorrow" in text:
            return self.send(429, {"error": {"message": "come again"}}, {"Retry-After": "3600"})
        if "slow" in text:
            time.sleep(0.5)
        if "too long" in text:
            return self.send(400, {"error": {"message": f"too many tokens, {key}"}})
        if "your key" in text:
            return self.reply_with(text, completion(f"it is {key}"))
        server.pauses.setdefault(text, []).append(time.monotonic())
        return self.reply_with(text, server.reply(body))

    def reply_with(self, text, value):
        self.send(200, value)
        with self.server.lock:
            self.server.answered[text] += 1

    def send(self, status, value, headers=None):
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(value, str) else "application/json"
        for name, content in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(data)
        if headers and "Content-Length" in headers:
            self.close_connection = True
