"""What an adapter makes of one weight: the arithmetic, in float32.

| form | added to W, times alpha / rank | source |
|---|---|---|
| LoRA, LoCon | up · down, or up · mid · down | arXiv:2106.09685, LyCORIS `locon.py` |
| LoHa | (w1_a · w1_b) ∘ (w2_a · w2_b) | arXiv:2108.06098, LyCORIS `loha.py` |
| LoKr | w1 ⊗ w2, each of them whole or of two factors | arXiv:2309.14859, LyCORIS `lokr.py` |
| diff | the difference itself | LyCORIS `full.py`, `norms.py` |

DoRA (arXiv:2402.09353) gives each row of the sum the length that was learned. Shapes are checked on
headers, by `shape_of`, before anything is read.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.float32]
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""Part of a module → its shape."""
Read = Callable[[str], Array]
"""Reads a part of a module as float32."""

_PIECE_ELEMENTS = 1 << 18
"""What is added at once: 1 MB, which a processor's cache holds."""
_PIECE_ROWS = 64
"""Fewer rows of a wide kernel take longer to multiply than to add."""
_EPSILON = np.finfo(np.float32).eps


class ShapeError(ValueError):
    """The parts of a module don't belong together; the message says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """How strongly a module is added: the user's factor, and alpha / rank of the file."""

    scale: float
    factor: float


def rank_of(shapes: Shapes) -> int | None:
    """Return the rank that alpha is divided by; None where a module has none."""
    if "down" in shapes:
        return shapes["down"][0]
    if "hada_w1_b" in shapes:
        return shapes["hada_w1_b"][0]
    for part in ("lokr_w2_b", "lokr_w1_b"):
        if part in shapes:
            return shapes[part][0]
    return None


def shape_of(shapes: Shapes) -> Shape:
    """Return the shape of what a module adds to a weight, from those of its parts.

    An axis of a convolution's kernel may be folded into its inputs. Raises ShapeError.
    """
    for name, size in shapes.items():
        if name != "alpha" and 0 in size:
            raise ShapeError(f"{name} is empty: {size}")
    if "up" in shapes or "down" in shapes:
        return _lora_shape(shapes)
    if any(part.startswith("hada") for part in shapes):
        return _hadamard_shape(shapes)
    if any(part.startswith("lokr") for part in shapes):
        return _kronecker_shape(shapes)
    if "diff" in shapes:
        return shapes["diff"]
    raise ShapeError(f"it has only {' and '.join(sorted(shapes))}")


def adapted(weight: Array, shapes: Shapes, read: Read, strength: Strength) -> Array:
    """Return a weight with what a module adds to it; `weight` may be changed.

    Raises ShapeError where a DoRA's lengths don't fit.
    """
    total = strength.scale * strength.factor
    if "magnitude" in shapes or "dora_scale" in shapes:
        part = "magnitude" if "magnitude" in shapes else "dora_scale"
        return _decomposed(weight, shapes, read, strength, part)
    _add(weight, shapes, read, total)
    return weight


def rank_of_factors(shapes: Shapes) -> int:
    """Return the rank of what `factors` returns.

    Raises ShapeError for a form that is no product of two thin matrices.
    """
    halves = {f"hada_w{side}_{factor}" for side in "12" for factor in "ab"}
    if is_lora(shapes):
        return shapes["up"][1]
    if halves <= shapes.keys() and shapes.keys() <= halves | {"hada_t1", "hada_t2", "alpha"}:
        first, second = (
            shapes[f"hada_w{side}_a"][0 if f"hada_t{side}" in shapes else 1] for side in "12"
        )
        return first * second
    others = shapes.keys() - {"alpha", "up", "down", "mid"}
    raise ShapeError(f"{' and '.join(sorted(others))} make no product of two thin matrices")


def factors(shapes: Shapes, read: Read) -> tuple[Array, Array]:
    """Return two matrices whose product is what a module adds, but for alpha / rank.

    They are (outputs, rank) and (rank, inputs and kernel). LoHa's product, element by element, of
    two products is that of their columns, and of their rows, pair by pair (Khatri and Rao, 1968).
    """
    if "up" in shapes:
        return _lora(shapes, read)
    (first, second), (third, fourth) = (_hadamard_half(shapes, read, side) for side in ("1", "2"))
    left = np.einsum("oi,oj->oij", first, third).reshape(len(first), -1)
    right = np.einsum("ik,jk->ijk", second, fourth).reshape(-1, second.shape[1])
    return left, right


def sums(
    weight: NDArray[Any], pairs: Sequence[tuple[Array, Array]], dtype: DTypeLike
) -> NDArray[Any]:
    """Return a weight with products of two thin matrices added, in `dtype`.

    Rows are widened, added to in float32 and rounded a few at a time: no array is as large as the
    weight in float32, unless that is what is wanted. torch does so, which whoever reads weights
    has loaded: numpy takes five times as long to convert halves as BLAS to multiply. Raises
    ShapeError.
    """
    import torch

    stored = weight.reshape(len(weight), -1)
    made: NDArray[Any] = np.empty(stored.shape, dtype)
    step = max(_PIECE_ROWS, _PIECE_ELEMENTS // stored.shape[1])
    for up, down in pairs:
        if (len(up), down.shape[1]) != stored.shape:
            raise ShapeError(f"up has {up.shape} and down {down.shape}")
    rows = torch.from_numpy(made)
    with _one_thread():
        # copies begin where vectors do, so a BLAS adds in the same order every time
        factors = [[torch.from_numpy(factor).clone() for factor in pair] for pair in pairs]
        for begin in range(0, len(stored), step):
            part = stored[begin : begin + step]
            read = torch.from_numpy(part if part.flags.writeable else part.copy())
            piece = read.to(torch.float32, copy=True)
            for up, down in factors:
                piece.addmm_(up[begin : begin + step], down)
            rows[begin : begin + step] = piece
    return made.reshape(weight.shape)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread of torch: a forked process has no others, and they would spin."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def is_lora(shapes: Shapes) -> bool:
    """Return whether a module adds a product of two matrices, or three, and nothing else."""
    return "up" in shapes and shapes.keys() <= {"up", "down", "mid", "alpha"}


def check_magnitude(shapes: Shapes, weight: Shape) -> None:
    """Refuse a DoRA whose lengths don't fit a weight. Raises ShapeError."""
    for part in ("magnitude", "dora_scale"):
        if part in shapes:
            axis = _axis(shapes[part], part)
            if len(weight) < 2 or math.prod(shapes[part]) != weight[axis]:
                raise ShapeError(f"{part} has {shapes[part]}")


def _lora_shape(shapes: Shapes) -> Shape:
    up, down = _need(shapes, "up"), _need(shapes, "down")
    if len(up) < 2 or len(down) < 2 or math.prod(up[2:]) != 1:
        raise ShapeError(f"up has {up} and down {down}")
    if "mid" in shapes:
        mid = shapes["mid"]
        if len(mid) < 3 or mid[:2] != (up[1], down[0]) or math.prod(down[2:]) != 1:
            raise ShapeError(f"up has {up}, mid {mid} and down {down}")
        return (up[0], down[1], *mid[2:])
    if up[1] != down[0]:
        raise ShapeError(f"up has {up} and down {down}")
    return (up[0], *down[1:])


def _hadamard_shape(shapes: Shapes) -> Shape:
    found = []
    for side in ("1", "2"):
        a, b = _need(shapes, f"hada_w{side}_a"), _need(shapes, f"hada_w{side}_b")
        core = shapes.get(f"hada_t{side}")
        if len(a) != 2 or len(b) != 2:
            raise ShapeError(f"hada_w{side}_a has {a} and hada_w{side}_b {b}")
        if core is None:
            fits = a[1] == b[0]
            made: Shape = (a[0], b[1])
        else:
            fits = len(core) > 2 and core[:2] == (a[0], b[0])
            made = (a[1], b[1], *core[2:])
        if not fits:
            raise ShapeError(f"hada_w{side}_a has {a} and hada_w{side}_b {b}")
        found.append(made)
    if found[0] != found[1]:
        raise ShapeError(f"its halves have {found[0]} and {found[1]}")
    return found[0]


def _kronecker_shape(shapes: Shapes) -> Shape:
    first = shapes.get("lokr_w1")
    if first is None:
        a, b = _need(shapes, "lokr_w1_a"), _need(shapes, "lokr_w1_b")
        if len(a) != 2 or len(b) != 2 or a[1] != b[0]:
            raise ShapeError(f"lokr_w1_a has {a} and lokr_w1_b {b}")
        first = (a[0], b[1])
    second = shapes.get("lokr_w2")
    if second is None:
        a, b = _need(shapes, "lokr_w2_a"), _need(shapes, "lokr_w2_b")
        core = shapes.get("lokr_t2")
        if core is not None:
            fits = len(a) == len(b) == 2 and len(core) > 2 and core[:2] == (a[0], b[0])
            second = (a[-1], b[-1], *core[2:])
        else:
            fits = len(a) == 2 and len(b) >= 2 and a[1] == b[0]
            second = (a[0], *b[1:])
        if not fits:
            raise ShapeError(f"lokr_w2_a has {a} and lokr_w2_b {b}")
    if len(first) != 2 or len(second) < 2:
        raise ShapeError(f"lokr_w1 has {first} and lokr_w2 {second}")
    return (first[0] * second[0], first[1] * second[1], *second[2:])


def _need(shapes: Shapes, part: str) -> Shape:
    if part not in shapes:
        raise ShapeError(f"it has no {part}")
    return shapes[part]


def _add(weight: Array, shapes: Shapes, read: Read, times: float) -> None:
    """Add to a weight what a module says, a few rows at a time."""
    rows = weight.reshape(weight.shape[0], -1)
    for begin, piece in _pieces(shapes, read):
        piece *= np.float32(times)
        rows[begin : begin + len(piece)] += piece


def _pieces(shapes: Shapes, read: Read) -> Iterator[tuple[int, Array]]:
    """Yield what is added, (rows, inputs and kernel): the first row of a piece, and the piece.

    A piece belongs to who gets it.
    """
    if "diff" in shapes:
        made = read("diff")
        yield 0, made.reshape(made.shape[0], -1)
    elif any(part.startswith("lokr") for part in shapes):
        yield from _kronecker(shapes, read)
    elif "up" in shapes:
        yield from _products([_lora(shapes, read)])
    else:
        yield from _products([_hadamard_half(shapes, read, side) for side in ("1", "2")])


def _products(factors: Sequence[tuple[Array, Array]]) -> Iterator[tuple[int, Array]]:
    """Yield the product, element by element, of matrices that are products themselves."""
    outputs, inputs = factors[0][0].shape[0], factors[0][1].shape[1]
    step = max(1, _PIECE_ELEMENTS // inputs)
    for begin in range(0, outputs, step):
        piece, *others = (left[begin : begin + step] @ right for left, right in factors)
        for other in others:
            piece *= other
        yield begin, piece


def _lora(shapes: Shapes, read: Read) -> tuple[Array, Array]:
    up, down = read("up"), read("down")
    up = up.reshape(up.shape[:2])
    if "mid" in shapes:
        return up, _inner(read("mid"), down.reshape(down.shape[:2]))
    return up, down.reshape(down.shape[0], -1)


def _hadamard_half(shapes: Shapes, read: Read, side: str) -> tuple[Array, Array]:
    a, b = read(f"hada_w{side}_a"), read(f"hada_w{side}_b")
    core = f"hada_t{side}"
    return (a.T, _inner(read(core), b)) if core in shapes else (a, b)


def _kronecker(shapes: Shapes, read: Read) -> Iterator[tuple[int, Array]]:
    first = read("lokr_w1") if "lokr_w1" in shapes else read("lokr_w1_a") @ read("lokr_w1_b")
    if "lokr_w2" in shapes:
        second = read("lokr_w2")
    else:
        a, b = read("lokr_w2_a"), read("lokr_w2_b")
        if "lokr_t2" in shapes:
            core = read("lokr_t2")
            second = (a.T @ _inner(core, b)).reshape(a.shape[1], b.shape[1], *core.shape[2:])
        else:
            second = (a @ b.reshape(b.shape[0], -1)).reshape(a.shape[0], *b.shape[1:])
    height = second.shape[0]
    wide = second.reshape(height, -1)
    for index, row in enumerate(first):
        yield index * height, np.kron(row, wide)


def _inner(core: Array, inputs: Array) -> Array:
    """Return (i, in and kernel) of a core (i, j, …) and inputs (j, in)."""
    made: Array = np.einsum("ij...,jr->ir...", core, inputs, optimize=True)
    return made.reshape(made.shape[0], -1)


def _decomposed(weight: Array, shapes: Shapes, read: Read, strength: Strength, part: str) -> Array:
    """Give each row, or each column, of a sum the length that was learned.

    The user's scale acts on what is added, as PEFT has it, or on what the length changes, as
    LyCORIS has it: by whose name the length is kept.
    """
    is_peft = part == "magnitude"
    total = strength.factor * (strength.scale if is_peft else 1.0)
    _add(weight, shapes, read, total)
    axis = _axis(shapes[part], part)
    axes = "abcd"[: weight.ndim]
    squares = np.einsum(f"{axes},{axes}->{axes[axis]}", weight, weight, dtype=np.float64)
    rows = [-1 if index == axis else 1 for index in range(weight.ndim)]
    length = np.sqrt(squares).astype(np.float32).reshape(rows)
    ratio = read(part).reshape(length.shape) / np.maximum(length, _EPSILON)
    weight *= ratio if is_peft else np.float32(strength.scale) * (ratio - 1) + 1
    return weight


def _axis(shape: Shape, part: str) -> int:
    """Return the axis whose lengths were learned: the outputs, or LyCORIS's other choice."""
    by_inputs = part == "dora_scale" and len(shape) > 1 and shape[0] == 1 and shape[1] > 1
    return 1 if by_inputs else 0
