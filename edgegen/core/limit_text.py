"""Limits as users type them: a number and its unit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from edgegen.core.errors import ConfigError, nearest
from edgegen.core.figures import FIGURES, Limit, Unit

_NUMBER = re.compile(r"\s*([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))\s*([^\s\d]*)\s*")

UNITS: Mapping[Unit, Mapping[str, float]] = {
    "bytes": {
        "kB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "TB": 1e12,
        "KiB": 2.0**10,
        "MiB": 2.0**20,
        "GiB": 2.0**30,
        "TiB": 2.0**40,
    },
    "seconds": {"ms": 1e-3, "s": 1.0, "min": 60.0},
    "joules": {"mJ": 1e-3, "J": 1.0, "kJ": 1e3, "Wh": 3600.0},
    "share": {"": 1.0, "%": 0.01},
    "ratio": {"": 1.0, "x": 1.0},
    "decibels": {"": 1.0, "dB": 1.0},
    "none": {"": 1.0},
}
"""What each unit is in SI; the empty one is where a number needs none."""

_MISTAKEN = {"MJ", "Mj", "MS", "Ms", *(f"{it}{bit}" for it in "KMGT" for bit in ("b", "ib"))}
"""Units of something else by their case: megajoules, megaseconds, bits."""

EXAMPLES: Mapping[Unit, str] = {
    "bytes": "60MB",
    "seconds": "500ms",
    "joules": "8J",
    "share": "0.9",
    "ratio": "1.2",
    "decibels": "30dB",
    "none": "1",
}
"""A value as it is typed, by unit."""


def parse_limit(figure: str, text: str) -> Limit:
    """Read what follows an option such as `--max-size`: a number and its unit.

    Raises ConfigError for a number without the unit that it needs, an unknown unit, a number that
    isn't one, and one that nothing can meet.
    """
    kind = FIGURES[figure]
    limit = Limit(figure=figure, value=parse_quantity(kind.option, kind.unit, text))
    _check(limit, text.strip())
    return limit


def parse_quantity(option: str, kind: Unit, text: str) -> float:
    """Read what follows an option, a number and its unit, and return it in SI.

    Raises ConfigError as `parse_limit` does, whatever the number is good for.
    """
    example = f"{option} {EXAMPLES[kind]}"
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ConfigError(f"{option} is '{text:.40}', not a number.", hint=f"Write {example}.")
    number, unit = float(match[1]), match[2]
    factors = UNITS[kind]
    factor = _factor(unit, factors)
    if factor is None:
        if not unit:
            raise ConfigError(
                f"{option} is {text.strip()}, without a unit.", hint=f"Write {example}."
            )
        raise ConfigError(
            f"{option} is '{text.strip():.40}', and '{unit:.20}' isn't a unit of it.",
            hint=f"Write {example}. {nearest(unit, [name for name in factors if name])}",
        )
    return number * factor


def _factor(unit: str, factors: Mapping[str, float]) -> float | None:
    """Return what a unit is in SI; None for one that isn't known, or that could mean two.

    Case doesn't count where it makes no difference: `60mb` are megabytes, `8MJ` are no millijoules.
    """
    if unit in factors:
        return factors[unit]
    if unit in _MISTAKEN:
        return None
    alike = {factor for name, factor in factors.items() if name.lower() == unit.lower()}
    return alike.pop() if len(alike) == 1 else None


def _check(limit: Limit, text: str) -> None:
    option, value = limit.kind.option, limit.value
    if value < 0:
        raise ConfigError(f"{option} is {text}, below zero.", hint="Give a number above 0.")
    if not math.isfinite(value):
        raise ConfigError(f"{option} is {text}, which is too large.", hint="Give a smaller one.")
    if limit.kind.unit == "ratio" and value < 1:
        raise ConfigError(
            f"{option} is {text}, and a device does not get faster than it starts.",
            hint=f"Give the ratio of the last images to the first: {option} 1.2.",
        )
    if limit.kind.unit == "share" and value > 1:
        raise ConfigError(
            f"{option} is {text}, and a share is at most 1.",
            hint=f"Give a share of one: {option} 0.9, or {option} 90%.",
        )
