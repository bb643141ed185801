"""Reads `--lora FILE[:SCALE]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import ConfigError
from edgegen.core.progress import Progress, SilentProgress
from edgegen.models.adapters.adapter_file import NAMES, find_file
from edgegen.models.adapters.peft_config import CONFIG_NAME
from edgegen.models.source import hub_place

_LARGEST_SCALE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraChoice:
    """An adapter that is wanted, and how strongly: 1 is as it was trained."""

    file: Path
    scale: float = 1.0


def parse_lora(text: str, *, offline: bool = False, progress: Progress | None = None) -> LoraChoice:
    """Return what `FILE`, `ORG/NAME` or `ORG/NAME:FILE` names, with `:0.8` behind it or without.

    Files of the hub are fetched into its cache. Raises ConfigError for a scale that is none,
    SourceError for a file that isn't there.
    """
    name, scale = _split(text)
    if scale is not None and not abs(scale) <= _LARGEST_SCALE:
        raise ConfigError(
            f"--lora {text}: {scale:g} is no scale.",
            hint="1 adds it as it was trained: FILE:0.8",
        )
    file = find_adapter(name, offline=offline, progress=progress)
    return LoraChoice(file=file, scale=1.0 if scale is None else scale)


def find_adapter(name: str, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """Return the file of an adapter that lies here, or on the hub. Raises SourceError."""
    place = None if Path(name).expanduser().exists() else hub_place(name)
    if place is None:
        return find_file(name)
    from edgegen.models.hub import download_file, only_weight_file

    repository, revision, inner = place
    inner = inner or only_weight_file(repository, revision, NAMES, offline=offline)
    shown = progress or SilentProgress()
    path, _ = download_file(repository, revision, inner, offline=offline, progress=shown)
    if path.name == NAMES[0]:  # PEFT's, whose settings lie beside it
        beside = f"{inner.removesuffix(NAMES[0])}{CONFIG_NAME}"
        download_file(repository, revision, beside, offline=offline, progress=shown)
    return find_file(str(path))


def _split(text: str) -> tuple[str, float | None]:
    """Return a name, and the number behind its last colon, if there is one."""
    name, colon, number = text.rpartition(":")
    if not colon or not name or Path(text).expanduser().exists():
        return text, None
    try:
        return name, float(number)
    except ValueError:
        return text, None
