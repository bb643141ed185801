"""Finds the folders that ship with edgegen, in a wheel and in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Shipped = Literal["targets", "profiles", "device_runners"]


def shipped(name: Shipped) -> Path:
    """Return the folder of targets, profiles or the device runners' data.

    In a wheel they lie in `edgegen/_shipped/`, in a checkout beside `edgegen/`.
    """
    package = Path(__file__).parents[1]
    in_wheel = package / "_shipped" / name
    return in_wheel if in_wheel.is_dir() else package.parent / name
