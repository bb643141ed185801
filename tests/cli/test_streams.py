"""Standard streams that are closed, full, or that nobody reads any more: each an orderly end."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

EDGEGEN = f"{sys.executable} -m edgegen"
TALKS = """\
import sys
from edgegen.cli import entry, main
from edgegen.cli.console import Console
def talk(arguments, ahead):
    for number in range(5000):
        Console().note(f"step {number} …")
    Console().print("made")
    sys.stdout.flush()
    open("made", "x").close()
    return 0
main.run = talk
entry.main()
"""


def shell(
    command: str, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of bash, which says on its own standard error how edgegen ended."""
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        env={**os.environ, **(environment or {})},
    )


STREAMS = ("<&-", ">&-", "2>&-")
CLOSED = [" ".join(which) for n in (1, 2, 3) for which in itertools.combinations(STREAMS, n)]


RIGHT, WRONG = ("inspect builtin:emoji --json", 0), ("inspect gone", 9)


@pytest.mark.parametrize(
    ("words", "code", "closed"),
    [
        *((*WRONG, closed) for closed in CLOSED),
        *((*RIGHT, closed) for closed in (*STREAMS, CLOSED[-1])),
        *(pytest.param(*RIGHT, closed, marks=pytest.mark.slow) for closed in CLOSED[3:-1]),
    ],
)
def test_closed_streams_change_nothing_but_what_is_heard(
    words: str, code: int, closed: str, tmp_path: Path
) -> None:
    heard = shell(f"exec {EDGEGEN} {words} {closed}", tmp_path)
    assert heard.returncode == code
    assert "Traceback" not in heard.stderr
    assert (heard.stdout == "") == (">&-" in closed.split() or code != 0)
    assert ("error:" in heard.stderr) == (code != 0 and "2>&-" not in closed.split())


@pytest.mark.parametrize("errors", ["2> >(exec true)", "2> /dev/full", "2>&-"])
def test_messages_that_nobody_hears_do_not_end_the_work(errors: str, tmp_path: Path) -> None:
    (tmp_path / "talks.py").write_text(TALKS)
    heard = shell(f"exec {sys.executable} talks.py {errors}", tmp_path)
    assert (heard.returncode, heard.stdout) == (0, "made\n")
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "package --help",
        "--version",
        "profiles",
        "targets --json",
        "doctor --json",
        "inspect builtin:emoji",
        "package builtin:emoji -t onnx --dry-run",
        "inspect gone --json",
        "verify gone --json",
        "status",
    ],
)
def test_a_reader_that_ends_early_is_no_error(words: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        ended = subprocess.run(
            [*EDGEGEN.split(), *words.split()],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            timeout=120,
        )
    wrote_nothing = words == "status"
    assert ended.returncode == (2 if wrote_nothing else 141)
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


@pytest.mark.parametrize("words", ["--version", "profiles --json"])  # flushed at the end, or before
def test_a_result_that_does_not_fit_is_an_error(words: str, tmp_path: Path) -> None:
    heard = shell(f"{EDGEGEN} {words} > /dev/full", tmp_path)
    assert heard.returncode == 10
    assert "error: " in heard.stderr
    assert "No space left on device." in heard.stderr
    assert "Exception" not in heard.stderr


def test_a_prompt_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    heard = shell(f"{EDGEGEN} run package --prompt $'caf\\xe9'", tmp_path)
    assert heard.returncode == 2
    assert "is not text in UTF-8" in heard.stderr


@pytest.mark.parametrize(
    "words",
    ["inspect", "verify", "run", "package -t onnx", "bench", "deploy -d local", "profiles", "no-"],
)
def test_arguments_that_are_not_utf_8_are_said_as_bytes(words: str, tmp_path: Path) -> None:
    command, *options = words.split()
    heard = shell(f"{EDGEGEN} {command} $'caf\\xe9' {' '.join(options)}", tmp_path)
    assert heard.returncode in (2, 9)
    assert "error: " in heard.stderr
    assert r"caf\xe9" in heard.stderr or command == "no-"
    assert "Traceback" not in heard.stderr
    assert "defect" not in heard.stderr
