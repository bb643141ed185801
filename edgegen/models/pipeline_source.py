"""Where a pipeline's configurations and weights come from.

Processes hand on a `SourceSpec`, a value that each of them opens. A new kind of source is a file
with a class, and a line in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgegen.core.errors import SourceError, nearest
from edgegen.models.adapters.adapted import AdaptedSource
from edgegen.models.adapters.applied import read_adapted
from edgegen.models.open_weights import open_weights
from edgegen.models.weight_source import PipelineSource as PipelineSource
from edgegen.models.weight_source import StoredWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source that isn't open: its kind, and the absolute path of what it reads.

    `adapted` is the folder that was made for the model with adapters, where it has some.
    """

    kind: str
    path: str
    adapted: str | None = None


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A diffusers folder, with its weights beside the configurations or where a layout notes."""

    configs: Path

    def weights(self, folder: str, variant: str | None = None) -> StoredWeights:
        """Read the headers of a component's weights. Raises SourceError."""
        return open_weights(self.configs / folder, variant)


SOURCES: Mapping[str, Callable[[Path], PipelineSource]] = {"folder": FolderSource}
"""The kinds of sources."""


def folder_source(path: Path) -> SourceSpec:
    """Return a diffusers folder as a source, with the adapters that it was made for."""
    adapted = read_adapted(path)
    if adapted is None:
        return SourceSpec(kind="folder", path=str(path.absolute()))
    return replace(folder_source(Path(adapted.base)), adapted=str(path.absolute()))


def open_source(spec: SourceSpec) -> PipelineSource:
    """Open a source. Raises SourceError for an unknown kind."""
    if spec.kind not in SOURCES:
        raise SourceError(
            f"There is no kind of source '{spec.kind}'.", hint=nearest(spec.kind, SOURCES)
        )
    source = SOURCES[spec.kind](Path(spec.path))
    if spec.adapted is None:
        return source
    configs = Path(spec.adapted)
    adapted = read_adapted(configs)
    if adapted is None:
        raise SourceError(
            f"{configs} is gone, which was made for the model with its adapters.",
            hint="Run the command again.",
        )
    return AdaptedSource(base=source, configs=configs, model=adapted)
