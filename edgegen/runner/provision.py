"""Gives a device what the runner needs: an environment of pinned wheels, or a bundle."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import (
    ConfigError,
    ConnectionLostError,
    DeviceBusyError,
    DeviceError,
    DeviceFullError,
    IntegrityError,
    MissingDependencyError,
    ResourceError,
    nearest,
)
from edgegen.core.files import sha256_of
from edgegen.core.folders import cache_folder
from edgegen.core.process import Child, ProcessError
from edgegen.core.progress import Progress, SilentProgress
from edgegen.devices.agent import NoPythonError
from edgegen.devices.device import Device
from edgegen.devices.store import File, send_blobs
from edgegen.devices.transports import LOCAL, Transport, open_transport
from edgegen.runner.backend_choice import PACKAGES
from edgegen.runner.bundle.build import Bundle, build_bundle, read_bundle
from edgegen.runner.job import Backend, DescribeJob
from edgegen.runner.pack import pack_runner
from edgegen.runner.protocol import Hello
from edgegen.runner.session import RunnerSession
from edgegen.runner.wheels import PINNED, RUNTIME, download, wheels_for

_SETUP_S = 1800.0
_ANSWER_S = 300.0
_PIECE_BYTES = 1 << 20
_INSTALLED = 5.0  # wheels, and what they unpack to
_UNPACKED = 2.2  # the archive, and what it holds, and some air
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
    chosen = read_bundle(bundle) if bundle is not None else _bundle_for(transport, progress)
    sent = _push_bundle(transport, chosen, progress)
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


def _bundle_for(transport: Transport, progress: Progress) -> Bundle:
    if transport.address.startswith("adb://"):
        return build_bundle("android-arm64", progress=progress)
    system = _ask(transport, "uname -sm")
    if system != "Linux aarch64":
        raise MissingDependencyError(
            f"{transport.address} has no Python that is new enough, and is no 64-bit Arm Linux but "
            f"{system!r}, for which there is no bundle.",
            hint="Install Python 3.9 or newer there: sudo apt install python3",
        )
    return build_bundle("linux-arm64", progress=progress)


def _ask(transport: Transport, command: str) -> str:
    with transport.start(["sh", "-c", command]) as child:
        lines = list(child.lines(silence_s=_ANSWER_S))
        child.wait(_ANSWER_S)
        fault = transport.fault(child.returncode or 0, child.log_tail())
    if fault is not None:
        raise fault
    return lines[-1].strip() if lines else ""


_SCRIPT = """\
set -e
mkdir -p {home}/runtimes
if command -v flock >/dev/null 2>&1; then
    exec 9>>{home}/lock
    flock -n 9 || {{ echo busy; exit 0; }}
fi
cd {home}/runtimes
if [ ! -f {folder}/bundle.json ]; then
    have=0
    [ -f .{folder}.tar ] && have=$(wc -c < .{folder}.tar)
    [ "$have" -gt {size} ] && have=0
    set -- $(df -Pk . | tail -n 1)
    echo "need" $have $4
    read -r answer
    [ "$answer" = go ] || exit 0
    [ "$have" -gt 0 ] || : > .{folder}.tar
    head -c $(({size} - have)) >> .{folder}.tar
    [ "$(wc -c < .{folder}.tar)" -eq {size} ] || exit 3 # the connection broke: what came stays
    set -- $(sha256sum .{folder}.tar)
    if [ "$1" != {sha256} ]; then
        rm -f .{folder}.tar
        echo mismatch
        exit 0
    fi
    rm -rf .{folder}.part {folder}
    mkdir .{folder}.part
    tar -xf .{folder}.tar -C .{folder}.part
    mv .{folder}.part/{folder} {folder}
    rm -rf .{folder}.part .{folder}.tar
fi
cd ..
rm -f .runtime.new
ln -s runtimes/{folder} .runtime.new
mv -T .runtime.new runtime 2>/dev/null || {{ rm -f runtime; mv .runtime.new runtime; }}
echo ready
"""
"""The device has no Python yet: its shell takes the archive, resumes it, and checks its hash.

`read` takes one line, byte by byte as POSIX has it, so that `head` gets all that follows.
"""


def _push_bundle(transport: Transport, bundle: Bundle, progress: Progress) -> int:
    """Push a bundle where it is not there, let `runtime` point to it, and return what travelled."""
    script = _SCRIPT.format(
        home=transport.home,
        folder=bundle.folder,
        size=bundle.size_bytes,
        sha256=bundle.sha256,
    )
    with transport.start(["sh", "-c", script]) as child:
        try:
            lines = child.lines(silence_s=_ANSWER_S)
            word, _, rest = next(lines, "").partition(" ")
            sent = 0
            if word == "need":
                sent = _send(transport, child, bundle, rest, progress)
                word = next(lines, "")
            if word == "busy":
                raise DeviceBusyError(
                    f"{transport.address} is in use by another command.",
                    hint="Wait for its end, or ask its owner.",
                )
            if word == "mismatch":
                raise IntegrityError(
                    f"The bundle did not come whole to {transport.address}.",
                    hint="Retry: it will be sent anew.",
                )
            if word != "ready":
                child.wait(_ANSWER_S)
                raise _push_failed(transport, child)
            child.wait(_ANSWER_S)
        except ProcessError as error:
            raise _push_failed(transport, child) from error
    return sent


def _send(transport: Transport, child: Child, bundle: Bundle, told: str, progress: Progress) -> int:
    words = told.split()
    if not words or not words[0].isdigit():
        raise DeviceError(f"{transport.address} answered {told[:60]!r}, not how much it has.")
    offset = int(words[0])
    free = int(words[1]) << 10 if len(words) > 1 and words[1].isdigit() else None
    wanted = int(bundle.size_bytes * _UNPACKED) - offset
    if free is not None and free < wanted:
        child.send("no")
        raise DeviceFullError(
            f"{transport.address} has {free / 1e6:.0f} MB free; the bundle needs "
            f"{wanted / 1e6:.0f} MB.",
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
                raise ResourceError(f"{bundle.archive} became shorter meanwhile.")
            child.write(piece, stall_s=_ANSWER_S)
            left -= len(piece)
            step.advance(len(piece))
    return bundle.size_bytes - offset


def _push_failed(transport: Transport, child: Child) -> DeviceError:
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
