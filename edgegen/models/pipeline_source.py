"""Where a pipeline's configurations and weights come from.

Processes hand on a `SourceSpec`, a value that each of them opens. A new kind of source is a file
with a class, and a line in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgegen.core.errors import SourceError, nearest
from edgegen.models.weight_source import WeightSource
from edgegen.models.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source that isn't open: its kind, and the absolute path of what it reads."""

    kind: str
    path: str


class PipelineSource(Protocol):
    """An opened source. `configs` is a folder with all of a diffusers folder but its weights."""

    @property
    def configs(self) -> Path:
        """Return where `model_index.json`, configurations and tokenizers lie."""
        ...

    def weights(self, folder: str, variant: str | None = None) -> WeightSource:
        """Return the weights of a component's folder. Raises SourceError."""
        ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A diffusers folder, whose weights lie in safetensors beside the configurations."""

    configs: Path

    def weights(self, folder: str, variant: str | None = None) -> Weights:
        """Read the headers of a component's weights. Raises SourceError."""
        return Weights.open(self.configs / folder, variant)


SOURCES: Mapping[str, Callable[[Path], PipelineSource]] = {"folder": FolderSource}
"""The kinds of sources."""


def folder_source(path: Path) -> SourceSpec:
    """Return a diffusers folder as a source."""
    return SourceSpec(kind="folder", path=str(path.absolute()))


def open_source(spec: SourceSpec) -> PipelineSource:
    """Open a source. Raises SourceError for an unknown kind."""
    if spec.kind not in SOURCES:
        raise SourceError(
            f"There is no kind of source '{spec.kind}'.", hint=nearest(spec.kind, SOURCES)
        )
    return SOURCES[spec.kind](Path(spec.path))
