"""How sensors are read: small files of the kernel, each of which may be missing or refuse."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Callable, Optional

Values = dict[str, Optional[float]]
"""A value for each sensor's name; None where it did not answer."""

Read = Callable[[], Values]
"""Read all sensors of one reader, once."""

Find = Callable[[Path], Optional[Read]]
"""Find the sensors below a root; None where there are none."""

ReadOne = Callable[[], Optional[float]]

_LARGEST_FILE_BYTES = 1 << 16
_LARGEST = 1e24
_COLDEST_C, _HOTTEST_C = -50.0, 200.0


def together(sensors: Mapping[str, ReadOne]) -> Optional[Read]:
    """Read one file after the other; None where there is no file."""
    if not sensors:
        return None
    return lambda: {name: read() for name, read in sensors.items()}


def sorted_paths(folder: Path, pattern: str) -> list[Path]:
    """Return the paths that match, ``x2`` before ``x10``; none where the folder refuses."""
    try:
        found = list(folder.glob(pattern))
    except OSError:
        return []
    return sorted(found, key=lambda path: (len(path.name), path.as_posix()))


def text(path: Path) -> Optional[str]:
    """Return a small file's text, stripped of blanks and NULs; None where it does not answer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):  # ValueError: a name with NUL, out of another file
        return None
    try:
        data = os.read(descriptor, _LARGEST_FILE_BYTES)
    except OSError:  # a powered-off unit answers EAGAIN or EIO
        return None
    finally:
        os.close(descriptor)
    return data.decode("ascii", "replace").strip("\0 \t\r\n")


def parse_number(words: Optional[str]) -> Optional[float]:
    """Return a number that a sensor can have, or None.

    What is beyond ±1e24 is none: products of two stay finite. What is next to 0 is 0.
    """
    try:
        value = float(words or "")
    except ValueError:
        return None
    if not -_LARGEST <= value <= _LARGEST:  # NaN is neither
        return None
    return value if abs(value) >= 1 / _LARGEST else 0.0


def number(path: Path) -> Optional[float]:
    """Return the number in a file, or None."""
    return parse_number(text(path))


def scaled(path: Path, factor: float) -> ReadOne:
    """Return a function that reads the number in a file, times a factor."""

    def read() -> Optional[float]:
        value = number(path)
        return None if value is None else value * factor

    return read


def celsius(path: Path) -> ReadOne:
    """Return a function that reads millidegrees as °C; None for what no device can have."""

    def read() -> Optional[float]:
        value = number(path)
        return None if value is None else plausible_celsius(value * 1e-3)

    return read


def plausible_celsius(value: Optional[float]) -> Optional[float]:
    """Return a temperature, or None where no working device can have it (a driver's "invalid")."""
    if value is None or not _COLDEST_C < value < _HOTTEST_C:
        return None
    return value


def highest(files: Iterable[Path]) -> ReadOne:
    """Return a function that reads the highest number of several files."""
    paths = tuple(files)

    def read() -> Optional[float]:
        values = [value for value in map(number, paths) if value is not None]
        return max(values) if values else None

    return read


def total(files: Iterable[Path]) -> ReadOne:
    """Return a function that reads the sum of the numbers in several files."""
    paths = tuple(files)

    def read() -> Optional[float]:
        values = [value for value in map(number, paths) if value is not None]
        return sum(values) if values else None

    return read
