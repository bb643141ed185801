"""Ties what training leaves on the disk to what it was made from: settings, data, earlier weights.

A basis is a SHA-256 over those. Code is no part of it, nor is the machine: after a change to what a
stage computes, remove its files by hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import nn

from training.loop import OtherBasisError


def basis_of(*parts: object) -> str:
    """Return the SHA-256 of parts in their order, in hexadecimal digits.

    Of a module its weights count, of an array its values, of bytes themselves, and of anything else
    what `repr` says: a number, a text, a table or a dataclass of those.
    """
    digest = hashlib.sha256()
    for part in parts:
        for name, data in _pieces(part):
            digest.update(f"{name} {data.nbytes}\n".encode())
            digest.update(data)
    return digest.hexdigest()


def _pieces(part: object) -> Iterator[tuple[str, memoryview]]:
    """Yield the names and bytes of a part, in such a way that no other part yields the same."""
    if isinstance(part, nn.Module):
        weights = part.state_dict()
        yield f"module {len(weights)}", memoryview(b"")
        for name, tensor in weights.items():
            array = tensor.detach().cpu().contiguous().numpy()
            yield f"{name} {array.dtype} {array.shape}", array.data
    elif isinstance(part, np.ndarray):
        yield f"array {part.dtype} {part.shape}", np.ascontiguousarray(part).data
    elif isinstance(part, bytes):
        yield "bytes", memoryview(part)
    else:
        yield "repr", memoryview(repr(part).encode())


def is_made(path: Path, basis: str) -> bool:
    """Say whether a file or folder is there. Raises OtherBasisError where its basis is another."""
    if not path.exists():
        return False
    note = _note(path)
    if not note.exists() or note.read_text(encoding="utf-8").strip() != basis:
        raise OtherBasisError(
            f"{path} was made from other settings, data or earlier stages."
            " Remove it to have it made anew."
        )
    return True


def note_basis(path: Path, basis: str) -> None:
    """Write down the basis of a file or folder, beside it, before it is renamed into its place."""
    _note(path).write_text(f"{basis}\n", encoding="utf-8")


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.basis")
