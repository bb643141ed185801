"""Gives a device what the runner needs: an environment of pinned wheels, or a bundle."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import (
    ConfigError,
    DeviceError,
    DeviceFullError,
    MissingDependencyError,
    nearest,
)
from edgegen.core.files import sha256_of
from edgegen.core.folders import cache_folder
from edgegen.core.progress import Progress, SilentProgress
from edgegen.devices.adb import AdbTransport
from edgegen.devices.agent import NoPythonError
from edgegen.devices.android_facts import why_no_bundle
from edgegen.devices.device import Device
from edgegen.devices.store import File, send_blobs
from edgegen.devices.transports import LOCAL, Transport, open_transport
from edgegen.runner.backend_choice import PACKAGES
from edgegen.runner.bundle.build import build_bundle, read_bundle
from edgegen.runner.job import Backend, DescribeJob
from edgegen.runner.pack import pack_runner
from edgegen.runner.protocol import Hello
from edgegen.runner.push_bundle import push_bundle
from edgegen.runner.session import RunnerSession
from edgegen.runner.wheels import PINNED, RUNTIME, download, wheels_for

_SETUP_S = 1800.0
_ANSWER_S = 300.0
_MOST_LINES = 100
_INSTALLED = 5.0  # wheels, and what they unpack to
_WHEEL = re.compile(r"[A-Za-z0-9_.+-]+\.whl")
_MODULES: Mapping[str, str] = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "onnxruntime_gpu": "onnxruntime",
    "openvino": "openvino",
    "ai_edge_litert": "ai_edge_litert.interpreter",
    "tflite_runtime": "tflite_runtime.interpreter",
}
"""The modules that wheels bring, and that a new environment must be able to import."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """What a device has now. `place` is the folder there, `sent_bytes` what travelled."""

    device: str
    place: str
    python: str
    packages: Mapping[str, str]
    sent_bytes: int


def set_up(
    address: str,
    *,
    wheels: Path | None = None,
    bundle: Path | None = None,
    runtimes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Provision:
    """Give a device numpy and runtimes, in edgegen's own folder there, and try them.

    `runtimes` are what it is to have, `onnxruntime` unless told. `wheels` is a folder whose wheels
    are all installed; nothing is fetched then. `bundle` is an archive of `edgegen runner build`.
    Both bring their own runtime. Raises ConfigError for a runtime that no wheels are pinned of,
    DeviceError where the device cannot be reached or no wheel fits it, and what fetching raises.
    """
    progress = progress or SilentProgress()
    if address == LOCAL:
        raise ConfigError(
            "This machine runs edgegen's own Python: there is nothing to set up.",
            hint="What it lacks is told by: edgegen doctor",
        )
    pinned = tuple(dict.fromkeys(_package_of(name) for name in runtimes)) or (RUNTIME,)
    if runtimes and (wheels is not None or bundle is not None):
        raise ConfigError(
            "--runtime chooses among the wheels that edgegen knows; a folder of wheels and a "
            "bundle bring their own.",
            hint="Leave --runtime out.",
        )
    transport = open_transport(address)
    try:
        return _set_up(transport, wheels, bundle, pinned, progress)
    finally:
        transport.close()


def _package_of(runtime: str) -> str:
    """Return the name on PyPI of a runtime that wheels are pinned of."""
    name = runtime.replace("_", "-")
    if name not in PINNED:
        raise ConfigError(f"No wheels of {runtime!r} are pinned.", hint=nearest(name, PINNED))
    return name


def _set_up(
    transport: Transport,
    wheels: Path | None,
    bundle: Path | None,
    runtimes: Sequence[str],
    progress: Progress,
) -> Provision:
    address = transport.address
    if bundle is None and not address.startswith("adb://"):
        try:
            with Device(transport, pack_runner()) as device:
                return _from_wheels(device, wheels, progress, runtimes)
        except NoPythonError:
            if wheels is not None:
                raise
    elif wheels is not None:
        raise ConfigError(
            "Android has no Python that wheels could be installed for.",
            hint=f"Leave --wheels out: edgegen devices setup {address} pushes a bundle.",
        )
    if tuple(runtimes) != (RUNTIME,):
        raise ConfigError(
            f"{address} gets a bundle, which brings {RUNTIME} and nothing else.",
            hint="Leave --runtime out, or install Python 3.10 or newer there.",
        )
    platform = _platform_of(transport)
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


def _from_wheels(
    device: Device,
    folder: Path | None,
    progress: Progress,
    runtimes: Sequence[str] = (RUNTIME,),
) -> Provision:
    device.agent.lock("devices setup")
    if folder is None:
        files = _pinned(device, runtimes, progress)
    else:
        files = _wheels_in(folder)
    blobs = [
        File(path=path.name, source=path, sha256=sha256_of(path), size_bytes=path.stat().st_size)
        for path in files
    ]
    _check_room(device, sum(blob.size_bytes for blob in blobs))
    sent = send_blobs(device, blobs, progress)
    key = hashlib.sha256("".join(sorted(blob.sha256 for blob in blobs)).encode()).hexdigest()[:16]
    names = {path.name.partition("-")[0] for path in files}
    try:
        with progress.step("environment"):
            device.agent.request(
                "set_up",
                name=f"python-{device.facts.python}-{key}",
                wheels=[[blob.path, blob.sha256] for blob in blobs],
                modules=sorted({_MODULES[name] for name in names if name in _MODULES}),
                answer_s=_SETUP_S,
            )
    except DeviceError as error:
        if "libstdc++" in error.message:
            raise MissingDependencyError(
                f"{device.address} lacks the C++ library that numpy needs.",
                hint="Install it there: sudo apt-get install libstdc++6. Then repeat this.",
            ) from error
        raise
    return _try(device, sent)


def _check_room(device: Device, wheels_bytes: int) -> None:
    free = device.facts.free_bytes
    wanted = int(wheels_bytes * _INSTALLED)
    if free is not None and free < wanted:
        raise DeviceFullError(
            f"{device.address} has {free / 1e6:.0f} MB free; the wheels and what they hold need "
            f"{wanted / 1e6:.0f} MB.",
            hint=f"Free some space there: edgegen prune --device {device.address}",
        )


def _pinned(device: Device, runtimes: Sequence[str], progress: Progress) -> list[Path]:
    facts = device.facts
    major, minor = (int(part) for part in facts.python.split(".")[:2])
    pins = [
        pin
        for runtime in runtimes
        for pin in wheels_for(
            (major, minor), facts.system, facts.machine, facts.glibc, runtime=runtime
        )
    ]
    return list(download(tuple(dict.fromkeys(pins)), cache_folder() / "wheels", progress))


def _wheels_in(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("*.whl") if _WHEEL.fullmatch(path.name))
    names = {path.name.partition("-")[0] for path in found}
    if "numpy" not in names or not names - {"numpy"}:
        raise ConfigError(
            f"{folder} has no wheels of numpy and a runtime.",
            hint="Fetch them where there is a network: pip download --only-binary :all: "
            "--platform manylinux_2_28_aarch64 --python-version 3.11 numpy onnxruntime",
        )
    return found


def _platform_of(transport: Transport) -> str:
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
        raise MissingDependencyError(
            f"{transport.address} has no Python that is new enough, and is no 64-bit Arm Linux but "
            f"{system!r}, for which there is no bundle.",
            hint="Install Python 3.9 or newer there: sudo apt install python3",
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
    for name in dict.fromkeys(PACKAGES[each] for each in there if each in PACKAGES):
        hello = _hello(device, name)
        python = hello.python
        packages.update({"numpy": hello.numpy, hello.runtime.name: hello.runtime.version})
    return Provision(
        device=device.address,
        place=command[-1].rpartition("/")[0],
        python=python,
        packages=packages,
        sent_bytes=sent_bytes,
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
