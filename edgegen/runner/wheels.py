"""The wheels of numpy and a runtime for a device: chosen by its Python and system, fetched by pip.

They are fetched here, because a board is often without pip, a compiler or the internet.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgegen_runner.runtimes import DEFAULT

from edgegen.core.codec import load_toml
from edgegen.core.environment import NETWORK
from edgegen.core.errors import DeviceError, IntegrityError, MissingDependencyError, ResourceError
from edgegen.core.files import sha256_of, translate_disk_errors
from edgegen.core.process import ProcessError, run
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.shipped import shipped

OLDEST_PYTHON = (3, 9)

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Other words for a machine of Linux; a Mac says arm64 itself."""
_GLIBC = re.compile(r"manylinux_(\d+)_(\d+)_")
_DOWNLOAD_S = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One wheel: an exact version for one Python (`3.11`) and system, and its bytes' hash.

    `tag` is the platform tag of the oldest system that it runs on (PEP 425, PEP 600).
    """

    name: str
    version: str
    python: str
    system: str
    machine: str
    tag: str
    sha256: str

    @property
    def glibc(self) -> tuple[int, int] | None:
        """Return the oldest glibc that the wheel runs with; None where it is not for Linux."""
        found = _GLIBC.match(self.tag)
        return None if found is None else (int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pins:
    wheels: tuple[Pin, ...]


def wheels_for(
    python: tuple[int, int],
    system: str,
    machine: str,
    glibc: tuple[int, int] | None,
    *,
    runtime: str = DEFAULT.package,
) -> tuple[Pin, ...]:
    """Return the pins of numpy and a runtime for a device.

    `system` and `machine` are what `platform.system()` and `platform.machine()` say there, `glibc`
    is its C library's version, None where it has none. The version of a Mac's macOS is not asked:
    the tags say which one a wheel needs. Raises DeviceError, with the reason, where there are none.
    """
    version = f"{python[0]}.{python[1]}"
    if python < OLDEST_PYTHON:
        raise DeviceError(
            f"The device's Python is {version}; the runner needs 3.9 or newer.",
            hint="Install a newer Python there (JetPack 6 has 3.10), or push a bundle, which has "
            "its own: edgegen runner build --platform linux-arm64",
        )
    if system == "Linux":
        machine = _MACHINES.get(machine.lower(), machine.lower())
    here = [pin for pin in _pins() if (pin.system, pin.machine) == (system, machine)]
    if not here:
        raise DeviceError(_why_none(system, machine, runtime), hint=_hint_for(machine, runtime))
    fitting = [pin for pin in here if pin.python == version and pin.name in ("numpy", runtime)]
    if len(fitting) != 2:
        pythons = {pin.python for pin in here if pin.name == runtime}
        known = ", ".join(sorted(pythons, key=_numbers))
        others = ", ".join(sorted({pin.name for pin in here} - {"numpy", runtime}))
        raise DeviceError(
            f"No wheels of numpy and {runtime} are known for Python {version} on {machine}.",
            hint=f"Use another Python there. Known: {known}."
            if known
            else f"There is none of {runtime} for it; there is of {others}.",
        )
    for pin in fitting:
        if pin.glibc is None:
            continue
        if glibc is None:
            raise DeviceError(
                f"The device's C library is not glibc, and {pin.name} has wheels for glibc alone.",
                hint=_hint_for(machine, runtime),
            )
        if glibc < pin.glibc:
            raise DeviceError(
                f"The device has glibc {glibc[0]}.{glibc[1]}; {pin.name} {pin.version} needs "
                f"{pin.glibc[0]}.{pin.glibc[1]} or newer.",
                hint=f"Use a newer system there. {_hint_for(machine, runtime)}".strip(),
            )
    return tuple(fitting)


def download(
    pins: tuple[Pin, ...], folder: Path, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Fetch wheels into `folder` with pip, and return their paths in the order of `pins`.

    A wheel that lies there with the right hash is not fetched again. Raises MissingDependencyError
    where this Python has no pip, ResourceError where the index cannot be reached or lacks a wheel,
    and IntegrityError where a wheel's bytes are not those of the pin.
    """
    progress = progress or SilentProgress()
    with translate_disk_errors(folder, setting="EDGEGEN_CACHE_DIR"):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with progress.step("wheels", unit="bytes") as step:
        for pin in pins:
            step.describe(f"{pin.name} {pin.version}")
            path = _found(pin, folder) or _fetch(pin, folder)
            step.advance(path.stat().st_size)
            paths.append(path)
    return tuple(paths)


@cache
def _pins() -> tuple[Pin, ...]:
    return load_toml(_Pins, shipped("device_runners") / "wheels.toml").wheels


def _fetch(pin: Pin, folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise MissingDependencyError(
            "pip is not installed beside edgegen, and fetches the wheels for devices.",
            hint=f"{sys.executable} -m ensurepip",
        )
    arguments = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary", ":all:", "--implementation", "cp"),
        *("--python-version", pin.python, "--platform", pin.tag),
        *("--dest", str(folder), f"{pin.name}=={pin.version}"),
    ]
    try:
        run(arguments, timeout_s=_DOWNLOAD_S, besides=NETWORK)
    except ProcessError as error:
        errors = [line for line in error.tail.splitlines() if line.startswith("ERROR:")]
        raise ResourceError(
            f"pip could not fetch {pin.name} {pin.version} for {pin.tag}"
            + (f": {errors[-1].removeprefix('ERROR:').strip()}" if errors else "."),
            hint="Check the network and pip's index: " + " ".join(arguments[1:]),
        ) from error
    path = _found(pin, folder)
    if path is None:
        raise IntegrityError(
            f"The wheel of {pin.name} {pin.version} for {pin.tag} is not the one that is pinned: "
            "no file with its sha256 came.",
            hint="An index between here and PyPI serves another file; look at `pip config list`.",
        )
    return path


def _found(pin: Pin, folder: Path) -> Path | None:
    """Return the wheel of a pin where it lies in a folder, whole."""
    pattern = f"{pin.name.replace('-', '_')}-{pin.version}-*.whl"
    for path in sorted(folder.glob(pattern)):
        if sha256_of(path) == pin.sha256:
            return path
    return None


def _why_none(system: str, machine: str, runtime: str) -> str:
    if system == "Linux" and machine.startswith("arm"):
        return (
            f"PyPI has no wheel of numpy or {runtime} for 32-bit ARM ({machine}), so this device "
            "cannot be set up."
        )
    return f"No wheels of numpy and {runtime} are known for {system} on {machine}."


def _hint_for(machine: str, runtime: str) -> str:
    if machine.startswith("arm") and machine != "arm64":
        return "A Raspberry Pi from the 3 on runs a 64-bit system: install that."
    if machine == "aarch64":
        return (
            "A bundle brings its own Python and C library: edgegen runner build "
            "--platform linux-arm64"
        )
    return (
        f"Use a system with glibc (Debian, Ubuntu), or install numpy and {runtime} there from its "
        "own packages: edgegen takes what its Python has."
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
