"""Keeps graphs as a runtime has optimized them for this processor: the next process loads those.

A kept graph is as good as the package it came from: the host names a folder by the hash of the
package's manifest, after it has checked the package's files.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from .arithmetic import processor_features

MOST_BYTES = 64 << 20
"""Graphs up to this size, weights included, are kept: an optimized graph is a second copy of both.

What is larger takes its time for computing, and not for being optimized.
"""


class OptimizedGraphs:
    """The graphs that one version of a runtime has optimized, each in a folder of its own.

    ``folder`` may be missing; None keeps nothing. ``version`` is the runtime's, ``settings``
    whatever else decides how a graph is optimized.
    """

    def __init__(self, folder: Optional[Path], version: str, settings: str = "") -> None:
        self._folder = folder
        instructions = " ".join(sorted(processor_features()))
        self._facts = "\0".join((version, settings, platform.machine(), instructions))

    def place(self, path: Path, component: str, widened: int = 1) -> Optional[Path]:
        """Return the folder of a component's optimized graph, None where it isn't to be kept.

        A runtime that makes weights wider counts them so.
        """
        too_large = widened * size_bytes(path) > MOST_BYTES
        return None if too_large else self.place_of_any(component)

    def place_of_any(self, component: str) -> Optional[Path]:
        """Return the folder of a component's graph of any size; None where nothing is kept."""
        if self._folder is None:
            return None
        digest = hashlib.sha256(f"{self._facts}\0{component}".encode()).hexdigest()
        return self._folder / digest[:32]

    @contextlib.contextmanager
    def folder_of(self, name: str, file: str, path: Path, *, at_most_bytes: int) -> Iterator[Path]:
        """Yield the folder of a file that a runtime makes of the graph ``path``, of any size.

        The file may be missing: who asks makes it. Where nothing is kept it loses its name in the
        end, and lasts as long as it is mapped. Raises OSError where there is no room for it.
        """
        place = self.place_of_any(name)
        if place is not None and (place / file).is_file():
            yield place
            return
        with contextlib.ExitStack() as stack:
            if place is None:
                temporary = tempfile.TemporaryDirectory(dir=path.parent, prefix=".packed-")
                folder = Path(stack.enter_context(temporary))
            else:
                folder = stack.enter_context(filling(place))
            if shutil.disk_usage(folder).free < at_most_bytes:
                raise OSError(f"{folder} has no room for {file}")
            yield folder


def size_bytes(path: Path) -> int:
    """Return the size of a graph and of the weights beside it, which its name begins."""
    beside = path.parent.glob(glob_of(path))
    return sum(file.stat().st_size for file in beside)


def glob_of(path: Path) -> str:
    """Return the pattern of a graph's files: ``model.onnx*``, and ``model.*`` of an ``.xml``."""
    return f"{path.stem}.*" if path.suffix == ".xml" else f"{path.name}*"


@contextlib.contextmanager
def filling(place: Path) -> Iterator[Path]:
    """Yield an empty folder, which becomes ``place`` if nothing is raised.

    Raises OSError where there is no room. Where another process was quicker, its graph stays.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = place.parent / f".{uuid.uuid4().hex}.tmp"
    folder.mkdir(mode=0o700)
    try:
        yield folder
        with contextlib.suppress(OSError):
            folder.rename(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
