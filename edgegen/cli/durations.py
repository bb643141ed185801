"""Durations as the user types them: `90`, `90s`, `10m`, `1h`."""

from __future__ import annotations

import math
import re
from typing import Any

import click

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class Duration(click.ParamType[float]):
    """A positive duration; the value is in seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds, or fail with the forms that are known."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h)?\s*", str(value))
        seconds = float(match[1]) * _UNITS_S[match[2] or ""] if match else 0.0
        if not 0 < seconds < math.inf:
            self.fail(f"'{value}' is no duration; write 90s, 10m or 1h.", param, ctx)
        return seconds


DURATION = Duration()
