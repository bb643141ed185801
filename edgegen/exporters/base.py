"""What an exporter is, and the table of those that there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from edgegen.core.errors import ConfigError, nearest
from edgegen.core.model import Component, NativeTensor
from edgegen.core.profile import Attention, OperatorSet, Shapes
from edgegen.core.recipe import Recipe
from edgegen.models.pipeline_source import SourceSpec

if TYPE_CHECKING:
    from edgegen.exporters.capture import Capture
    from edgegen.models.binding import BoundTensor
    from edgegen.models.weight_source import WeightSource

EXPORTERS: Mapping[str, str] = {
    "coreml": "edgegen.exporters.coreml.exporter:CoreMlExporter",
    "onnx": "edgegen.exporters.onnx.exporter:OnnxExporter",
    "openvino": "edgegen.exporters.openvino.exporter:OpenVinoExporter",
    "tflite": "edgegen.exporters.tflite.exporter:TfliteExporter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """One component to convert: what it is, the pipeline that it is of, and where it goes."""

    target: str
    component: Component
    source: SourceSpec
    destination: str
    recipe: Recipe
    operators: OperatorSet
    shapes: Shapes
    calibration: str | None = None  # the file of `edgegen.core.calibration.Calibration`
    minimum_os: int | None = None
    attention: Attention = "original"
    file_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What an exporter wrote: the file that the runtime opens, relative to the destination.

    `natives` are the tensors that are called otherwise in it, or laid out otherwise.
    """

    path: str
    storage_bytes: int
    operator_sets: Mapping[str, int]
    toolkits: Mapping[str, str]
    natives: Mapping[str, NativeTensor] = field(default_factory=dict)


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


def load_exporter(target: str) -> Exporter:
    """Return the exporter of a target. Raises ConfigError for an unknown one."""
    if target not in EXPORTERS:
        raise ConfigError(f"There is no target '{target}'.", hint=nearest(target, EXPORTERS))
    module_name, _, class_name = EXPORTERS[target].partition(":")
    make = cast("Callable[[], Exporter]", getattr(importlib.import_module(module_name), class_name))
    return make()
