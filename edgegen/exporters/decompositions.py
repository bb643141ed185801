"""Calls in terms of simpler ones, for every target that has no better word for them.

A simplification is tried before a target's own table, and may return None; a decomposition is used
where the table lacks the call; an operator that is `WRITTEN` has no call at all. All get arguments
as they were traced, append operators as torch would have traced them (`steps(aten.mul.Tensor, x,
y)`), and return the node that stands for the result, or a list of nodes. Most follow torch's own
(torch/_decomp/decompositions.py).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from edgegen.exporters import calls
from edgegen.exporters.calls import Call, RefusedError
from edgegen.exporters.capture import Shape

aten = torch.ops.aten
Traced = Any
"""A node of the trace, or a step that was appended."""


class Steps(Protocol):
    """Appends operators in the place of a node."""

    def __call__(self, operator: Any, *args: Any, **kwargs: Any) -> Traced:
        """Append an operator."""

    def shape(self, node: Traced) -> Shape:
        """Return the shape of a node's result."""

    def dtype(self, node: Traced) -> torch.dtype:
        """Return the type of a node's result."""

    @property
    def results(self) -> tuple[Shape, ...]:
        """The shapes of the results of the node in hand."""

    @property
    def result_dtype(self) -> torch.dtype:
        """The type of the result of the node in hand."""

    def constant(self, node: Traced) -> torch.Tensor | None:
        """Return the numbers of what doesn't depend on the inputs, else None."""

    def operator_of(self, node: Traced) -> tuple[str, Sequence[Any]]:
        """Return torch's name of a node's operator, and its positional arguments."""


def exchanged(rank: int, first: int, second: int) -> list[int]:
    """Return the order of axes in which two of them are exchanged."""
    axes = list(range(rank))
    axes[first], axes[second] = axes[second], axes[first]
    return axes


# --- simplifications ---


def _cast(steps: Steps, call: calls.To) -> Traced | None:
    """Drop a cast that isn't one: which floating-point type is used is the recipe's business."""
    old, new = steps.dtype(call.x), call.dtype
    both = new is not None and old.is_floating_point and new.is_floating_point
    return call.x if new is None or new == old or both else None


def _unless_moved(steps: Steps, call: Any) -> Traced | None:
    """Drop a reshape, a broadcast or a squeeze that leaves the shape as it is."""
    return call.x if steps.shape(call.x) == steps.results[0] else None


def _slice(steps: Steps, call: calls.Slice) -> Traced | None:
    return _unless_moved(steps, call) if call.step == 1 else None


def _changes_nothing(steps: Steps, x: Traced, y: Any, neutral: float) -> bool:
    """Return whether `y` is the number that leaves `x`, and its type, as they are."""
    number, kind = steps.constant(y), steps.dtype(x)
    if number is None or number.ndim or number.item() != neutral:
        return False
    return kind.is_floating_point or kind == steps.result_dtype  # whole numbers / 1 are float32


def _scaled(operator: Any) -> Callable[[Steps, Any], Traced | None]:
    """Return what multiplies the second argument first, and drops a sum with 0."""

    def simplify(steps: Steps, call: Any) -> Traced | None:
        if call.alpha != 1:
            return steps(operator, call.x, steps(aten.mul.Tensor, call.y, call.alpha))
        return call.x if _changes_nothing(steps, call.x, call.y, 0) else None

    return simplify


def _product(steps: Steps, call: calls.Mul | calls.Div) -> Traced | None:
    """Drop a product with 1 or a quotient by 1 (diffusers' `output_scale_factor`)."""
    return call.x if _changes_nothing(steps, call.x, call.y, 1) else None


def _power(steps: Steps, call: calls.Pow) -> Traced | None:
    """Write a cube as products: runtimes that take a logarithm have none of a negative number."""
    if call.exponent != 3:
        return None
    return steps(aten.mul.Tensor, call.x, steps(aten.mul.Tensor, call.x, call.x))


def _full(steps: Steps, call: calls.Full) -> torch.Tensor | None:
    """Return the constant that one number in a known shape is."""
    shape = steps.results[0]
    if not all(isinstance(axis, int) for axis in shape):
        return None
    return torch.full(list(shape), call.number, dtype=steps.result_dtype)


_MIRRORED: Mapping[type[Call], Any] = {
    calls.Equal: aten.eq.Tensor,
    calls.Less: aten.gt.Tensor,
    calls.LessOrEqual: aten.ge.Tensor,
    calls.Greater: aten.lt.Tensor,
    calls.GreaterOrEqual: aten.le.Tensor,
}


def _comparison(steps: Steps, call: calls.Comparison) -> Traced | Call | None:
    """Compare numbers of one kind, and put what depends on the inputs on the left."""
    left, right = steps.constant(call.x), steps.constant(call.y)
    if left is not None and right is None:
        return steps(_MIRRORED[type(call)], call.y, call.x)
    mine, other = steps.dtype(call.x), steps.dtype(call.y) if right is None else right.dtype
    if mine.is_floating_point == other.is_floating_point:
        return None
    if not mine.is_floating_point:
        return replace(call, x=steps(aten.to.dtype, call.x, torch.float32))
    return None if right is not None else replace(call, y=steps(aten.to.dtype, call.y, mine))


def _truths(steps: Steps, call: Call) -> None:
    """Refuse the bits of whole numbers: torch has one operator for these and for truth values."""
    if steps.result_dtype != torch.bool:
        raise RefusedError("bits of whole numbers")


def _and(steps: Steps, call: calls.And) -> Traced | None:
    """Drop what is true anyway: half of a mask is of positions alone."""
    _truths(steps, call)
    for known, other in ((call.x, call.y), (call.y, call.x)):
        numbers = steps.constant(known)
        if numbers is not None and bool(numbers.all()) and steps.dtype(other) == torch.bool:
            return steps(aten.expand.default, other, list(steps.results[0]))
    return None


def _index(steps: Steps, call: calls.Index) -> Traced | None:
    """Read an index of all entries, `x[arange(rows)[:, None], arange(columns)]`, as a reshape."""
    places = []
    for index, size in zip(call.indices, steps.shape(call.x), strict=False):
        shape = steps.shape(index)
        varying = [place - len(shape) for place, axis in enumerate(shape) if axis != 1]
        if [shape[place] for place in varying] != [size] * (size != 1) or not _counts(steps, index):
            return None
        places += varying
    if any(left >= right for left, right in itertools.pairwise(places)):
        return None
    return steps(aten.view.default, call.x, list(steps.results[0]))


def _counts(steps: Steps, index: Traced) -> bool:
    """Return whether a tensor's numbers are 0, 1, 2, …"""
    numbers = steps.constant(index)
    if numbers is not None:
        return torch.equal(numbers.flatten(), torch.arange(numbers.numel()))
    name, arguments = steps.operator_of(index)
    while name == "aten.unsqueeze.default":
        name, arguments = steps.operator_of(arguments[0])
    return name == "aten.arange.default"


def _mask(steps: Steps, call: calls.Attention) -> Call | None:
    """Let a mask be None, constant, or added to the scores.

    One that `expand` repeats for each of a batch is taken as it was before: attention broadcasts.
    """
    mask = call.mask
    name, arguments = steps.operator_of(mask)
    while steps.constant(mask) is None and name == "aten.expand.default":
        mask = arguments[0]
        name, arguments = steps.operator_of(mask)
    if mask is not None and steps.constant(mask) is None and steps.dtype(mask) == torch.bool:
        mask = steps(aten.where.Scalar, mask, 0.0, HIDDEN)
    return None if mask is call.mask else replace(call, mask=mask)


# --- decompositions ---


def _open(steps: Steps, call: calls.Arange | calls.Full) -> Traced:
    """Refuse what is a constant where all axes are fixed, as they are in some targets."""
    raise RefusedError("a shape that the inputs decide")


def _transpose(steps: Steps, call: calls.Transpose) -> Traced:
    axes = exchanged(len(steps.results[0]), call.first, call.second)
    return steps(aten.permute.default, call.x, axes)


def _silu(steps: Steps, call: calls.Silu) -> Traced:
    return steps(aten.mul.Tensor, call.x, steps(aten.sigmoid.default, call.x))


def _mish(steps: Steps, call: calls.Mish) -> Traced:
    """Write `x × tanh(softplus(x))` (arXiv 1908.08681)."""
    curve = steps(aten.tanh.default, steps(aten.softplus.default, call.x))
    return steps(aten.mul.Tensor, call.x, curve)


def _softplus(steps: Steps, call: calls.Softplus) -> Traced:
    """Write `max(x, 0) + log(1 + exp(−|x|))`, in which no number grows large."""
    shrinking = steps(aten.exp.default, steps(aten.neg.default, steps(aten.abs.default, call.x)))
    logarithm = steps(aten.log.default, steps(aten.add.Tensor, shrinking, 1.0))
    return steps(aten.add.Tensor, steps(aten.relu.default, call.x), logarithm)


def _rsqrt(steps: Steps, call: calls.Rsqrt) -> Traced:
    return _reciprocal(steps, steps(aten.sqrt.default, call.x))


def _attention(steps: Steps, call: calls.Attention) -> Traced:
    """Write attention as products and a softmax over the keys."""
    shape = steps.shape(call.query)
    scaled = steps(aten.mul.Tensor, call.query, scale_of(call, shape))
    turned = steps(aten.permute.default, call.key, exchanged(len(shape), -2, -1))
    scores = steps(aten.matmul.default, scaled, turned)
    mask = causal_mask(shape, steps.shape(call.key)) if call.is_causal else call.mask
    numbers = steps.constant(mask)
    if numbers is not None:
        mask = torch.from_numpy(additive_mask(numbers, HIDDEN)).to(steps.dtype(call.query))
    if mask is not None:
        scores = steps(aten.add.Tensor, scores, mask)
    return steps(aten.matmul.default, steps(aten.softmax.int, scores, -1), call.value)


# --- operators that no target has: what is here needs no call ---


def _rsub(steps: Steps, x: Traced, y: float, alpha: float) -> Traced:
    return steps(aten.sub.Tensor, torch.tensor(y), x, alpha=alpha)


def _reciprocal(steps: Steps, x: Traced) -> Traced:
    return steps(aten.div.Tensor, torch.ones((), dtype=steps.dtype(x)), x)


def _not_equal(steps: Steps, x: Traced, y: Traced) -> Traced:
    operator = aten.eq.Tensor if steps.constant(y) is None else aten.eq.Scalar
    return steps(aten.logical_not.default, steps(operator, x, y))


def _glu(steps: Steps, x: Traced, axis: int) -> Traced:
    """Write a gated linear unit (arXiv 1612.08083): one half times the sigmoid of the other."""
    size = steps.shape(x)[axis]
    if not isinstance(size, int):
        raise RefusedError("an open number of channels")
    half, end = size // 2, size
    gate = steps(aten.sigmoid.default, steps(aten.slice.Tensor, x, axis, half, end))
    return steps(aten.mul.Tensor, steps(aten.slice.Tensor, x, axis, 0, half), gate)


def _masked_fill(steps: Steps, x: Traced, mask: Traced, number: Traced) -> Traced:
    known = steps.constant(number)
    if known is None:
        return steps(aten.where.self, mask, number, x)
    return steps(aten.where.ScalarSelf, mask, known.item(), x)


def _stack(steps: Steps, parts: Sequence[Traced], axis: int) -> Traced:
    return steps(
        aten.cat.default, [steps(aten.unsqueeze.default, part, axis) for part in parts], axis
    )


def _unbind(steps: Steps, x: Traced, axis: int) -> list[Traced]:
    return [steps(aten.select.int, x, axis, index) for index in range(len(steps.results))]


def _repeat(steps: Steps, x: Traced, times: Sequence[Any]) -> Traced:
    """Write a tensor laid beside itself: joined along axes, and broadcast along those of one."""
    rank = len(steps.shape(x))
    for axis, (size, count) in enumerate(
        zip(steps.shape(x), times[len(times) - rank :], strict=True)
    ):
        if size != 1 and count != 1:
            if not isinstance(count, int):
                raise RefusedError("an open number of repetitions")
            x = steps(aten.cat.default, [x] * count, axis)
    return steps(aten.expand.default, x, list(steps.results[0]))


def _repeat_interleave(
    steps: Steps, x: Traced, times: int, axis: int | None, output_size: Any
) -> Traced:
    if axis is None:
        raise RefusedError("repetition over all axes")
    shape = list(steps.shape(x))
    behind = axis % len(shape) + 1
    repeated = steps(aten.unsqueeze.default, x, behind)
    repeated = steps(aten.expand.default, repeated, [*shape[:behind], times, *shape[behind:]])
    return steps(aten.view.default, repeated, list(steps.results[0]))


def _pixel_shuffle(steps: Steps, x: Traced, factor: int) -> Traced:
    batch, channels, height, width = steps.shape(x)
    if not isinstance(channels, int):
        raise RefusedError("an unknown number of channels")
    cut = [batch, channels // factor**2, factor, factor, height, width]
    laid = steps(aten.permute.default, steps(aten.view.default, x, cut), [0, 1, 4, 2, 5, 3])
    return steps(aten.reshape.default, laid, list(steps.results[0]))


def _pixel_unshuffle(steps: Steps, x: Traced, factor: int) -> Traced:
    """Lay squares of pixels behind one another as channels: rows first, then columns.

    So no value has more than five axes, and each reshape opens one axis.
    """
    batch, channels, _, width = steps.shape(x)
    _, _, rows, columns = steps.results[0]
    if not isinstance(channels, int):
        raise RefusedError("an unknown number of channels")
    cut = steps(aten.view.default, x, [batch, channels, rows, factor, width])
    laid = steps(aten.permute.default, cut, [0, 1, 3, 2, 4])
    x = steps(aten.reshape.default, laid, [batch, channels * factor, rows, width])
    cut = steps(aten.view.default, x, [batch, channels * factor, rows, columns, factor])
    laid = steps(aten.permute.default, cut, [0, 1, 4, 2, 3])
    return steps(aten.reshape.default, laid, list(steps.results[0]))


def _baddbmm(
    steps: Steps, x: Traced, left: Traced, right: Traced, beta: float, alpha: float
) -> Traced:
    product = steps(aten.matmul.default, left, right)
    if alpha != 1:
        product = steps(aten.mul.Tensor, product, alpha)
    if beta == 0:
        return product
    addend = x if beta == 1 else steps(aten.mul.Tensor, x, beta)
    return steps(aten.add.Tensor, addend, product)


def _einsum(steps: Steps, equation: str, operands: Sequence[Traced], _path: Any) -> Traced:
    """Write a permutation of axes, or a sum of products over one axis as a product of matrices."""
    terms, _, result = equation.replace(" ", "").partition("->")
    axes = terms.split(",")
    refused = RefusedError(f"the equation {equation!r}")
    if any(len(set(term)) != len(term) or not term.isalpha() for term in (*axes, result)):
        raise refused
    if len(axes) == 1 and sorted(axes[0]) == sorted(result):
        return steps(aten.permute.default, operands[0], [axes[0].index(it) for it in result])
    if len(axes) != 2:
        raise refused
    left, right = axes
    shared = [it for it in left if it in right and it in result]
    summed = [it for it in left if it in right and it not in result]
    rows = [it for it in left if it not in right]
    columns = [it for it in right if it not in left]
    whole = [*shared, *rows, *columns]
    if (len(summed), len(rows), len(columns)) != (1, 1, 1) or sorted(whole) != sorted(result):
        raise refused
    first = steps(
        aten.permute.default, operands[0], [left.index(it) for it in (*shared, *rows, *summed)]
    )
    second = steps(
        aten.permute.default, operands[1], [right.index(it) for it in (*shared, *summed, *columns)]
    )
    product = steps(aten.matmul.default, first, second)
    return steps(aten.permute.default, product, [whole.index(it) for it in result])


def _rms_norm(
    steps: Steps, x: Traced, shape: Sequence[int], weight: Traced | None, eps: float | None
) -> Traced:
    """Write a division by the root of the mean square (arXiv 1910.07467) over the last axes."""
    axes = [-1 - index for index in range(len(shape))]
    squares = steps(aten.pow.Tensor_Scalar, x, 2)
    shift = torch.finfo(steps.dtype(x)).eps if eps is None else eps
    shifted = steps(aten.add.Tensor, steps(aten.mean.dim, squares, axes, True), shift)
    normal = steps(aten.mul.Tensor, x, steps(aten.rsqrt.default, shifted))
    return normal if weight is None else steps(aten.mul.Tensor, normal, weight)


WRITTEN: Mapping[str, Callable[..., Traced | list[Traced]]] = {
    "aten.addmm.default": _baddbmm,
    "aten.baddbmm.default": _baddbmm,
    "aten.einsum.default": _einsum,
    "aten.glu.default": _glu,
    "aten.masked_fill.Scalar": _masked_fill,
    "aten.masked_fill.Tensor": _masked_fill,
    "aten.ne.Scalar": _not_equal,
    "aten.ne.Tensor": _not_equal,
    "aten.pixel_shuffle.default": _pixel_shuffle,
    "aten.pixel_unshuffle.default": _pixel_unshuffle,
    "aten.reciprocal.default": _reciprocal,
    "aten.repeat.default": _repeat,
    "aten.repeat_interleave.self_int": _repeat_interleave,
    "aten.rms_norm.default": _rms_norm,
    "aten.rsub.Scalar": _rsub,
    "aten.square.default": lambda steps, x: steps(aten.pow.Tensor_Scalar, x, 2),
    "aten.stack.default": _stack,
    "aten.unbind.int": _unbind,
}
"""Torch's name -> what the operator is in simpler ones; a function gets its schema's arguments."""


# --- masks and widths, which lowerings share ---

HIDDEN = -1e4
"""What is added to the score of a hidden key: far below any score, and within float16 also when a
score is added."""


def scale_of(call: calls.Attention, shape: Shape) -> float:
    """Return what scores are multiplied with, for queries of a shape. Raises RefusedError."""
    if call.scale is not None:
        return float(call.scale)
    if not isinstance(shape[-1], int):
        raise RefusedError("queries of an open width")
    return 1.0 / math.sqrt(shape[-1])


def causal_mask(queries: Shape, keys: Shape) -> torch.Tensor:
    """Return which key each query may see where it sees none behind it. Raises RefusedError."""
    rows, columns = queries[-2], keys[-2]
    if not (isinstance(rows, int) and isinstance(columns, int)):
        raise RefusedError("a causal mask of unknown size")
    return torch.ones(rows, columns, dtype=torch.bool).tril()


def additive_mask(mask: torch.Tensor, lowest: float) -> NDArray[Any]:
    """Return what is added to attention's scores: 0 where a key may be seen, else `lowest`."""
    if mask.dtype == torch.bool:
        return np.where(mask.numpy(), 0.0, lowest)
    return np.maximum(mask.numpy(), lowest)


SIMPLIFICATIONS: Mapping[type[Call], Callable[[Steps, Any], Traced | Call | None]] = {
    calls.To: _cast,
    calls.Reshape: _unless_moved,
    calls.Expand: _unless_moved,
    calls.Squeeze: _unless_moved,
    calls.Slice: _slice,
    calls.Add: _scaled(aten.add.Tensor),
    calls.Sub: _scaled(aten.sub.Tensor),
    calls.Mul: _product,
    calls.Div: _product,
    calls.Pow: _power,
    **dict.fromkeys(_MIRRORED, _comparison),
    calls.And: _and,
    calls.Or: _truths,
    calls.Not: _truths,
    calls.Full: _full,
    calls.Index: _index,
    calls.Attention: _mask,
}

DECOMPOSITIONS: Mapping[type[Call], Callable[[Steps, Any], Traced | list[Traced]]] = {
    calls.Same: lambda steps, call: call.x,
    calls.Condition: lambda steps, call: None,
    calls.Arange: _open,
    calls.Full: _open,
    calls.Transpose: _transpose,
    calls.Silu: _silu,
    calls.Mish: _mish,
    calls.Softplus: _softplus,
    calls.Rsqrt: _rsqrt,
    calls.Attention: _attention,
}


def pad_widths(widths: Sequence[int], rank: int) -> tuple[list[int], list[int]]:
    """Return what is added before and behind each axis; torch lists the last axis first."""
    begins, ends = [0] * rank, [0] * rank
    for index in range(len(widths) // 2):
        begins[rank - 1 - index] = int(widths[2 * index])
        ends[rank - 1 - index] = int(widths[2 * index + 1])
    return begins, ends
