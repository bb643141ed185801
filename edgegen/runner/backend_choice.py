"""Which runtime, provider and threads a package is run with, where the user did not say.

The package's target says which runtimes can; the device's profile, or what is installed, says which
of them does.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edgegen.core.errors import ConfigError, MissingDependencyError, nearest
from edgegen.core.profile import DeviceProfile
from edgegen.devices.device import Device
from edgegen.devices.match import matching_profile
from edgegen.runner.job import Backend, MemoryMode
from edgegen.runner.wheels import PINNED

RUNTIMES: Mapping[str, tuple[str, ...]] = {
    "coreml": ("coreml", "coreml_reference"),
    "onnx": ("onnxruntime",),
    "openvino": ("openvino",),
    "tflite": ("ai_edge_litert", "tflite_runtime"),
}
"""A target -> the runner's backends that run its packages, the first choice first."""

HOST_BACKENDS: Mapping[str, str] = {"coreml_reference": "edgegen.mil.runner_child"}
"""A backend that this machine alone has -> the module that runs the runner with it.

It computes what the package says, slowly, where the target's own runtime does not exist; nothing
that it does is timed.
"""

_IMPORTED: Mapping[str, str] = {"coreml": "coremltools", "coreml_reference": "torch"}
"""A backend -> the module that it imports, where that is called otherwise."""

_ONLY_ON: Mapping[str, str] = {"coreml": "darwin"}
"""A backend -> the platform that has its runtime; elsewhere the module is there in vain."""

PACKAGES: Mapping[str, str] = {
    "coreml": "coreml",
    "coremltools": "coreml",
    "onnxruntime": "onnxruntime",
    "onnxruntime-gpu": "onnxruntime",
    "onnxruntime-c": "onnxruntime",
    "openvino": "openvino",
    "ai-edge-litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
}
"""A runtime's package, as pip or a profile calls it -> the backend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user asked for; None and an empty tuple are: what the device's profile says.

    `profile` takes the place of the one that fits the device.
    """

    profile: DeviceProfile | None = None
    runtime: str | None = None
    providers: tuple[str, ...] = ()
    threads: int | None = None
    memory: MemoryMode | None = None


def choose_backend(device: Device, target: str, wishes: Wishes) -> Backend:
    """Return what runs a target's packages on a device.

    This machine has no profile of its own: there the runtime's choice stands. A provider that a
    profile names and that is not there is an error of the runner's, never a silent fallback. Raises
    ConfigError where no runtime runs the target, or not the one that was asked for, and
    MissingDependencyError where the device does not have it, with what brings it.
    """
    if device.is_local:
        return backend_here(target, wishes)
    facts = device.facts
    packages = () if facts.runtime is None else facts.runtime.packages
    installed = {PACKAGES[name] for name in packages if name in PACKAGES}
    profile = wishes.profile or matching_profile(facts)
    backend = backend_of(profile, target, wishes, installed)
    if backend.name in installed or (facts.runtime is not None and not installed):
        return backend
    has = ", ".join(sorted(installed)) or "no Python with numpy and a runtime"
    raise MissingDependencyError(
        f"{device.address} has {has}, not {backend.name}, which is to run this {target} package.",
        hint=_how_to_get(backend.name, device.address, target),
    )


def backend_here(target: str, wishes: Wishes) -> Backend:
    """Return what runs a target's packages on this machine, in edgegen's own Python."""
    names = RUNTIMES.get(target, ())
    usable = [name for name in names if _ONLY_ON.get(name, sys.platform) == sys.platform]
    installed = {
        name for name in usable if importlib.util.find_spec(_IMPORTED.get(name, name)) is not None
    }
    # Where nothing is installed, the first that could be is the one to ask for.
    return backend_of(wishes.profile, target, wishes, installed or usable[:1])


def backend_of(
    profile: DeviceProfile | None, target: str, wishes: Wishes, installed: Collection[str] = ()
) -> Backend:
    """Return the wishes, completed by what a profile says of a target's runtime.

    `installed` are the backends that are there; where neither the user nor the profile says, the
    first of them that fits is taken, and the target's first choice where none does. Raises
    ConfigError for a target that nothing runs, and a runtime that does not run the target.
    """
    options = None if profile is None else profile.runtime(target)
    if wishes.profile is not None and options is None:
        known = ", ".join(each.target for each in wishes.profile.runtimes)
        raise ConfigError(
            f"The profile {wishes.profile.name} names no runtime for packages of the target "
            f"{target!r}.",
            hint=f"It has {known or 'none'}. Leave out --profile, or give another one.",
        )
    providers, threads = wishes.providers, wishes.threads
    package = wishes.runtime
    if options is not None:
        package = package or options.package
        providers = providers or options.providers
        threads = threads or options.threads
    return Backend(
        name=_runtime(target, package, installed),
        providers=providers or None,
        threads=threads,
        memory=wishes.memory,
    )


def _how_to_get(runtime: str, address: str, target: str) -> str:
    """Return the command that gives a device a runtime, beside those that it has."""
    if runtime == "coreml":
        return "Core ML is a part of macOS: on a Mac, install coremltools there."
    package = runtime.replace("_", "-")
    if package not in PINNED:
        return f"Install it there, or leave --runtime to {RUNTIMES[target][0]}."
    return f"edgegen devices setup {shlex.quote(address)} --runtime {package}"


def _runtime(target: str, package: str | None, installed: Collection[str]) -> str:
    if target not in RUNTIMES:
        raise ConfigError(
            f"No runtime is known for packages of the target {target!r}.",
            hint=nearest(target, RUNTIMES),
        )
    names = RUNTIMES[target]
    if package is None:
        return next((name for name in names if name in installed), names[0])
    name = PACKAGES.get(package.replace("_", "-"), package)
    if name not in names:
        raise ConfigError(
            f"{package} does not run packages of the target {target!r}.",
            hint=f"What does: {', '.join(names)}.",
        )
    return name
