"""Starts the real command line in a process of its own, and looks at what it leaves."""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).parents[2]
GUARD = Path(__file__).with_name("socket_guard.py")
STARTUP_S = 120.0
_TOKEN = "EDGEGEN_TEST_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command line ended, and what it said on standard error."""

    code: int
    errors: str

    def assert_failed(self, code: int, *says: str) -> None:
        """Assert the exit code, that there is a hint, and that each of `says` is in the text."""
        assert self.code == code, self.errors
        assert "Traceback" not in self.errors
        assert "error: " in self.errors
        assert "hint: " in self.errors
        for text in says:
            assert text in self.errors


@dataclass(kw_only=True)
class Command:
    """`edgegen ARGUMENTS` in a process; a context manager that leaves no process behind.

    All of its processes are known by a variable of their environment, whoever adopts them.
    """

    arguments: Sequence[str | Path]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    launcher: Sequence[str | Path] = ()
    limit_file_bytes: int | None = None

    def __enter__(self) -> Self:
        self.token = secrets.token_hex(16)
        self.scratch = self.folder / f"scratch-{self.token[:6]}"
        self.scratch.mkdir()
        self.log = self.scratch.with_suffix(".log")
        environment = {
            **os.environ,
            _TOKEN: self.token,
            "TMPDIR": str(self.scratch),
            "PYTHONPATH": str(REPOSITORY),
            **self.env,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*map(str, self.launcher), sys.executable, "-m", "edgegen", *self._words()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment,
                cwd=self.folder,
                preexec_fn=self._prepare,
            )
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def wait(self, timeout_s: float = 600) -> Outcome:
        """Wait for the end; a process that was ended by a signal has its negative number."""
        code = self.process.wait(timeout_s)
        return Outcome(code=code, errors=self.log.read_text(encoding="utf-8"))

    def wait_until(self, condition: Callable[[], bool], *, pause_s: float = 0.002) -> bool:
        """Wait until a condition holds; return whether it did before the process ended."""
        deadline = time.monotonic() + STARTUP_S
        while not condition():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, self.log.read_text(encoding="utf-8")
            time.sleep(pause_s)
        return True

    def alive(self) -> list[int]:
        """Return the processes of this command that are alive now, zombies left out."""
        mark = f"{_TOKEN}={self.token}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def assert_all_gone(self, *, within_s: float = 10.0) -> None:
        """Assert that no process of this command is alive, or that they all end soon."""
        deadline = time.monotonic() + within_s
        while living := self.alive():
            assert time.monotonic() < deadline, [
                Path(f"/proc/{pid}/cmdline").read_bytes() for pid in living
            ]
            time.sleep(0.05)

    def _words(self) -> list[str]:
        return [str(word) for word in self.arguments]

    def _prepare(self) -> None:
        """Undo what a background shell does to its children, and set limits."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self.limit_file_bytes is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit_file_bytes,) * 2)


def contents(folder: Path) -> dict[str, str]:
    """Return every entry below a folder, hidden ones too, and a hash of what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"link to {path.readlink()}"
        elif path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(folder))] = digest
        else:
            found[str(path.relative_to(folder))] = "folder"
    return found


def staging_of(destination: Path) -> Path | None:
    """Return the folder in which a package is being built, if there is one."""
    found = destination.parent.glob(f".edgegen-{destination.name}-*")
    return next((path for path in found if path.suffix != ".lock" and path.is_dir()), None)
