"""What a context says of itself: a graph that was compiled for the NPU of one chip.

Qualcomm's compiler writes its settings into the binary as text, among them
``soc_type=SM8650;arch=75`` and ``vtcm_size=8388608``. The format is not published; a context
without them is not taken.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .errors import RunnerFailure

CONTEXTS = "onnx-contexts"
"""What graphs are that were compiled for the NPU of a chip: a target of runtimes, not of packages.
No other runtime takes them."""

SUFFIX = "_qnn.bin"
"""``model.onnx`` names its context ``model_qnn.bin``."""

_SETTINGS = re.compile(rb"\bsoc_type=(\w{1,32});arch=(\d{1,3});")
_VTCM = re.compile(rb"\bvtcm_size=(\d{1,12});")


@dataclass(frozen=True)
class Context:
    """The chip that a context was compiled for, by its maker's name, and its NPU."""

    part: str
    architecture: int
    vtcm_bytes: int


def context_of(graph: Path) -> Path:
    """Return the context's file beside the graph that names it."""
    return graph.with_name(graph.stem + SUFFIX)


def path_for(path: str, folder: str) -> str:
    """Return where a component's graph lies for one chip, whose contexts have a folder in its own.

    In a package for one chip they have none.

    >>> path_for("unet/model.onnx", "snapdragon-8-elite")
    'unet/snapdragon-8-elite/model.onnx'
    """
    if not folder:
        return path
    return f"{PurePosixPath(path).parent}/{folder}/{PurePosixPath(path).name}"


def is_of(path: str, folders: Collection[str]) -> bool:
    """Return whether a file of a package lies in one of the folders that chips have.

    >>> is_of("unet/snapdragon-8-elite/model.onnx", {"snapdragon-8-elite"})
    True
    """
    parts = path.split("/")
    return len(parts) > 2 and parts[1] in folders


def read_context(path: Path) -> Context:
    """Read what a context says of itself.

    Raises RunnerFailure (bad-package) where it is missing, cut short or something else.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            chip, vtcm = _SETTINGS.search(data), _VTCM.search(data)
            if chip is not None and vtcm is not None:
                return Context(chip[1].decode("ascii", "replace"), int(chip[2]), int(vtcm[1]))
    except (OSError, ValueError) as error:  # a file of no bytes cannot be mapped
        raise RunnerFailure(
            "bad-package", f"{path} cannot be read: {error}.", "Copy the package again."
        ) from error
    raise RunnerFailure(
        "bad-package",
        f"{path} is no context of Qualcomm's compiler, or is cut short: it names no chip.",
        "Build the package again, or copy it again.",
    )
