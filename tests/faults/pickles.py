"""Pickles that leave a mark when something loads them."""

from __future__ import annotations

import pickle
from pathlib import Path

NAMES = (
    "unet/diffusion_pytorch_model.bin",
    "unet/pytorch_model.bin",
    "unet/model.ckpt",
    "scheduler/scheduler.pkl",
    "model.pt",
)


def pickled_mark(marks: Path, name: str) -> bytes:
    """Return a pickle that creates `<marks>/ran-<name>` when it is loaded."""
    # Only what any Python has: the program that loads it need not know this module.
    path = str(marks / f"ran-{name.replace('/', '-')}")
    call = f"__import__('pathlib').Path({path!r}).touch()"
    return b"cbuiltins\nexec\n(" + pickle.dumps(call, protocol=0)[:-1] + b"tR."


def plant_pickles(model: Path, marks: Path) -> None:
    """Write pickles where a loader might look for weights."""
    for name in NAMES:
        path = model / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickled_mark(marks, name))


def run_marks(marks: Path) -> list[Path]:
    """Return the marks of the pickles that were loaded."""
    return sorted(marks.glob("ran-*"))
