"""A limit on memory, so that a broken or hostile graph cannot take all that a device has.

A runtime allocates whatever a graph asks for: four changed bytes of a padding are gigabytes. What
an honest graph needs grows with its weights, with the picture, and in attention with the square of
the latents' area; the limit is several times that, and never below 1.5 GiB.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .backends import BackendOptions
from .package import Package

NO_LIMIT = "EDGEGEN_NO_MEMORY_LIMIT"
_PROCESSORS = frozenset(
    {"CPU", "CPUExecutionProvider", "XNNPACK", "reference", "reference-float32"}
)

FLOOR_BYTES = 3 << 29
PER_CORE_BYTES = 16 << 20
"""Each has a thread of the runtime, whose stack counts."""
PER_WEIGHT_BYTE = 10
"""A runtime may widen weights of 4 bits to float32, and repack them."""
PER_PIXEL_BYTES = 8 << 10
"""An autoencoder holds some hundred channels of a picture a few times over, in float32."""
PER_AREA_SQUARED_BYTES = 512
"""Scores of attention: heads × samples × float32, a few times over."""


def allowed_bytes(package: Package, width: int, height: int) -> int:
    """Return how much memory a process may take for pictures of a size, besides what it has."""
    files = (
        file
        for component in package.components.values()
        for part in (component.path, *component.parts)
        for file in (part.rglob("*") if part.is_dir() else part.parent.glob(f"{part.stem}*"))
    )
    weights = sum(file.stat().st_size for file in files if file.is_file())
    area = width * height // package.generation.vae_scale_factor**2
    return (
        FLOOR_BYTES
        + PER_CORE_BYTES * (os.cpu_count() or 1)
        + PER_WEIGHT_BYTE * weights
        + PER_PIXEL_BYTES * width * height
        + PER_AREA_SQUARED_BYTES * area**2
    )


def limit_memory(package: Package, options: BackendOptions, width: int, height: int) -> None:
    """Let allocations fail that go beyond what a package can need.

    Linux alone has such a limit, and drivers of accelerators reserve more than they use: so it is
    for processors, and not where EDGEGEN_NO_MEMORY_LIMIT is set.
    """
    on_processors = _PROCESSORS.issuperset(options.providers)
    if not sys.platform.startswith("linux") or not on_processors or NO_LIMIT in os.environ:
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + allowed_bytes(package, width, height)
    if soft == resource.RLIM_INFINITY or wanted < soft:  # a lower one is somebody's own
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _data_bytes() -> int:
    """Return what the kernel counts towards the limit now."""
    for line in (
        Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    ):
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
