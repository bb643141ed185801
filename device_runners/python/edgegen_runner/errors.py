"""The one exception with which the runner ends a job on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

KINDS = (
    "bad-request",
    "bad-package",
    "missing-runtime",
    "missing-provider",
    "unsupported-scheduler",
    "unsupported-family",
    "runtime",
    "memory",
    "disk",
    "internal",
)
"""What can go wrong; the protocol's words."""


class RunnerFailure(Exception):  # noqa: N818 - the protocol calls the event an error
    """End the job: what failed, of which kind of `KINDS`, and what to do about it."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        assert kind in KINDS
        self.kind = kind
        self.message = message
        self.hint = hint


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the known word nearest to ``word``, then all known words."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.4)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return f"{guess}Known: {', '.join(names)}."


def shortened(value: object) -> str:
    """Return how Python writes a value, cut where it is long: it may come from anywhere."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    if not isinstance(value, (str, int, float)):
        return f"of the type {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
