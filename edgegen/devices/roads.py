"""Which processor of a device a package reaches by which road, and what of that was shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgegen_runner.contexts import CONTEXTS
from edgegen_runner.runtimes import of_target

from edgegen.core.chips import COMPILED_TARGET, load_chip
from edgegen.core.profile import DeviceProfile, RuntimeOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """How a package of a target gets to a processor of a device.

    `processor` is what computes, `by` the runtime and what of it, `shown` what was shown of that
    and what wasn't. Without a `target` no road leads there.
    """

    profile: str
    processor: str
    target: str | None
    by: str
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Provider:
    processor: str
    shown: str | None = None  # None: as the processor's, by the system


_PROVIDERS: Mapping[str, _Provider] = {
    "CPUExecutionProvider": _Provider(processor="processor"),
    "CPU": _Provider(processor="processor"),
    "XNNPACK": _Provider(processor="processor"),
    "CUDAExecutionProvider": _Provider(processor="GPU", shown="never run on one"),
    "CoreMLExecutionProvider": _Provider(
        processor="Neural Engine, GPU or processor: Core ML chooses", shown="never run"
    ),
    "CPU_AND_NE": _Provider(
        processor="Neural Engine, and processor",
        shown="the same pictures by edgegen's executor on Linux; never run by Core ML",
    ),
    "CPU_AND_GPU": _Provider(
        processor="GPU, and processor",
        shown="the same pictures by edgegen's executor on Linux; never run by Core ML",
    ),
}
_HERE = "the same pictures, measured, on x86-64 Linux"
_BY_SYSTEM: Mapping[tuple[str, str, str], str] = {
    ("linux", "x86_64", "onnx"): _HERE,
    ("linux", "x86_64", "openvino"): _HERE,
    ("linux", "x86_64", "tflite"): _HERE,
    ("linux", "aarch64", "onnx"): "the same pictures on an emulated board; on no real one yet",
    ("android", "aarch64", "onnx"): "the same pictures on an emulated device; on no real one yet",
}
"""What was shown of processors, by system, architecture and target."""

_ELSEWHERE = "the same pictures on x86-64 Linux; not run on such a device"


def roads_of(profile: DeviceProfile) -> tuple[Road, ...]:
    """Return all roads to a device's processors, and its NPU where no road leads there."""
    roads = [_road(profile, options) for options in profile.runtimes]
    roads += _npu(profile)
    return tuple(roads)


def roads_to(target: str, profiles: Iterable[DeviceProfile]) -> tuple[Road, ...]:
    """Return the roads that packages of a target take, profile by profile."""
    return tuple(it for profile in profiles for it in roads_of(profile) if it.target == target)


def _road(profile: DeviceProfile, options: RuntimeOptions) -> Road:
    first = options.providers[0] if options.providers else "CPU"
    known = _PROVIDERS.get(first, _Provider(processor=first, shown="never run"))
    shown = known.shown
    if shown is None:
        shown = _BY_SYSTEM.get((profile.os, profile.architecture, options.target), _ELSEWHERE)
    provider = f", {options.providers[0]}" if options.providers else ""
    return Road(
        profile=profile.name,
        processor=known.processor,
        target=options.target,
        by=f"{options.package}{provider}",
        shown=shown,
    )


def _npu(profile: DeviceProfile) -> Iterable[Road]:
    hardware = profile.hardware
    if hardware.chip is not None:
        chip = load_chip(hardware.chip)
        package = of_target(CONTEXTS)[0].package
        if chip.float16:
            yield Road(
                profile=profile.name,
                processor="NPU",
                target=COMPILED_TARGET,
                by=f"{package}, package --npu",
                shown="the same pictures in Qualcomm's emulator; on no real NPU yet",
            )
            return
        why = f"the NPU of {chip.title} computes integers only, and every recipe has floats"
    elif hardware.npu is not None and not any(
        "NE" in provider or provider.startswith("CoreML")
        for options in profile.runtimes
        for provider in options.providers
    ):
        why = "--npu compiles for Qualcomm's NPUs only; LiteRT's delegates of NPUs aren't used"
    else:
        return
    yield Road(profile=profile.name, processor="NPU", target=None, by="no road", shown=why)
