"""A hub of data sets on loopback: what `huggingface_hub` and `datasets` ask of the real one, and no more.

By hand, for files that lie on disk (`--port 8000` unless told otherwise); the revision may be a branch or a commit:

    python tests/hub_server.py e9t/nsmc@refs/convert/parquet=DIR
    HF_ENDPOINT=http://127.0.0.1:8000 HF_HOME=$(mktemp -d) python -m textclf fit --config configs/nsmc.yaml ...
"""

import argparse
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import parse_qs, unquote, urlsplit

API = re.compile(r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.+))?)?")
FILE = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def commit_of(revision, files):
    """The revision itself where it is a commit, else one that changes with the files."""
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    return hashlib.sha1(b"".join(path.encode() + content for path, content in sorted(files.items()))).hexdigest()


def blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entries(files, folder, recursive):
    """A folder's files, and its folders, as the hub lists them."""
    prefix = folder + "/" if folder else ""
    listed = {}
    for path, content in files.items():
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            name = prefix + "/".join(parts[:depth])
            listed[name] = {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
        if recursive or len(parts) == 1:
            listed[path] = {"type": "file", "path": path, "oid": blob(content), "size": len(content)}
    return list(listed.values())


class HubServer:
    """Serves `{repository: {revision: {path: bytes}}}` while it is a context; keeps what was asked.

    Attributes:
        url: For `HF_ENDPOINT`; the same one when it is entered again.
        requests: `GET /api/datasets/...` and so on, in order, unquoted.
    """

    def __init__(self, repositories, port=0):
        self.repositories = repositories
        self.port = port
        self.requests = []

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), type("Handler", (Handler,), {"hub": self}))
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    @contextmanager
    def away(self):
        """Nothing listens at its address meanwhile."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def find(self, repository, revision):
        """The commit and its files, by branch or by commit.

        Raises:
            LookupError: With the hub's code of the error.
        """
        if repository not in self.repositories:
            raise LookupError("RepoNotFound")
        for name, files in self.repositories[repository].items():
            commit = commit_of(name, files)
            if revision in (name, commit):
                return commit, files
        raise LookupError("RevisionNotFound")


class Handler(BaseHTTPRequestHandler):
    hub: HubServer

    def answer(self):
        """Sends what was asked for; the body, too, unless it is a HEAD."""
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append(f"{self.command} {unquote(url.path)}")
        headers = {}
        try:
            if match := API.fullmatch(url.path):
                repository, what, revision, folder = match.groups()
                commit, files = self.hub.find(repository, unquote(revision or "main"))
                content = json.dumps(
                    entries(files, unquote(folder or ""), "recursive=true" in url.query.lower())
                    if what == "tree"
                    else self.known(files, parse_qs(body.decode())["paths"])
                    if what == "paths-info"
                    else {"id": repository, "sha": commit, "siblings": [{"rfilename": path} for path in files]}
                ).encode()
            elif match := FILE.fullmatch(url.path):
                repository, revision, path = map(unquote, match.groups())
                commit, files = self.hub.find(repository, revision)
                headers["X-Repo-Commit"] = commit
                if path not in files:
                    raise LookupError("EntryNotFound")
                content = files[path]
                headers["ETag"] = f'"{blob(content)}"'
            else:
                raise LookupError("NotServed")
            status = 200
        except LookupError as error:
            status, content = 404, b""
            headers |= {"X-Error-Code": str(error), "X-Error-Message": str(error)}
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = answer

    def known(self, files, paths):
        return [entry for entry in entries(files, "", recursive=True) if entry["path"] in paths]

    def log_message(self, *args):
        pass


def main():
    parser = argparse.ArgumentParser(description="Serves folders as data sets of a hub on loopback.")
    parser.add_argument("source", nargs="+", metavar="REPOSITORY@REVISION=DIR")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    repositories = {}
    for source in arguments.source:
        repository, revision, folder = re.fullmatch("([^@=]+)@([^=]+)=(.+)", source).groups()
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
        repositories.setdefault(repository, {})[revision] = files
    with HubServer(repositories, arguments.port) as hub:
        print(f"HF_ENDPOINT={hub.url}", flush=True)
        Event().wait()


if __name__ == "__main__":
    main()
