"""What the doctor looked for, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked for.

    `remedy` is what to type where it is missing. Without an `essential` thing edgegen does not
    work at all; everything else is needed for some jobs.
    """

    group: str
    name: str
    status: Status
    found: str
    remedy: str = ""
    essential: bool = False
