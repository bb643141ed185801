"""The error tree: one exit code a class, and a hint of what to do with each error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgegenError(Exception):
    """Base of every error that edgegen raises on purpose.

    `exit_code` is what the command line exits with; `hint` says what to type or change next.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class ConfigError(EdgegenError):
    """A command line, a TOML file or a JSON file that says something impossible."""

    exit_code = 2


class MissingDependencyError(EdgegenError):
    """A toolkit or program that the job needs is not installed."""

    exit_code = 3


class ExportError(EdgegenError):
    """A component could not be converted."""

    exit_code = 4


class ParityError(ExportError):
    """An artifact was written, but it does not compute what the source computes."""


class DeviceError(EdgegenError):
    """A device could not be reached or used."""

    exit_code = 5


class DeviceUnreachableError(DeviceError):
    """A device that does not answer, or is not known."""


class ConnectionLostError(DeviceUnreachableError):
    """A device that answered, and then no longer did."""


class DeviceUnauthorizedError(DeviceError):
    """A device that does not let us in, or that is not the one that it was (its host key)."""


class DeviceBusyError(DeviceError):
    """A device that somebody else is using."""


class DeviceFullError(DeviceError):
    """A device without room for what is to be put there."""


class RunnerError(EdgegenError):
    """The runner failed, or spoke something that is not its protocol."""

    exit_code = 6


class BudgetNotMetError(EdgegenError):
    """No candidate meets the budget."""

    exit_code = 7


class IntegrityError(EdgegenError):
    """A package's bytes are not those that its manifest promises."""

    exit_code = 8


class SourceError(EdgegenError):
    """A model that cannot be read or reached."""

    exit_code = 9


class ResourceError(EdgegenError):
    """Memory or disk that is not there."""

    exit_code = 10


class OutOfMemoryError(ResourceError):
    """Work that needed more memory than there is; work of another size may need less.

    `phase` is the part of an image that needed it (`load`, `denoise`), None where nobody says.
    """

    phase: str | None = None


class RegressionError(EdgegenError):
    """A measurement is worse than the one it is compared with."""

    exit_code = 11


INTERRUPTED_EXIT_CODE = 130
_LONGEST_WORD = 100  # a whole file, where a name belongs, would be compared for minutes


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the known word nearest to `word`, then all known words.

    >>> nearest("onx", ["onnx", "coreml"])
    "Did you mean 'onnx'? Known: coreml, onnx."
    """
    names = sorted(known)
    close = difflib.get_close_matches(word[:_LONGEST_WORD], names, n=1, cutoff=0.4)
    guess = f"Did you mean '{close[0]}'? " if close else ""
    return f"{guess}Known: {', '.join(names)}."
