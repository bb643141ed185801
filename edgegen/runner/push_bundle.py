"""Puts a bundle on a device that has no Python yet: its shell takes the archive, and tries it."""

from __future__ import annotations

import contextlib
import re

from edgegen.core.errors import (
    ConnectionLostError,
    DeviceBusyError,
    DeviceError,
    DeviceFullError,
    IntegrityError,
    ResourceError,
)
from edgegen.core.process import Child, ProcessError
from edgegen.core.progress import Progress
from edgegen.core.units import format_bytes
from edgegen.devices.roots import UNFIT, unfit
from edgegen.devices.scripts import script
from edgegen.devices.transports import Transport
from edgegen.runner.bundle.build import Bundle

_ANSWER_S = 300.0
_PIECE_BYTES = 1 << 20
_UNPACKED = 2.2  # the archive, and what it holds, and some air
_LONGEST_REASON = 300


def push_bundle(transport: Transport, bundle: Bundle, progress: Progress) -> int:
    """Push a bundle where it is not there, let `runtime` point to it, and return what travelled.

    Raises DeviceBusyError, DeviceFullError before anything travels, and DeviceError where the
    bundle doesn't start there: then the device is as it was.
    """
    modules = f"numpy, {bundle.runtime.replace('-', '_')}"
    facts = (bundle.folder, str(bundle.size_bytes), bundle.sha256, modules)
    command = ["sh", "-c", script("push_bundle.sh"), "sh", transport.home, *facts]
    with transport.start(command) as child:
        try:
            lines = child.lines(silence_s=_ANSWER_S)
            word, _, rest = next(lines, "").partition(" ")
            sent = 0
            if word == "need":
                sent = _send(transport, child, bundle, rest, progress)
                word, _, rest = next(lines, "").partition(" ")
            if word in UNFIT:
                raise unfit(transport.address, transport.home, word)
            if word in _REFUSALS:
                raise _refused(word, transport.address, rest)
            if word != "ready":
                raise _push_failed(transport, child)
            child.wait(_ANSWER_S)
        except ProcessError as error:
            raise _push_failed(transport, child) from error
    return sent


_REFUSALS: dict[str, tuple[type[DeviceError] | type[IntegrityError], str, str]] = {
    "busy": (
        DeviceBusyError,
        "{0} is in use by another command.",
        "Wait for its end, or ask its owner.",
    ),
    "mismatch": (
        IntegrityError,
        "The bundle did not come whole to {0}.",
        "Retry: it will be sent again.",
    ),
    "broken": (
        DeviceError,
        "The bundle doesn't start on {0}: {1}.",
        "What was used there before is used still. `edgegen devices show` says what the device is; "
        "a bundle that was built elsewhere may be for another one: build it with this edgegen.",
    ),
}


def _refused(word: str, address: str, reason: str) -> DeviceError | IntegrityError:
    kind, message, hint = _REFUSALS[word]
    reason = reason[:_LONGEST_REASON].strip().rstrip(".")
    return kind(message.format(address, reason or "it does not say why"), hint=hint)


def _send(transport: Transport, child: Child, bundle: Bundle, told: str, progress: Progress) -> int:
    offset, free_kib = (_number(word) for word in [*told.split(), "", ""][:2])
    if offset is None or offset > bundle.size_bytes:
        raise DeviceError(
            f"{transport.address} answered {told[:60]!r}, not how much of the bundle it has.",
            hint=f"See what the device is: edgegen devices show {transport.address}",
        )
    free = None if free_kib is None else free_kib << 10
    wanted = int(bundle.size_bytes * _UNPACKED) - offset
    if free is not None and free < wanted:
        child.send("no")
        raise DeviceFullError(
            f"{transport.address} has {format_bytes(free)} free; the bundle needs "
            f"{format_bytes(wanted)}.",
            hint="Free some space there, and retry.",
        )
    child.send("go")
    left = bundle.size_bytes - offset
    with (
        bundle.archive.open("rb", buffering=0) as file,
        progress.step(f"push to {transport.address}", total=left, unit="bytes") as step,
    ):
        file.seek(offset)
        while left:
            piece = file.read(min(left, _PIECE_BYTES))
            if not piece:
                raise ResourceError(
                    f"{bundle.archive} became shorter meanwhile.", hint="Build the bundle again."
                )
            child.write(piece, stall_s=_ANSWER_S)
            left -= len(piece)
            step.advance(len(piece))
    return bundle.size_bytes - offset


def _number(word: str) -> int | None:
    return int(word) if re.fullmatch(r"[0-9]{1,15}", word) else None


def _push_failed(transport: Transport, child: Child) -> DeviceError:
    child.close_input()
    with contextlib.suppress(ProcessError):
        child.wait(5.0)
    told = child.log_tail()
    if "No space left" in told:
        return DeviceFullError(
            f"{transport.address} is full.", hint="Free some space there, and retry."
        )
    code = child.returncode
    fault = None if code is None else transport.fault(code, told)
    last = told.strip().splitlines()[-1] if told.strip() else "it did not say why"
    return fault or ConnectionLostError(
        f"The bundle could not be put on {transport.address}: {last}.",
        hint="Retry: what has come stays there.",
    )
