"""Numbers that the user types: finite ones, though Python reads `nan` and `inf` as numbers, too."""

from __future__ import annotations

import math
from typing import Any

import click
from click.types import FloatParamType


class _Number(FloatParamType):
    """A number."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail where it isn't a finite one."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a valid {self.name}.", param, ctx)
        return number


class NumberRange(click.FloatRange):
    """A number within bounds."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail where it is out of bounds, or isn't a finite one."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):  # NaN is on no side of a bound
            self.fail(f"{value!r} is not a valid {self.name}.", param, ctx)
        return number


NUMBER = _Number()
