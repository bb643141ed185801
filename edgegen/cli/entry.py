"""The program's entry: a command that draws here has its runner started before all else.

A runner takes about as long to import its runtime as the host to import its commands and to check
the package: they do it beside each other. What is read of the command line is only a guess; the
command reads it again, and a runner that it has no use for is ended.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edgegen.cli.streams import prepare_streams
from edgegen.core.mark import PACKAGE_MARK

TYPE_CHECKING = False  # what `typing` has, which takes a while to import
if TYPE_CHECKING:
    from typing import NoReturn

    from edgegen.runner.ahead import RunnerAhead

_NOT_HERE = ("--device", "-d", "--help", "-h")


def main() -> NoReturn:
    """Run the command line of this process, and exit."""
    prepare_streams()  # before a process is started, which would get the closed ones
    with _runner_for(sys.argv[1:]) as ahead:
        from edgegen.cli.main import main as command_line

        command_line(ahead)


@contextmanager
def _runner_for(arguments: Sequence[str]) -> Iterator[RunnerAhead | None]:
    package = drawn_package(arguments)
    if package is None:
        yield None
        return
    import gc

    gc.disable()  # this process only waits for the runner: what it imports stays, anyway
    from edgegen.core.head_start import head_start
    from edgegen.runner.program import AHEAD, OWN

    wanted = _runtime(arguments)
    started = head_start(*OWN, AHEAD, package, *(() if wanted is None else (wanted,)))
    if started is None:
        yield None
        return
    from contextlib import closing
    from pathlib import Path

    from edgegen.runner.ahead import RunnerAhead

    with closing(RunnerAhead(started, Path(package), wanted)) as ahead:
        yield ahead


def drawn_package(arguments: Sequence[str]) -> str | None:
    """Return the package that a command line draws with on this machine, as far as one can see.

    >>> drawn_package(["inspect", "my-package"])
    """
    words = [word for word in arguments if not word.startswith("-")]
    if words[:1] != ["run"] or any(word.startswith(_NOT_HERE) for word in arguments):
        return None
    return next((word for word in words[1:] if _holds_package(word)), None)


def _holds_package(folder: str) -> bool:
    if "\0" in folder:
        return False
    return os.path.isfile(os.path.join(folder, PACKAGE_MARK))  # noqa: PTH113 - pathlib is slow


def _runtime(arguments: Sequence[str]) -> str | None:
    """Return what follows --runtime, None where nothing does."""
    for word, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == "--runtime":
            return after or None
        if word.startswith("--runtime="):
            return word.partition("=")[2]
    return None
