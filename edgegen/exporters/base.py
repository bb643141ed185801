"""What an exporter is, and the table of those that there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from edgegen.core.errors import ConfigError, nearest
from edgegen.core.model import Component, LoraInput, NativeTensor
from edgegen.core.profile import CompilerEffort, DeviceProfile, RuntimeOptions, Shapes
from edgegen.core.recipe import Recipe
from edgegen.core.target import TargetSpec
from edgegen.exporters.options import TargetOptions
from edgegen.models.pipeline_source import SourceSpec
from edgegen.reference.child import GoldenJobs

if TYPE_CHECKING:
    from edgegen.exporters.capture import Capture
    from edgegen.models.binding import BoundTensor
    from edgegen.models.weight_source import WeightSource


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCode:
    """Where the code of a target is, as `module:name`: its exporter, and what resolves its options.

    The module that resolves options is imported by commands, and imports no toolkit.
    """

    exporter: str
    options: str = "edgegen.exporters.options:resolve_none"


EXPORTERS: Mapping[str, TargetCode] = {
    "coreml": TargetCode(
        exporter="edgegen.exporters.coreml.exporter:CoreMlExporter",
        options="edgegen.exporters.coreml.options:resolve",
    ),
    "onnx": TargetCode(
        exporter="edgegen.exporters.onnx.exporter:OnnxExporter",
        options="edgegen.exporters.onnx.options:resolve",
    ),
    "openvino": TargetCode(exporter="edgegen.exporters.openvino.exporter:OpenVinoExporter"),
    "tflite": TargetCode(
        exporter="edgegen.exporters.tflite.exporter:TfliteExporter",
        options="edgegen.exporters.tflite.options:resolve",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """One component to convert: what it is, the pipeline that it is of, and where it goes.

    `options` are the target's own (`TargetOptions`), encoded: its exporter decodes them.
    """

    target: str
    component: Component
    source: SourceSpec
    destination: str
    recipe: Recipe
    shapes: Shapes
    options: Mapping[str, Any] = field(default_factory=dict)
    calibration: str | None = None  # the file of `edgegen.core.calibration.Calibration`


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledComponent:
    """What a compiler of an NPU made of a component, in how many contexts.

    `on_processor` counts the nodes that it didn't take; `effort` is how hard it tried, 1 to 3.
    """

    compiler: str
    sdk: str
    vtcm_bytes: int
    on_processor: int
    contexts: int = 1
    effort: CompilerEffort = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What an exporter wrote: the file that the runtime opens, relative to the destination.

    `natives` are the tensors that are called otherwise in it, or laid out otherwise, `lora_inputs`
    the layers that take a LoRA at run time. `compiled` has what the compiler made for each chip, by
    the chip's name; `storage_bytes` is then what the largest of them takes.
    """

    path: str
    storage_bytes: int
    operator_sets: Mapping[str, int]
    toolkits: Mapping[str, str]
    natives: Mapping[str, NativeTensor] = field(default_factory=dict)
    lora_inputs: Mapping[str, LoraInput] = field(default_factory=dict)
    compiled: Mapping[str, CompiledComponent] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OpenedComponent:
    """A traced component, its weight files, and which tensor of them each parameter is."""

    capture: Capture
    weights: WeightSource
    bound: Mapping[str, BoundTensor]


class ExportProgress(Protocol):
    """Hears of the steps of an export and, inside one, of bytes."""

    def step(self, name: str, total_bytes: int | None = None) -> None:
        """Begin a step."""

    def advance(self, size_bytes: int) -> None:
        """Say that so many bytes more are done."""

    def warn(self, text: str) -> None:
        """Say what the user should know of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJobs:
    """The components of one or more packages of a model; those of a package have one target."""

    packages: tuple[tuple[ExportJob, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverterJob:
    """What the exporter's process does next: it exports, or has torch make golden cases."""

    exports: ExportJobs | None = None
    goldens: GoldenJobs | None = None


class Exporter(Protocol):
    """Converts one component into one artifact."""

    def prepare(self) -> None:
        """Import the toolkits, once for all components. Raises ImportError where one is missing."""

    def export(
        self, job: ExportJob, opened: OpenedComponent, progress: ExportProgress
    ) -> ExportResult:
        """Write the artifact of an opened component into `job.destination`, an empty folder.

        Raises SourceError for weights that cannot be used, ExportError for a graph that the target
        cannot hold.
        """


class ResolveOptions(Protocol):
    """What resolves a target's options."""

    def __call__(
        self,
        target: TargetSpec,
        recipe: Recipe,
        runtime: RuntimeOptions,
        profile: DeviceProfile | None,
    ) -> TargetOptions:
        """Return the options of a package by a recipe, for the runtime of a profile.

        Without a profile the runtime has its defaults. Raises ConfigError where recipe and profile
        contradict each other.
        """


def load_exporter(target: str) -> Exporter:
    """Return the exporter of a target. Raises ConfigError for an unknown one."""
    return cast("Callable[[], Exporter]", _load(_code_of(target).exporter))()


def resolve_options(
    target: TargetSpec, recipe: Recipe, runtime: RuntimeOptions, profile: DeviceProfile | None
) -> TargetOptions:
    """Return a target's own options for a package; see `ResolveOptions`."""
    resolve = cast("ResolveOptions", _load(_code_of(target.name).options))
    return resolve(target, recipe, runtime, profile)


def _code_of(target: str) -> TargetCode:
    if target not in EXPORTERS:
        raise ConfigError(f"There is no target '{target}'.", hint=nearest(target, EXPORTERS))
    return EXPORTERS[target]


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
