"""Keeps in the cache what was found out by trying, so that it isn't tried again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError, ResourceError
from edgegen.core.files import write_atomic
from edgegen.core.folders import cache_folder

T = TypeVar("T")


def place_of(kind: str, facts: Mapping[str, Any]) -> Path:
    """Return the file for a finding: `facts`, plain values, are all that it depends on."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return cache_folder() / kind / f"{digest[:32]}.json"


def remembered(cls: type[T], place: Path) -> T | None:
    """Return what was kept; None where there is nothing, or it can't be read."""
    try:
        return load_json(cls, place)
    except ConfigError:
        return None


def remember(place: Path, value: object) -> None:
    """Keep a frozen value, or leave it where there is no room: it is found again the next time."""
    with suppress(OSError, ResourceError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, dump_json(value))
