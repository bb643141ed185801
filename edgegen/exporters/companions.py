"""Writes what a target wants beside the components of a package: OpenVINO's tokenizers.

Each target's writer is a module with two functions: `wanted(package)`, which imports nothing, and
`write(package, text_length)`, which runs in a process of its own and returns toolkits' versions.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from edgegen.core.codec import decode
from edgegen.core.package import StageCost
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.worker import call

STAGE = "companions"
WORKER = "edgegen.exporters.companions_child"

COMPANIONS: Mapping[str, str] = {
    "openvino": "edgegen.exporters.openvino.tokenizer",
}
"""Target -> module; a target that is not in it wants nothing."""


class CompanionWriter(Protocol):
    """What a module of the table has."""

    def wanted(self, package: Path) -> bool:
        """Tell whether there is anything to write."""

    def write(self, package: Path, text_length: int) -> Mapping[str, str]:
        """Write into a package; return the versions of the toolkits that did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanionJob:
    """The package, still without a manifest, that gets the companions of its target.

    `text_length` is the number of tokens that its text encoders take.
    """

    target: str
    package: str
    text_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """The versions of the toolkits that wrote companions, and what that cost."""

    toolkits: Mapping[str, str] = field(default_factory=dict)
    costs: tuple[StageCost, ...] = ()


def load_writer(target: str) -> CompanionWriter | None:
    """Return what writes a target's companions, or None."""
    name = COMPANIONS.get(target)
    return None if name is None else cast("CompanionWriter", importlib.import_module(name))


def write_companions(
    target: str,
    package: Path,
    *,
    text_length: int | None,
    progress: Progress | None = None,
    log: Path | None = None,
) -> Companions:
    """Write a target's companions into a package folder that holds the model's small files.

    Raises MissingDependencyError where a toolkit is missing, ResourceError where memory or disk ran
    out, and ExportError where the process died.
    """
    writer = load_writer(target)
    if writer is None or text_length is None or not writer.wanted(package):
        return Companions()
    with (progress or SilentProgress()).step(STAGE):
        finished = call(
            WORKER,
            CompanionJob(target=target, package=str(package.absolute()), text_length=text_length),
            stage=STAGE,
            on_event=lambda _: None,
            log=log,
        )
    toolkits = decode(dict[str, str], finished.done["toolkits"], source="the companions' writer")
    return Companions(toolkits=toolkits, costs=(finished.cost,))
