"""The devices that were used from here, and the folder that was chosen on each."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from edgegen.core.errors import ResourceError
from edgegen.core.files import write_atomic
from edgegen.core.folders import state_folder

_FILE = "devices.json"
_MOST = 100


def known() -> tuple[str, ...]:
    """Return the addresses that were used, the latest first; none where the file is broken."""
    return tuple(_read())


def remembered_root(address: str) -> str | None:
    """Return the folder that was chosen on a device; None where none was."""
    return _read().get(address)


def remember(address: str, root: str | None = None) -> None:
    """Put an address first, with the folder that was chosen there, by default the one before.

    Where nothing can be written, nothing is remembered.
    """
    devices = _read()
    before = devices.pop(address, None)
    _write({address: root or before, **devices})


def forget(address: str) -> bool:
    """Remove an address, and what was chosen there; return whether it was there."""
    devices = _read()
    if address not in devices:
        return False
    del devices[address]
    _write(devices)
    return True


def _read() -> dict[str, str | None]:
    """Return each address with its folder; an entry of another form is left out."""
    try:
        value = json.loads((state_folder() / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    devices: dict[str, str | None] = {}
    for entry in value[:_MOST] if isinstance(value, list) else ():
        match entry:
            case str(address):
                devices.setdefault(address, None)
            case {"address": str(address), "root": str(root)}:
                devices.setdefault(address, root)
    return devices


def _write(devices: Mapping[str, str | None]) -> None:
    entries = [
        address if root is None else {"address": address, "root": root}
        for address, root in devices.items()
    ]
    with contextlib.suppress(OSError, ResourceError):
        state_folder().mkdir(parents=True, exist_ok=True)
        write_atomic(state_folder() / _FILE, json.dumps(entries[:_MOST], indent=1) + "\n")
