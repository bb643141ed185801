"""Finds what is attached, and says of each device what it is, has and lacks."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from edgegen_runner.runtimes import DEFAULT

from edgegen.core.environment import REMOTE
from edgegen.core.errors import DeviceError, EdgegenError
from edgegen.core.limits import (
    held_back_now,
    held_back_since_boot,
    holds_back,
    remedies,
    silence_of,
)
from edgegen.core.process import run
from edgegen.core.units import format_bytes
from edgegen.devices.adb import AdbTransport
from edgegen.devices.adb_output import NO_SERIAL, explain_state, parse_devices
from edgegen.devices.agent import NoPythonError
from edgegen.devices.android_facts import why_no_bundle
from edgegen.devices.chips import chip_of
from edgegen.devices.device import Device
from edgegen.devices.facts import DeviceFacts
from edgegen.devices.faults import explain_fault
from edgegen.devices.known import known
from edgegen.devices.match import match
from edgegen.devices.transports import LOCAL, open_transport

Refusal = Callable[[DeviceFacts], EdgegenError | None]
"""Returns why `edgegen devices setup` could do nothing for a device; None where it could."""

_ADB_S = 30.0
_AT_ONCE = 8
_LEAST_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Something that a device lacks, and the command that brings it."""

    what: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What is known of a device; None where it does not say, or could not be asked.

    `packages` are those that work. `problem` says why it could not be asked, `lacks` what is
    missing there, and `warnings` what may disturb. `held_back` is what holds the device back now,
    in words, `held_back_since_boot` what did at times, and `remedies` what to do about it.
    `chip` is one with an NPU that packages are compiled for.
    """

    address: str
    model: str | None = None
    system: str | None = None
    processor: str | None = None
    cores: int | None = None
    cpu_quota: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    available_memory_bytes: int | None = None
    free_bytes: int | None = None
    temperature_c: float | None = None
    python: str | None = None
    packages: Mapping[str, str] | None = None
    sensors: tuple[str, ...] = ()
    held_back: tuple[str, ...] = ()
    held_back_since_boot: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()
    profile: str | None = None
    chip: str | None = None
    emulated: bool = False
    lacks: tuple[Lack, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str = ""
    hint: str = ""

    @property
    def is_ready(self) -> bool:
        """Return whether the runner can run there now."""
        return not self.problem and bool(self.packages)


def survey(
    addresses: Sequence[str],
    runner: bytes,
    refusal: Refusal = lambda facts: None,
    *,
    root: str | None = None,
) -> tuple[Listing, ...]:
    """Ask devices, several at a time, and return what each says, in the order given.

    `runner` is the packed runner, and `root` the folder to use on them. A device that cannot be
    asked is listed with the reason.
    """
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return tuple(
            pool.map(lambda address: look_at(address, runner, refusal, root=root), addresses)
        )


def attached() -> tuple[Listing, ...]:
    """Return this machine, what adb sees, and the devices that were used from here before.

    Only their addresses are filled in, and the problem of those that adb cannot use.
    """
    found = [Listing(address=LOCAL)]
    if shutil.which("adb"):
        found += _seen_by_adb()
    here = {listing.address for listing in found}
    found += [Listing(address=address) for address in known() if address not in here]
    return tuple(found)


def _seen_by_adb() -> list[Listing]:
    try:
        done = run(["adb", "devices", "-l"], timeout_s=_ADB_S, besides=REMOTE, check=False)
        devices, unknown = parse_devices(f"{done.text}\n{done.error_text}")
    except EdgegenError as failure:
        return [Listing(address="adb://", problem=failure.message, hint=failure.hint)]
    found = []
    for device in devices:
        nameless = device.serial == NO_SERIAL
        error = explain_state(device)
        if error is None and nameless and len(devices) > 1:
            error = DeviceError(
                "It has no serial number, and isn't the only device.",
                hint="Take the others off: alone it is adb://",
            )
        listing = Listing(
            address="adb://" if nameless else f"adb://{device.serial}", model=device.model
        )
        if error is not None:
            listing = replace(listing, problem=error.message, hint=error.hint)
        found.append(listing)
    found += [
        Listing(
            address="adb://",
            problem=f"adb lists a device that was not understood: {line!r}.",
            hint="See `adb devices -l`; `adb disconnect`, and connecting again, may help.",
        )
        for line in unknown
    ]
    return found


def look_at(
    address: str,
    runner: bytes,
    refusal: Refusal = lambda facts: None,
    *,
    root: str | None = None,
) -> Listing:
    """Ask one device what it is, and let it use its runtime once; see `survey`."""
    try:
        transport = open_transport(address, root)
        try:
            with Device(transport, runner) as device:
                return _listing(address, device.look_again(tried=True), refusal)
        except NoPythonError as error:
            if address.startswith("adb://"):
                return _android_listing(address)
            lack = Lack(what="Python 3.9 or newer", command=error.hint)
            return Listing(address=address, lacks=(lack,), problem=error.message, hint=error.hint)
    except EdgegenError as error:
        return Listing(address=address, problem=error.message, hint=error.hint)


def _listing(address: str, facts: DeviceFacts, refusal: Refusal) -> Listing:
    profile = match(facts.model, facts.memory_bytes)
    runtime, chip = facts.runtime, chip_of(facts)
    return Listing(
        address=address,
        model=facts.model,
        system=facts.operating_system,
        processor=facts.processor,
        cores=facts.cores,
        cpu_quota=facts.cpu_quota,
        memory_bytes=facts.memory_bytes,
        memory_limit_bytes=facts.memory_limit_bytes,
        available_memory_bytes=facts.available_memory_bytes,
        free_bytes=facts.free_bytes,
        temperature_c=facts.temperature_c,
        python=facts.python if runtime is None else runtime.python,
        packages=_working(facts),
        sensors=facts.sensors,
        held_back=held_back_now(facts.limits),
        held_back_since_boot=held_back_since_boot(facts.limits),
        remedies=remedies(name for name, value in facts.limits.items() if holds_back(name, value)),
        profile=None if profile is None else profile.name,
        chip=None if chip is None else chip.name,
        emulated=facts.emulated,
        lacks=tuple(_lacks(address, facts, refusal(facts))),
        warnings=() if facts.preload is None else (_PRELOADED.format(facts.preload),),
    )


_PRELOADED = (
    "LD_PRELOAD is set there ({}): it is loaded into every program, the runner too, and may break "
    "or slow it down."
)


def _working(facts: DeviceFacts) -> Mapping[str, str] | None:
    """Return the packages that work; None where no runtime does."""
    if facts.runtime is None:
        return None
    broken = {fault.package for fault in facts.runtime.faults}
    packages = {
        name: version for name, version in facts.runtime.packages.items() if name not in broken
    }
    return packages if "numpy" in packages and len(packages) > 1 else None


def _lacks(address: str, facts: DeviceFacts, refusal: EdgegenError | None) -> list[Lack]:
    lacks = []
    if facts.runtime is None:
        what, command = "numpy and a runtime", _set_up(address)
        if refusal is not None and address != LOCAL:
            what, command = f"{what}. {refusal.message}", refusal.hint
        lacks.append(Lack(what=what, command=command))
    for fault in () if facts.runtime is None else facts.runtime.faults:
        error = explain_fault(address, facts, fault)
        hint = error.hint if refusal is None else refusal.hint
        why = error.message.removeprefix(f"{address}: ").rstrip(".")
        lacks.append(Lack(what=f"a working {fault.package} ({why})", command=hint))
    model = facts.model or ""
    if model.startswith("Raspberry Pi") and "vcgencmd" not in facts.programs:
        lacks.append(
            Lack(
                what="vcgencmd (throttling, clock, power)",
                command="sudo apt install raspi-utils, there",
            )
        )
    lacks += _npu_lacks(facts)
    for tool, why in facts.silent.items():
        silence = silence_of(tool, why)
        lacks.append(Lack(what=f"answers of {tool} ({silence.reason})", command=silence.command))
    if facts.free_bytes is not None and facts.free_bytes < _LEAST_FREE_BYTES:
        lacks.append(
            Lack(
                what=f"room: {format_bytes(facts.free_bytes)} are free",
                command=f"edgegen prune --device {shlex.quote(address)}",
            )
        )
    return lacks


def _npu_lacks(facts: DeviceFacts) -> list[Lack]:
    """Return what keeps programs from the NPU of a Linux device that has one."""
    if facts.glibc is None or chip_of(facts) is None:  # Android's apps ask its own libraries
        return []
    if not facts.npu_nodes:
        what = "the NPU's device node, /dev/fastrpc-cdsp"
        return [
            Lack(what=what, command="install the board's fastrpc driver and DSP firmware there")
        ]
    if any(node.usable for node in facts.npu_nodes):
        return []
    node = facts.npu_nodes[0]
    what = f"the right to use the NPU: {node.path} is for the group {node.group}"
    return [Lack(what=what, command=f"sudo usermod -aG {node.group} $USER, there; log in again")]


def _android_listing(address: str) -> Listing:
    """Ask an Android device that has no Python of ours yet, by its shell alone."""
    facts = AdbTransport(address).facts()
    profile = match(facts.model, facts.memory_bytes)
    refusal = why_no_bundle(address, facts)
    return Listing(
        address=address,
        model=facts.model,
        system=None if facts.android is None else f"Android {facts.android} (SDK {facts.sdk})",
        processor=facts.soc,
        memory_bytes=facts.memory_bytes,
        available_memory_bytes=facts.available_memory_bytes,
        free_bytes=facts.free_bytes,
        temperature_c=facts.battery_temperature_c,
        emulated=facts.emulator,
        profile=None if profile is None else profile.name,
        lacks=(Lack(what="Python, numpy and a runtime", command=_set_up(address)),)
        if refusal is None
        else (),
        problem="" if refusal is None else refusal.message,
        hint="" if refusal is None else refusal.hint,
    )


def _set_up(address: str) -> str:
    if address == LOCAL:
        return f"{sys.executable} -m pip install {DEFAULT.install}"
    return f"edgegen devices setup {shlex.quote(address)}"
