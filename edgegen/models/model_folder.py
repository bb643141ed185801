"""The folder of a pipeline on this machine, and where its files may really lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgegen.builtin.folder import PREFIX, SHIPPED
from edgegen.core.folders import cache_folder
from edgegen.core.reading import AS_IT_IS, Reading
from edgegen.models.adapters.applied import facts_of_adapters, read_adapted
from edgegen.models.layouts import LayoutNote, layout_of
from edgegen.models.origin import MADE_PLACE

_UNUSUAL = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A pipeline's folder.

    `source` is what the user typed, `revision` the hub's commit, `variant` the one of which weights
    are taken where a component has it, and `reading` what else was said. Nobody typed the source of
    a pruned model that lies in the cache: it is words that say what was made.
    """

    path: Path
    source: str
    revision: str | None = None
    variant: str | None = None
    reading: Reading = AS_IT_IS

    @property
    def name(self) -> str:
        """Return what a folder of its packages is called: `emoji`, or a hub id's second half.

        Names of adapters follow: `emoji-watercolour`.
        """
        adapters = (_UNUSUAL.sub("_", it.name) for it in facts_of_adapters(self.path))
        return "-".join((self._own_name, *adapters))[:_LONGEST_NAME]

    @property
    def is_made_here(self) -> bool:
        """Return whether it is a pruned model of the cache, which its path finds and no source."""
        return self.path.is_relative_to(cache_folder() / MADE_PLACE)

    @property
    def layout(self) -> LayoutNote | None:
        """Return what it was laid out from, None where it is a diffusers folder."""
        return layout_of(self.base)

    @property
    def base(self) -> Path:
        """Return the folder of the model without its adapters, which is where its weights are."""
        adapted = read_adapted(self.path)
        return self.path if adapted is None else Path(adapted.base)

    @property
    def _own_name(self) -> str:
        layout = self.layout
        if layout is not None:
            return layout.name
        if self.is_made_here:
            return self.path.name
        if self.source.startswith(PREFIX):
            return self.source.removeprefix(PREFIX)
        if Path(self.source).exists():
            return Path(self.source).resolve().name
        name, _, inner = self.source.partition(":")
        return (inner or name.partition("@")[0]).rpartition("/")[2]


def model_roots(folder: Path) -> tuple[Path, ...]:
    """Return the folders that the files of a model may really lie in.

    In a hub's cache all are links to its `blobs`; built-in models share files with one another.
    """
    adapted = read_adapted(folder)
    if adapted is not None:
        return folder, *model_roots(Path(adapted.base))
    place = folder.resolve()
    for snapshot in (place, *place.parents):
        if snapshot.parent.name == "snapshots":
            return folder, snapshot.parents[1] / "blobs"
    if place.is_relative_to((cache_folder() / "builtin").resolve()):
        return folder, SHIPPED
    return (folder,)
