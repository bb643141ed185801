"""Times each component of a TFLite package by the user's own benchmark_model, on a device.

It is the way to a phone's GPU or NPU without an app. What comes out is a sum of components: neither
the scheduler, nor what happens between the calls, nor one warm process is in it, so it
isn't an image's latency, and is never called that.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import ConfigError, DeviceError, RunnerError
from edgegen.core.files import sha256_of
from edgegen.core.model import Component
from edgegen.core.package import PackageManifest
from edgegen.core.process import ProcessError, describe_exit
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.scratch import ScratchFolder
from edgegen.devices.answers import Place
from edgegen.devices.device import Device
from edgegen.devices.store import File, push, send_blobs, shipment
from edgegen.measure.benchmark_model import BenchmarkModelOptions, command
from edgegen.measure.benchmark_output import BenchmarkModelResult, parse

SCHEMA_VERSION = 1
_SILENCE_S = 1800.0
_MOST_LOG_BYTES = 4 << 20
_NODE_FILE = ".tflite"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentTime:
    """What one component took; `calls` is how often an image calls it."""

    component: str
    calls: int
    result: BenchmarkModelResult

    @property
    def image_s(self) -> float:
        """Return what the component's calls in one image take, by the mean of the runs."""
        return self.calls * self.result.inference.mean_ms / 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentTimes:
    """The components of a package on one device. `emulated` times mean nothing."""

    schema_version: int
    model: str
    recipe: str
    manifest_sha256: str
    device: str
    device_model: str | None
    emulated: bool
    steps: int
    guided: bool
    components: tuple[ComponentTime, ...]

    @property
    def sum_s(self) -> float:
        """Return the sum over the components: a part of an image's latency."""
        return sum(each.image_s for each in self.components)


def measure_components(
    package: Path,
    device: Device,
    program: str,
    options: BenchmarkModelOptions,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    progress: Progress | None = None,
) -> ComponentTimes:
    """Run the tool for each component that an image calls.

    `program` is a file of this machine, which is pushed, or a path on the device. Raises
    ConfigError for a package that is not TFLite, RunnerError where the tool fails or the whole of a
    graph ran on the CPU though an accelerator was wanted, and DeviceError.
    """
    progress = progress or SilentProgress()
    cargo = shipment(package)
    manifest = cargo.manifest
    _check(package, manifest)
    guided = _is_guided(manifest, guidance)
    wanted_steps = steps or manifest.generation.steps
    device.agent.lock(f"bench {cargo.name}")
    tool = _place(device, program, progress)
    stored = push(device, cargo, progress)
    times = []
    for packaged in manifest.components:
        calls = calls_in_an_image(
            packaged.spec,
            steps=wanted_steps,
            predictions=manifest.facts.predictions if guided else 1,
            cache_interval=manifest.generation.cache_interval,
            from_picture=manifest.facts.needs_picture,
        )
        if not calls:
            continue
        graph = posixpath.join(stored.path, packaged.path)
        with progress.step(f"benchmark_model: {packaged.spec.name}"):
            text = _run(device, command(tool, graph, options), options)
        result = parse(text, options)
        if result.fell_back:
            raise RunnerError(
                f"{packaged.spec.name} ran on the CPU, not on the {options.accelerator}.",
                hint="The tool said: "
                + ("; ".join(result.unsupported) or "no reason")
                + ". Ask for --accelerator cpu, or use another recipe.",
            )
        times.append(ComponentTime(component=packaged.spec.name, calls=calls, result=result))
    return ComponentTimes(
        schema_version=SCHEMA_VERSION,
        model=manifest.source.model,
        recipe=manifest.recipe.name,
        manifest_sha256=sha256_of(package / "edgegen.json"),
        device=device.address,
        device_model=device.facts.model,
        emulated=device.facts.emulated,
        steps=wanted_steps,
        guided=guided,
        components=tuple(times),
    )


def calls_in_an_image(
    component: Component,
    *,
    steps: int,
    predictions: int,
    cache_interval: int = 1,
    from_picture: bool = False,
) -> int:
    """Return how often an image calls a component.

    Of each `cache_interval` steps the first calls the whole denoiser, the others the shallow one.
    Guidance compares `predictions`: one call of a graph whose batch is as large or open, as many of
    one whose batch is 1. A picture that it begins `from_picture` is encoded once.
    """
    passes = predictions if _batch(component) == 1 else 1
    whole = math.ceil(steps / cache_interval)
    calls: Mapping[str, int] = {
        "text_encoder": min(passes, 2),
        "denoiser": whole * passes,
        "shallow_denoiser": (steps - whole) * passes,
        "controlnet": steps * passes,
        "encoder": int(from_picture),
        "t2i_adapter": 1,
        "decoder": 1,
    }
    return calls.get(component.role, 0)


def _batch(component: Component) -> int | str | None:
    shape = component.inputs[0].shape if component.inputs else ()
    return shape[0] if shape else None


def _check(package: Path, manifest: PackageManifest) -> None:
    others = [each.path for each in manifest.components if not each.path.endswith(_NODE_FILE)]
    if others:
        raise ConfigError(
            f"benchmark_model runs TFLite graphs; {package} has {others[0]}.",
            hint="Give a package of the target tflite, or leave out --benchmark-model.",
        )


def _is_guided(manifest: PackageManifest, guidance: float | None) -> bool:
    scale = manifest.generation.guidance if guidance is None else guidance
    return manifest.facts.is_guided(scale)


def _place(device: Device, program: str, progress: Progress) -> str:
    """Return the tool's path on the device; a file of this machine is pushed there."""
    source = Path(program)
    if not source.is_file():
        if program.startswith("/"):
            return program
        raise ConfigError(
            f"{program} is neither a file here nor a path on the device, which begins with '/'.",
            hint="Build benchmark_model for the device from LiteRT's sources.",
        )
    device.require_place(executes=True)
    sha256 = sha256_of(source)
    size = source.stat().st_size
    sent = File(path=source.name, source=source, sha256=sha256, size_bytes=size)
    send_blobs(device, [sent], progress)
    return device.agent.ask(Place, "make_tool", sha256=sha256, name="benchmark_model").path


def _run(device: Device, arguments: list[str], options: BenchmarkModelOptions) -> str:
    """Run a program on the device to its end, and return what it wrote to both streams."""
    with ScratchFolder("tool") as folder:
        log = folder / "log"  # the first lines say what ran where: none may be lost
        with closing(device.start_watched(arguments, log=log)) as child:
            try:
                lines = list(child.lines(silence_s=_SILENCE_S))
                code = child.wait(_SILENCE_S)
            except ProcessError as error:
                raise DeviceError(
                    f"benchmark_model gave no answer on {device.address}: {error.message}",
                    hint="It was ended. Try it by hand there.",
                ) from error
            fault = device.transport.fault(code, child.log_tail())
            if fault is not None:
                raise fault
        with log.open("rb") as file:
            told = file.read(_MOST_LOG_BYTES).decode("utf-8", errors="replace")
    text = "\n".join([*lines, told])
    if code != 0:
        parse(text, options)  # which knows the tool's own reasons
        raise RunnerError(
            f"benchmark_model {describe_exit(code)} on {device.address}.",
            hint=f"The end of what it said: {told.strip()[-300:]}",
        )
    return text
