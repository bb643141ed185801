"""The program's entry: a command that draws here has its runner started before all else.

A runner takes about as long to import its runtime as the host to import its commands and to check
the package: they do it beside each other. What is read of the command line is only a guess; the
command reads it again, and a runner that it has no use for is ended.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from edgegen.cli.streams import prepare_streams
from edgegen.core.folders import PACKAGE_MARK

if TYPE_CHECKING:
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
    from edgegen.runner.ahead import runner_ahead

    with runner_ahead(package, _runtime(arguments)) as ahead:
        yield ahead


def drawn_package(arguments: Sequence[str]) -> Path | None:
    """Return the package that a command line draws with on this machine, as far as one can see.

    >>> drawn_package(["inspect", "my-package"])
    """
    words = [word for word in arguments if not word.startswith("-")]
    if words[:1] != ["run"] or any(word.startswith(_NOT_HERE) for word in arguments):
        return None
    folders = (Path(word) for word in words[1:] if "\0" not in word)
    return next((folder for folder in folders if _holds_package(folder)), None)


def _holds_package(folder: Path) -> bool:
    try:
        return (folder / PACKAGE_MARK).is_file()
    except OSError:  # a prompt, too long for a name
        return False


def _runtime(arguments: Sequence[str]) -> str | None:
    """Return what follows --runtime, None where nothing does."""
    for word, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == "--runtime":
            return after or None
        if word.startswith("--runtime="):
            return word.partition("=")[2]
    return None
