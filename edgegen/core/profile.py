"""Device profiles: facts about one device, and what its owner asks of a package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgegen.core.recipe import Arithmetic

DeviceKind = Literal["phone", "tablet", "board", "laptop", "desktop", "mini-pc"]
OperatingSystem = Literal["linux", "android", "ios", "ipados", "macos", "windows"]
OperatorSet = Literal["contrib", "plain"]
Shapes = Literal["dynamic", "fixed"]
CompilerEffort = Literal[1, 2, 3]
Attention = Literal["original", "split-einsum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Upper limits that a package must meet on one device."""

    latency_s: float | None = None  # p90 of a steady image
    peak_memory_bytes: int | None = None  # highest sum of PSS, file pages included
    package_bytes: int | None = None
    energy_j: float | None = None  # one steady image


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the device is built of. `memory_bytes` is what its data sheet says.

    `chip` names what its NPU's compiler calls the chip (`edgegen.core.chips`).
    """

    soc: str
    cpu: str
    cores: int
    memory_bytes: int
    gpu: str | None = None
    npu: str | None = None
    chip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How one target's runtime is used on the device.

    `package` is the runtime's, as pip or its author calls it, and `version` the release that the
    device has, None where nobody says. `providers` are tried in order (ONNX
    Runtime's execution providers, OpenVINO's devices, XNNPACK); none means the runtime's processor
    alone. `operators` says whether the runtime has the fused `com.microsoft` operators; `shapes`
    whether dynamic axes cost nothing there. `minimum_os` is the oldest version of iOS that the
    package has to run on (Core ML), `attention` the form that the runtime's processor likes,
    `denoiser_batch` how many samples a call of the denoiser takes, with fixed shapes, `width` and
    `height` the size of images in pixels where that is not the model's own, and
    `file_limit_bytes` what a component's file may take before it is cut (of Core ML, and contexts
    for an NPU).
    With `accuracy_level` 4 ONNX Runtime's products with weights in blocks compute in 8 bits, which
    some processors do faster. `lora_as_input` makes graphs whose layers take a LoRA at run time.
    `memory_limit_bytes` is what drawing may take (the highest sum of PSS): `run`, `bench` and
    `deploy` keep within it.
    `arithmetic` is the type in which the runtime computes what a graph gives in float32, None for
    the recipe's own. `chips` has graphs compiled for those chips' NPUs; with `allow_processor` they
    may leave nodes to the processor. `effort` is how hard their compiler tries, 3 the hardest.
    """

    target: str
    package: str
    recipe: str
    version: str | None = None
    providers: tuple[str, ...] = ()
    operators: OperatorSet = "contrib"
    shapes: Shapes = "dynamic"
    threads: int | None = None
    arithmetic: Arithmetic | None = None
    memory_limit_bytes: int | None = None
    minimum_os: int | None = None
    attention: Attention = "original"
    denoiser_batch: Literal[1, 2] | None = None
    width: int | None = None
    height: int | None = None
    file_limit_bytes: int | None = None
    accuracy_level: Literal[0, 1, 4] = 0
    lora_as_input: bool = False
    chips: tuple[str, ...] = ()
    allow_processor: bool = False
    effort: CompilerEffort = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermal:
    """Where the device slows itself down, in degrees Celsius."""

    throttle_c: float | None = None
    critical_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a figure of the profile comes from."""

    figures: tuple[str, ...]
    title: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """One device.

    `models` are shell-style patterns of what the device calls itself (the device tree's model,
    Android's ro.product.model, macOS's hw.model): by them an attached device finds its profile.
    `application_memory_bytes` is what one application may take before the system ends it, and
    `largest_buffer_bytes` what a single buffer of the processor that computes may have, whatever
    the sum; None where nobody says. `sensors` names the readers of the runner that work there.
    """

    name: str
    title: str
    kind: DeviceKind
    os: OperatingSystem
    architecture: str
    hardware: Hardware
    application_memory_bytes: int
    runtimes: tuple[RuntimeOptions, ...]
    largest_buffer_bytes: int | None = None
    models: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()
    thermal: Thermal = field(default_factory=Thermal)
    budget: Budget = field(default_factory=Budget)
    sources: tuple[Source, ...] = ()
    notes: str = ""

    def runtime(self, target: str) -> RuntimeOptions | None:
        """Return the options of one target's runtime, or None where the device has none."""
        return next((options for options in self.runtimes if options.target == target), None)
