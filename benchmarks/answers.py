"""What a process answers that a benchmark asks line by line, and what its log ends with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from edgegen.core.process import Child, ProcessError


def answer(child: Child, lines: Iterator[str]) -> dict[str, Any]:
    """Return the next line that is a JSON object; what tools print besides is passed over.

    Raises ProcessError where the process ends without one.
    """
    for line in lines:
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    child.wait(60)
    raise ProcessError(f"The worker {child.describe_exit()}.", tail=child.log_tail())


def last_line(text: str) -> str:
    """Return the last line of a log that says something."""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return said[-1] if said else "it said nothing"
