"""A host that asks the agent anything: it answers, refuses, or ends; and keeps to its folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from edgegen_runner.agent.main import Agent
from edgegen_runner.agent.paths import Folders
from edgegen_runner.agent.wire import HostGone, Wire
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.harness import case, fuzzing
from tests.fuzz.played import spoiled_line

DATA = b"data"
SHA = hashlib.sha256(DATA).hexdigest()
FILES = [["a/b", SHA], ["c", SHA]]
OWNER = {"user": "pi", "host": "h", "since": "now", "for": "test"}
REQUESTS: list[dict[str, Any]] = [
    {"request": "lock", "owner": OWNER},
    {"request": "missing", "blobs": [[SHA, 4]]},
    {"request": "put", "sha256": SHA, "size": 4, "offset": 0},
    {"request": "link", "name": "cats", "version": "ab12", "files": FILES},
    {"request": "verify", "name": "cats", "version": "ab12", "files": FILES},
    {"request": "switch", "name": "cats", "version": "ab12", "at": "now", "by": "me"},
    {"request": "rollback", "name": "cats", "at": "now", "by": "me"},
    {"request": "status"},
    {"request": "prune", "keep": 1, "name": None, "runner": "x", "dry_run": False},
    {"request": "drop", "sha256": SHA},
    {"request": "make_run", "name": "run-1"},
    {"request": "list_run", "name": "run-1"},
    {"request": "remove_run", "name": "run-1"},
    {"request": "make_tool", "sha256": SHA, "name": "tool"},
    {"request": "get", "path": "/etc/passwd"},
    {"request": "page_cache", "files": ["/nonexistent"], "evict": False},
    {"request": "use_runtime", "name": "x"},
    {"request": "state"},
]


def serve(root: Path, sent: bytes) -> list[bytes]:
    """Let an agent hear these bytes and then the end; return the lines that it answers."""
    source, host = os.pipe()
    answers, sink = os.pipe()
    said = bytearray()

    def read() -> None:
        while piece := os.read(answers, 1 << 16):
            said.extend(piece)

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(host, "wb") as file:
            file.write(sent)

    threads = [threading.Thread(target=read), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    wire = Wire(source, sink, silence_s=None, host_gone=lambda: None)
    try:
        with contextlib.suppress(HostGone):  # the end of what was sent
            Agent(Folders(root), wire).serve()
    finally:
        wire._thread.join(1.0)  # one that was sent too much waits for ever: its process would end
        os.close(source)
        os.close(sink)
        for thread in threads:
            thread.join()
        os.close(answers)
    return bytes(said).splitlines()


@fuzzing()
@given(data=st.data())
def test_requests_of_any_kind_end_orderly(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=6))
    sent = b""
    for request in chosen:
        sent += data.draw(spoiled_line(request)) + b"\n"
        if request["request"] == "put":
            sent += data.draw(st.sampled_from([DATA, b"", b"date", DATA * 3]))
    base = tmp_path_factory.getbasetemp() / "agent"
    root = base / "home"
    root.mkdir(parents=True, exist_ok=True)
    with case("agent: requests", also=(ValueError,)):
        serve(root, sent)
    assert [path.name for path in base.iterdir()] == ["home"], "it left its folder"


@fuzzing(0.3)
@given(sent=st.binary(max_size=300))
@example(sent=b"[" * 200_000 + b"\n")
@example(sent=b'{"request": ' + b"[" * 200_000 + b"\n")
@example(sent=b'{"request": "put", "sha256": "' + SHA.encode() + b'", "size": Infinity}\n')
@example(sent=b'{"request": "put", "sha256": "' + SHA.encode() + b'", "size": -1}\ndata')
@example(sent=json.dumps({"request": "prune", "keep": 10**400}).encode() + b"\n")
@example(sent=b"x" * (5 << 20))
def test_bytes_of_any_kind_end_orderly(
    sent: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp() / "bytes" / "home"
    with case("agent: bytes", also=(ValueError,)):
        serve(root, sent)
