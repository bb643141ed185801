"""Reads `--lora FILE[:SCALE]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import ConfigError
from edgegen.models.adapters.adapter_file import find_file

_LARGEST_SCALE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraChoice:
    """An adapter that is wanted, and how strongly: 1 is as it was trained."""

    file: Path
    scale: float = 1.0


def parse_lora(text: str) -> LoraChoice:
    """Return what `FILE` or `FILE:0.8` names.

    Raises ConfigError for a scale that is none, SourceError for a file that isn't there.
    """
    name, colon, number = text.rpartition(":")
    if not colon or not name or Path(text).expanduser().exists():
        return LoraChoice(file=find_file(text))
    try:
        scale = float(number)
    except ValueError:
        return LoraChoice(file=find_file(text))
    if not abs(scale) <= _LARGEST_SCALE:
        raise ConfigError(
            f"--lora {text}: {number} is no scale.", hint="1 adds it as it was trained: FILE:0.8"
        )
    return LoraChoice(file=find_file(name), scale=scale)
