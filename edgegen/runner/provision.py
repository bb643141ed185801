"""Gives a device what the runner needs: an environment of pinned wheels, or a bundle."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import posixpath
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgegen_runner.runtimes import DEFAULT, called

from edgegen.core.errors import (
    ConfigError,
    DeviceError,
    DeviceFullError,
    EdgegenError,
    MissingDependencyError,
    nearest,
)
from edgegen.core.files import sha256_of
from edgegen.core.folders import cache_folder
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.units import format_bytes
from edgegen.devices.adb import AdbTransport
from edgegen.devices.agent import NoPythonError
from edgegen.devices.android_facts import why_no_bundle
from edgegen.devices.device import Device
from edgegen.devices.facts import DeviceFacts, Fault, RuntimeFacts, Tried
from edgegen.devices.faults import explain_fault
from edgegen.devices.store import File, send_blobs
from edgegen.devices.transports import LOCAL, Transport, open_transport
from edgegen.runner.bundle.build import build_bundle, read_bundle
from edgegen.runner.job import Backend, DescribeJob
from edgegen.runner.pack import pack_runner
from edgegen.runner.protocol import Hello
from edgegen.runner.push_bundle import push_bundle
from edgegen.runner.runtimes import pinned_packages
from edgegen.runner.session import RunnerSession
from edgegen.runner.wheel_files import fitting_wheels, installs
from edgegen.runner.wheels import Pin, download, wheels_for

_SETUP_S = 1800.0
_ANSWER_S = 300.0
_MOST_LINES = 100
_INSTALLED = 5.0  # wheels, and what they unpack to


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """What a device has now. `place` is the folder there, `sent_bytes` what travelled.

    `removed` are the packages that edgegen's environment had before, and has no more.
    """

    device: str
    place: str
    python: str
    packages: Mapping[str, str]
    sent_bytes: int
    removed: Mapping[str, str]


def set_up(
    address: str,
    *,
    root: str | None = None,
    wheels: Path | None = None,
    bundle: Path | None = None,
    runtimes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Provision:
    """Give a device numpy and runtimes, in edgegen's own folder there, and try them.

    `root` is that folder, by default the one that was chosen before. `runtimes` are added to those
    that it uses; `onnxruntime` is, where edgegen has given it none. `wheels` is a folder whose
    wheels are installed in place of what was there; nothing is fetched then. `bundle` is an archive
    of `edgegen runner build`. Both bring their own runtime. Raises ConfigError for a runtime that
    no wheels are pinned of and for wheels that do not fit the device, DeviceError where it cannot
    be reached or there is no wheel for it, MissingDependencyError where what was installed does not
    work, and what fetching raises.
    """
    progress = progress or SilentProgress()
    pinned = tuple(dict.fromkeys(_package_of(name) for name in runtimes))
    if address == LOCAL:
        raise ConfigError(
            "This machine runs edgegen's own Python, which `devices setup` leaves alone.",
            hint=f"{sys.executable} -m pip install {' '.join(pinned or (DEFAULT.package,))}",
        )
    if runtimes and (wheels is not None or bundle is not None):
        raise ConfigError(
            "--runtime chooses among the wheels that edgegen knows; a folder of wheels and a "
            "bundle bring their own.",
            hint="Leave --runtime out.",
        )
    transport = open_transport(address, root)
    try:
        return _set_up(transport, wheels, bundle, pinned, progress)
    finally:
        transport.close()


def _package_of(runtime: str) -> str:
    """Return the name on PyPI of a runtime that wheels are pinned of."""
    known = called(runtime)
    if known is None or not known.pinned:
        name = runtime.replace("_", "-")
        hint = nearest(name, pinned_packages())
        raise ConfigError(f"No wheels of {runtime!r} are pinned.", hint=hint)
    return known.package


def _set_up(
    transport: Transport,
    wheels: Path | None,
    bundle: Path | None,
    runtimes: Sequence[str],
    progress: Progress,
) -> Provision:
    address = transport.address
    lacking: NoPythonError | None = None
    if bundle is None and not address.startswith("adb://"):
        try:
            with Device(transport, pack_runner()) as device:
                has = device.facts.runtime
                if wheels is not None or has is None or not has.bundle:
                    return _from_wheels(device, wheels, progress, runtimes)
        except NoPythonError as error:
            if wheels is not None:
                raise
            lacking = error
    elif wheels is not None:
        raise ConfigError(
            "Android has no Python that wheels could be installed for.",
            hint=f"Without --wheels it gets a bundle: edgegen devices setup {shlex.quote(address)}",
        )
    if any(runtime != DEFAULT.package for runtime in runtimes):
        raise ConfigError(
            f"{address} gets a bundle, which brings {DEFAULT.package} and nothing else.",
            hint="Leave --runtime out, or install Python 3.10 or newer there.",
        )
    platform = _platform_of(transport, lacking)
    if bundle is None:
        chosen = build_bundle(platform, progress=progress)
    else:
        chosen = read_bundle(bundle)
        if chosen.platform != platform:
            raise ConfigError(
                f"{bundle} is for {chosen.platform}; {address} needs one for {platform}.",
                hint=f"Build it: edgegen runner build --platform {platform} -o FILE",
            )
    sent = push_bundle(transport, chosen, progress)
    with Device(transport, pack_runner()) as device:
        return _try(device, sent)


def why_not(facts: DeviceFacts) -> EdgegenError | None:
    """Return why `set_up` would find no wheels for a device; None where it would."""
    try:
        _pins(facts, (DEFAULT.package,))
    except DeviceError as error:
        return error
    return None


def _from_wheels(
    device: Device, folder: Path | None, progress: Progress, runtimes: Sequence[str] = ()
) -> Provision:
    device.agent.lock("devices setup")
    before = device.facts.runtime
    if folder is not None:
        files = fitting_wheels(folder, device.facts)
    elif not runtimes and before is not None and before.own and _foreign(before):
        return _try(device, 0)  # wheels of the user's own: a plain setup has none that are better
    else:
        files = _download(device, _runtimes_after(before, runtimes), progress)
    blobs = [
        File(path=path.name, source=path, sha256=sha256_of(path), size_bytes=path.stat().st_size)
        for path in files
    ]
    device.require_place(executes=True)
    _check_room(device, sum(blob.size_bytes for blob in blobs))
    sent = send_blobs(device, blobs, progress)
    key = hashlib.sha256("".join(sorted(blob.sha256 for blob in blobs)).encode()).hexdigest()[:16]
    with progress.step("environment"):
        tried = device.agent.ask(
            Tried,
            "set_up",
            name=f"python-{device.facts.python}-{key}",
            wheels=[[blob.path, blob.sha256] for blob in blobs],
            answer_s=_SETUP_S,
        )
    wanted = installs(files)
    if tried.faults:
        raise _does_not_work(device, tried.faults[0], wanted)
    done = _try(device, sent)
    _check_answers(done, wanted)
    had = {} if before is None else before.packages
    after = {} if device.facts.runtime is None else device.facts.runtime.packages
    return dataclasses.replace(done, removed={name: had[name] for name in had if name not in after})


def _runtimes_after(before: RuntimeFacts | None, asked: Sequence[str]) -> list[str]:
    """Return the runtimes to install: those that are asked for, and what is used there now."""
    kept = [name for name in pinned_packages() if before is not None and name in before.packages]
    has_own = before is not None and before.own
    wanted = [*kept, *(asked or (() if has_own and kept else (DEFAULT.package,)))]
    found = (called(name) for name in wanted)
    beside = [name for runtime in found if runtime is not None for name in runtime.beside]
    return list(dict.fromkeys([*beside, *wanted]))


def _foreign(runtime: RuntimeFacts) -> set[str]:
    return set(runtime.packages) - {"numpy", *pinned_packages()}


def _does_not_work(
    device: Device, fault: Fault, installed: Mapping[str, str]
) -> MissingDependencyError:
    """Return the error for what was just installed: installing it again would not help."""
    facts, command = device.facts, f"edgegen devices setup {shlex.quote(device.address)}"
    other = (
        f"A bundle brings its own Python and libraries: {command} --bundle FILE"
        if facts.machine == "aarch64"
        else f"Bring wheels that fit it: {command} --wheels FOLDER"
    )
    return explain_fault(device.address, facts, fault, packages=installed, setup=other)


def _check_answers(done: Provision, installed: Mapping[str, str]) -> None:
    """Raise DeviceError where another version answers than the one that was installed."""
    for package, version in installed.items():
        runtime = called(package)
        answered = done.packages.get(package if runtime is None else runtime.name)
        public = version.partition("+")[0]
        if answered is not None and not re.match(rf"{re.escape(public)}(?!\d)", answered):
            raise DeviceError(
                f"{done.device}: {package} {version} was installed in {done.place}, and {answered} "
                "answers: something there leads Python to other modules.",
                hint=f"Look for .pth files and a sitecustomize.py in {done.place}.",
            )


def _check_room(device: Device, wheels_bytes: int) -> None:
    free = device.facts.free_bytes
    wanted = int(wheels_bytes * _INSTALLED)
    if free is not None and free < wanted:
        raise DeviceFullError(
            f"{device.address} has {format_bytes(free)} free; the wheels and what they hold need "
            f"{format_bytes(wanted)}.",
            hint=f"Free some space there: edgegen prune --device {device.address}",
        )


def _download(device: Device, runtimes: Sequence[str], progress: Progress) -> list[Path]:
    return list(download(_pins(device.facts, runtimes), cache_folder() / "wheels", progress))


def _pins(facts: DeviceFacts, runtimes: Sequence[str]) -> tuple[Pin, ...]:
    pins = [
        pin
        for runtime in runtimes
        for pin in wheels_for(
            facts.python_version, facts.system, facts.machine, facts.glibc, runtime=runtime
        )
    ]
    return tuple(dict.fromkeys(pins))


def _platform_of(transport: Transport, lacking: NoPythonError | None) -> str:
    """Return the platform of the bundles that run on a device, by what that says of itself.

    Raises MissingDependencyError where none does; nothing is built or sent before.
    """
    if isinstance(transport, AdbTransport):
        refusal = why_no_bundle(transport.address, transport.facts())
        if refusal is not None:
            raise refusal
        return "android-arm64"
    system = _ask(transport, "uname -sm")
    if system != "Linux aarch64":
        why = f"{transport.address} is {system!r}: there is no bundle for that."
        raise MissingDependencyError(
            why if lacking is None else f"{lacking.message} {why}",
            hint="Leave --bundle out." if lacking is None else lacking.hint,
        )
    return "linux-arm64"


def _ask(transport: Transport, command: str) -> str:
    with transport.start(["sh", "-c", command]) as child:
        lines = list(itertools.islice(child.lines(silence_s=_ANSWER_S), _MOST_LINES))
        child.wait(_ANSWER_S)
        fault = transport.fault(child.returncode or 0, child.log_tail())
    if fault is not None:
        raise fault
    return lines[-1].strip() if lines else ""


def _try(device: Device, sent_bytes: int) -> Provision:
    """Start the runner once for each runtime: it imports numpy and the runtime."""
    facts = device.look_again()
    command = device.require_runtime()
    there = {} if facts.runtime is None else facts.runtime.packages
    packages: dict[str, str] = {}
    python = ""
    for name in dict.fromkeys(each.name for package in there if (each := called(package))):
        hello = _hello(device, name)
        python = hello.python
        packages.update({"numpy": hello.numpy, hello.runtime.name: hello.runtime.version})
    return Provision(
        device=device.address,
        place=posixpath.dirname(command[1]),
        python=python,
        packages=packages,
        sent_bytes=sent_bytes,
        removed={},
    )


def _hello(device: Device, runtime: str) -> Hello:
    """Start the runner with a runtime, and return what it says of itself."""
    hello = None
    session = RunnerSession(device=device, patience_s=_ANSWER_S)
    with closing(session.events(DescribeJob(backend=Backend(name=runtime)))) as events:
        for event in events:
            if isinstance(event, Hello):
                hello = event
    assert hello is not None  # the session raises where the runner ends without it
    return hello
