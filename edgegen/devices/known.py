"""The addresses of devices that were used from here, so that `edgegen devices` can list them."""

from __future__ import annotations

import contextlib
import json

from edgegen.core.errors import ResourceError
from edgegen.core.files import write_atomic
from edgegen.core.folders import state_folder

_FILE = "devices.json"
_MOST = 100


def known() -> tuple[str, ...]:
    """Return the addresses that were used, the latest first; none where the file is broken."""
    try:
        value = json.loads((state_folder() / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ()
    if not isinstance(value, list):
        return ()
    return tuple(address for address in value if isinstance(address, str))[:_MOST]


def remember(address: str) -> None:
    """Put an address first; where nothing can be written, nothing is remembered."""
    _write([address, *(each for each in known() if each != address)][:_MOST])


def forget(address: str) -> bool:
    """Remove an address; return whether it was there."""
    kept = [each for each in known() if each != address]
    if len(kept) == len(known()):
        return False
    _write(kept)
    return True


def _write(addresses: list[str]) -> None:
    with contextlib.suppress(OSError, ResourceError):
        state_folder().mkdir(parents=True, exist_ok=True)
        write_atomic(state_folder() / _FILE, json.dumps(addresses, indent=1) + "\n")
