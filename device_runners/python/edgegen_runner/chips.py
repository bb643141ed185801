"""Which chip's contexts are loaded, of a package that was compiled for several."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from .contexts import CONTEXTS
from .errors import RunnerFailure
from .runtimes import of_target
from .table import Table

_MOST_CHIPS = 100
_MOST_NUMBER = 100_000


@dataclass(frozen=True)
class Compiled:
    """The chip that a component was compiled for, and the nodes that stayed on the processor."""

    chip: str
    part: str
    architecture: int
    soc_model: int
    on_processor: int = 0


@dataclass(frozen=True)
class PackagedChip:
    """A chip that a package was compiled for.

    ``folder`` is where its contexts lie in the folder of each component; in a package for one chip
    it is empty. ``on_processor`` counts nodes by component; those without any are left out.
    """

    chip: str
    part: str
    architecture: int
    soc_model: int
    folder: str
    on_processor: Mapping[str, int]

    def compiled(self, component: str) -> Compiled:
        """Return what a backend has to know of a component."""
        left = self.on_processor.get(component, 0)
        return Compiled(self.chip, self.part, self.architecture, self.soc_model, left)


def read_chips(manifest: Table) -> tuple[PackagedChip, ...]:
    """Read the chips of a manifest; there are none where nothing was compiled."""
    return tuple(
        PackagedChip(
            chip=table.text("chip"),
            part=table.text("part"),
            architecture=table.whole("architecture", least=1, most=_MOST_NUMBER),
            soc_model=table.whole("soc_model", least=1, most=_MOST_NUMBER),
            folder=table.optional_text("folder") or "",
            on_processor=table.wholes("on_processor", least=0, most=_MOST_CHIPS),
        )
        for table in manifest.tables("compiled", most=_MOST_CHIPS, default=[])
    )


def choose_chip(
    chips: Sequence[PackagedChip],
    is_here: Callable[[PackagedChip], bool],
    wanted: Optional[str],
    own_part: Callable[[], Optional[str]],
) -> PackagedChip:
    """Return the chip whose contexts are to be loaded.

    That is the ``wanted`` one; else the only one whose files are here, for a device is sent those
    of its own; else the one that this machine says it has (``own_part``). A machine that emulates
    them all takes the first.

    Raises RunnerFailure (bad-request) where the wanted one is none of them, and where this machine
    has another or doesn't say.
    """
    known = ", ".join(each.chip for each in chips)
    if wanted is not None:
        for each in chips:
            if wanted in (each.chip, each.part):
                return each
        raise RunnerFailure(
            "bad-request",
            f"The package was compiled for {known}, not for {wanted}.",
            f"Compile it for that, too: edgegen package MODEL --chip {wanted} --chip …",
        )
    here = [each for each in chips if is_here(each)] or list(chips)
    if len(here) == 1:
        return here[0]
    own = own_part()
    for each in here:
        if each.part == own:
            return each
    if own is None and platform.machine() in of_target(CONTEXTS)[0].emulated_on:
        return here[0]
    said = "doesn't say which chip it has" if own is None else f"has {own}"
    raise RunnerFailure(
        "bad-request",
        f"This device {said}, and the package was compiled for {known}.",
        "Name one with --chip, if it has that.",
    )


def own_part() -> Optional[str]:
    """Return what this machine's maker calls its chip, where it says: ``SM8650``."""
    from .agent.facts import soc_of  # it looks for much else

    return soc_of(Path("/"))
