"""What a measured value can be: checked once, where it comes in from a file or a device."""

from __future__ import annotations

LONGEST_S = 1e8
"""Three years: no time of a measurement is longer."""
_LARGEST_BYTES = 1 << 62
_LARGEST_VALUE = 1e24
_LARGEST_COUNT = 1 << 31


def check_span(start_s: float, end_s: float) -> None:
    """Raise ValueError for times that no clock gives, and for an end before its start."""
    check_time(start_s, least_s=-LONGEST_S)
    check_time(end_s, least_s=-LONGEST_S)
    if end_s < start_s:
        raise ValueError(f"it ends at {end_s:g} s, before it begins at {start_s:g} s")


def check_time(time_s: float | None, *, least_s: float = 0.0) -> None:
    """Raise ValueError for a time that is no clock's."""
    if time_s is not None and not least_s <= time_s <= LONGEST_S:
        raise ValueError(f"{time_s:g} s is no time of a measurement")


def check_bytes(*sizes: int | None) -> None:
    """Raise ValueError for a size that no device has."""
    for size in sizes:
        if size is not None and not 0 <= size <= _LARGEST_BYTES:
            raise ValueError(f"a size of {str(size)[:24]} bytes is no device's")


def check_value(name: str, value: float | None) -> None:
    """Raise ValueError for a value that no sensor has."""
    if value is not None and not -_LARGEST_VALUE <= value <= _LARGEST_VALUE:
        raise ValueError(f"{value:g} is no value of a sensor ({name[:40]})")


def check_count(*counts: int | None) -> None:
    """Raise ValueError for what is no count of pixels, steps or threads."""
    for count in counts:
        if count is not None and not 1 <= count <= _LARGEST_COUNT:
            raise ValueError(f"{str(count)[:24]} is no count of pixels, steps or threads")
