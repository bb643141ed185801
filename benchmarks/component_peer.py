"""A peer that converts a network at a time, by a script of ours in the peer's own environment.

The script is called as `SCRIPT convert MODEL COMPONENT FILE`, and for what comes after with words
of its own; every call is a process, and what a conversion took is their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.conversion import Spent, say, size_bytes, spend, versions
from benchmarks.convert_report import Conversion
from benchmarks.peer_environments import PeerEnvironment
from edgegen.core.package import StageCost
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve


class ComponentPeer:
    """Each component is converted once, and kept for the recipes that compress it."""

    def __init__(self, peer: PeerEnvironment, script: Path, suffix: str) -> None:
        self._peer = peer
        self._script = script
        self._suffix = suffix
        self._converted: dict[str, Spent] = {}

    def convert(self, python: Path, model: Path, folder: Path) -> tuple[list[str], list[StageCost]]:
        """Convert the components that are not yet; return all names, and what each took.

        A component's file is `NAME.SUFFIX` in the folder. Raises ProcessError.
        """
        names = [component.name for component in read_pipeline(resolve(str(model))).components]
        for name in names:
            if name not in self._converted:
                target = self.file(folder, name)
                self._converted[name] = self._spend(python, "convert", model, name, target)
        return names, [self._converted[name].as_stage(f"convert {name}") for name in names]

    def compress(
        self, python: Path, folder: Path, name: str, *words: object, verb: str, output: Path
    ) -> StageCost:
        """Call the script as `VERB FILE WORDS[0] OUTPUT WORDS[1:]`. Raises ProcessError."""
        first, *rest = words
        source = self.file(folder, name)
        return self._spend(python, verb, source, first, output, *rest).as_stage(f"{verb} {name}")

    def file(self, folder: Path, name: str) -> Path:
        """Return where a component's file lies."""
        return folder / f"{name}.{self._suffix}"

    def conversion(
        self,
        python: Path,
        tool: str,
        command: str,
        weights: str,
        parts: Sequence[StageCost],
        files: Sequence[Path],
    ) -> Conversion:
        """Return what processes that ran one after the other took together."""
        peaks = [part.peak_memory_bytes for part in parts]
        return Conversion(
            tool=tool,
            command=command,
            versions=versions(str(python), self._peer.toolkits),
            weights=weights,
            size_bytes=sum(map(size_bytes, files)),
            wall_s=sum(part.wall_s for part in parts),
            cpu_s=sum(part.cpu_s for part in parts),
            peak_bytes=None if None in peaks else max(peak or 0 for peak in peaks),
            parts=tuple(parts),
        )

    def _spend(self, python: Path, *words: object) -> Spent:
        spent = spend([str(python), str(self._script), *map(str, words)])
        say(f"{' '.join(map(str, words))}: {spent}")
        return spent
