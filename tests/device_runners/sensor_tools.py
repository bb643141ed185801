"""What the tests of sensors share: recorded output, trees of files, and tools that play it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"

HOSTILE = (
    b"",
    b"\n",
    b"\0" * 100,
    b"\xff\xfe\x00garbage\x80",
    b'error=1 error_msg="Command not registered"\n',
    b"VCHI initialization failed\n",
    b"{" * 10_000,
    b"9" * 100_000,
    b"=" * 1_000_000,
)
"""What a broken tool could write; the messages are vcgencmd's own."""


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def halves(text: str) -> list[str]:
    """Return beginnings of an output, cut at places that a parser may not like."""
    return [text[: len(text) * part // 16] for part in range(16)]


def plant(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below a root, each with the newline that the kernel writes."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n", encoding="utf-8")
    return root


def tool(path: Path, answers: Mapping[str, str]) -> Path:
    """Make a program that answers its arguments with files, and counts its calls in `…calls`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cases = "\n".join(
        f"  {shlex.quote(arguments)}) cat {shlex.quote(str(RECORDED / name))};;"
        for arguments, name in answers.items()
    )
    calls = shlex.quote(str(path) + ".calls")
    path.write_text(
        f'#!/bin/sh\necho "$*" >> {calls}\ncase "$*" in\n{cases}\n  *) exit 255;;\nesac\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


def calls_of(path: Path) -> list[str]:
    calls = Path(f"{path}.calls")
    return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []
