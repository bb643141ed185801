"""A stand-in for the Hugging Face Hub on this machine: the requests that huggingface_hub makes.

Listing, HEAD and GET with ranges, as the Hub answers them: large files by a redirect to another
host, whose checksum and size stand in the redirect. And, when told to, the ways in which it fails.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "a" * 40


@dataclass
class HubStandin:
    """One repository. `requests` are the method, path and range of everything that was asked."""

    repository: str
    folder: Path
    gated: bool = False
    status: int | None = None  # answer everything with this
    corrupt: bool = False
    ignore_ranges: bool = False
    cut_after_bytes: int | None = None  # close the connection of the next large file there
    stall_after_bytes: int | None = None  # send nothing more of a large file from there on
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens_given_away: list[str] = field(default_factory=list)  # to the host of large files
    endpoint: str = ""

    def file(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.is_file() else None

    def names(self) -> list[str]:
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return [path.relative_to(self.folder).as_posix() for path in files]

    def fetched(self, suffix: str = "") -> list[str]:
        """Return the files of which bytes were asked for."""
        prefix = f"/{self.repository}/resolve/"
        return [
            path.removeprefix(prefix).partition("/")[2]
            for method, path, _ in self.requests
            if method == "GET" and path.startswith(prefix) and path.endswith(suffix)
        ]

    def ranges(self, name: str) -> list[str | None]:
        """Return the ranges in which a large file was asked of the host that has it."""
        return [
            span
            for method, path, span in self.requests
            if method == "GET" and path == f"/large/{name}"
        ]


@contextmanager
def running(hub: HubStandin) -> Iterator[HubStandin]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: HubStandin) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def log_message(self, *arguments: Any) -> None:
            pass

        def answer(self, *, with_body: bool) -> None:
            path, _, query = self.path.partition("?")
            hub.requests.append((self.command, path, self.headers.get("Range")))
            if hub.status is not None:
                self.fail(hub.status)
            elif path.startswith("/api/models/"):
                self.list_files(path.removeprefix("/api/models/"), "blobs" in query)
            elif path.startswith(f"/{hub.repository}/resolve/"):
                revision, _, name = path.removeprefix(f"/{hub.repository}/resolve/").partition("/")
                self.send_file(revision, name, with_body)
            elif path.startswith("/large/"):
                if "Authorization" in self.headers:
                    hub.tokens_given_away.append(self.headers["Authorization"])
                name = path.removeprefix("/large/")
                self.send_content(name, hub.file(name) or b"", with_body)
            else:
                self.fail(401, "RepoNotFound")  # as the Hub does where nobody is logged in

        def list_files(self, path: str, with_sizes: bool) -> None:
            repository, _, revision = path.partition("/revision/")
            if repository != hub.repository:
                self.fail(401, "RepoNotFound")
            elif revision not in ("", "main", COMMIT):
                self.fail(404, "RevisionNotFound")
            else:
                siblings = [{"rfilename": name} for name in hub.names()]
                if with_sizes:
                    for entry in siblings:
                        entry["size"] = len(hub.file(entry["rfilename"]) or b"")  # type: ignore[assignment]  # a mixed table
                self.reply(json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}))

        def send_file(self, revision: str, name: str, with_body: bool) -> None:
            content = hub.file(name)
            if revision not in ("main", COMMIT):
                self.fail(404, "RevisionNotFound")
            elif hub.gated and "Authorization" not in self.headers:
                self.fail(401, "GatedRepo")
            elif content is None:
                self.fail(404, "EntryNotFound")
            elif name.endswith(".safetensors"):
                self.redirect(name, content)
            else:
                self.send_content(name, content, with_body)

        def redirect(self, name: str, content: bytes) -> None:
            self.send_response(302)
            port = hub.endpoint.rpartition(":")[2]
            self.send_header("Location", f"http://localhost:{port}/large/{name}?signature=1")
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", '"of the redirect itself"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send_content(self, name: str, content: bytes, with_body: bool) -> None:
            etag = hashlib.sha256(content).hexdigest()
            if hub.corrupt and name.endswith(".safetensors"):
                content = content[:-1] + bytes([content[-1] ^ 1])
            begin, end, status = 0, len(content), 200
            span = self.headers.get("Range")
            if span is not None and not hub.ignore_ranges:
                first, _, last = span.removeprefix("bytes=").partition("-")
                begin, status = int(first), 206
                end = min(end, int(last) + 1) if last else end
            self.send_response(status)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - begin))
            if status == 206:
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
            self.end_headers()
            if with_body:
                self.send_body(name, content[begin:end])

        def send_body(self, name: str, body: bytes) -> None:
            is_large = name.endswith(".safetensors")
            if is_large and hub.cut_after_bytes is not None:
                body, hub.cut_after_bytes = body[: hub.cut_after_bytes], None
                self.close_connection = True
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if is_large and hub.stall_after_bytes is not None:
                    self.close_connection = True
                    self.wfile.write(body[: hub.stall_after_bytes])
                    while hub.stall_after_bytes is not None:
                        time.sleep(0.02)
                else:
                    self.wfile.write(body)

        def fail(self, status: int, code: str = "") -> None:
            self.reply("{}", status, code)

        def reply(self, text: str, status: int = 200, code: str = "") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    return Handler
