"""The folder of a pipeline on this machine, and where its files may really lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgegen.builtin.folder import PREFIX, SHIPPED
from edgegen.core.folders import cache_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A pipeline's folder.

    `source` is what the user typed, `revision` the hub's commit, `variant` the one of which weights
    are taken where a component has it.
    """

    path: Path
    source: str
    revision: str | None = None
    variant: str | None = None

    @property
    def name(self) -> str:
        """Return what a folder of its packages is called: `emoji`, or a hub id's second half."""
        if self.source.startswith(PREFIX) or Path(self.source).exists():
            return self.path.resolve().name
        return self.source.partition("@")[0].rpartition("/")[2]


def model_roots(folder: Path) -> tuple[Path, ...]:
    """Return the folders that the files of a model may really lie in.

    In a hub's cache all are links to its `blobs`; built-in models share files with one another.
    """
    place = folder.resolve()
    if place.parent.name == "snapshots":
        return folder, place.parents[1] / "blobs"
    if place.is_relative_to((cache_folder() / "builtin").resolve()):
        return folder, SHIPPED
    return (folder,)
