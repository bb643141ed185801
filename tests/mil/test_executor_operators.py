"""Every operation of the executor against a second opinion.

The second opinion is what coremltools' converter computes when it folds the operation over
constants, and where it folds none (convolutions, pools, resizing, attention), the formula of its
documentation, written out in numpy. Neither shares code with the executor, which is torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgegen.core.errors import IntegrityError
from edgegen.mil.executor.arguments import Arguments
from edgegen.mil.executor.operators import OPERATORS

RANDOM = np.random.default_rng(1)
Array = np.ndarray


def normal(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return np.abs(normal(*shape)) + 0.1


def truth(*shape: int) -> Array:
    return RANDOM.integers(0, 2, shape).astype(bool)


def whole(*shape: int, high: int = 5) -> Array:
    return RANDOM.integers(0, high, shape).astype(np.int32)


X = normal(2, 3, 4)
FOLDED: list[tuple[str, dict[str, Any]]] = [
    *((name, {"x": X, "y": normal(3, 1)}) for name in ("add", "sub", "mul", "maximum", "minimum")),
    *((name, {"x": X, "y": positive(3, 1)}) for name in ("real_div", "floor_div", "mod")),
    ("pow", {"x": positive(2, 3), "y": np.float32(1.7)}),
    *(
        (name, {"x": whole(3, 4), "y": whole(3, 4)})
        for name in (
            *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"),
            *("add", "sub", "mul"),
        )
    ),
    ("logical_and", {"x": truth(3, 4), "y": truth(3, 4)}),
    ("logical_or", {"x": truth(3, 4), "y": truth(3, 4)}),
    ("logical_not", {"x": truth(3, 4)}),
    *(
        (name, {"x": X})
        for name in (
            *("abs", "cos", "erf", "exp", "floor", "identity", "sin", "square", "tanh"),
            *("relu", "sigmoid", "softplus"),
        )
    ),
    ("sqrt", {"x": positive(2, 3)}),
    ("rsqrt", {"x": positive(2, 3), "epsilon": np.float32(0.01)}),
    ("inverse", {"x": positive(2, 3), "epsilon": np.float32(0.01)}),
    ("log", {"x": positive(2, 3), "epsilon": np.float32(0.01)}),
    ("clip", {"x": X, "alpha": np.float32(-0.5), "beta": np.float32(0.25)}),
    ("gelu", {"x": X, "mode": "EXACT"}),
    ("gelu", {"x": X, "mode": "TANH_APPROXIMATION"}),
    ("gelu", {"x": X, "mode": "SIGMOID_APPROXIMATION"}),
    ("softmax", {"x": X, "axis": np.int32(1)}),
    ("cast", {"x": X * 5, "dtype": "int32"}),
    ("cast", {"x": whole(3), "dtype": "fp32"}),
    ("select", {"cond": truth(3, 4), "a": normal(3, 4), "b": normal(3, 4)}),
    *(
        (name, {"x": X, "axes": np.array(axes, np.int32), "keep_dims": keep})
        for name in ("reduce_max", "reduce_mean", "reduce_min", "reduce_sum")
        for axes, keep in (([1], True), ([-1, 0], False))
    ),
    ("reduce_argmax", {"x": X, "axis": np.int32(1), "keep_dims": False}),
    ("linear", {"x": normal(3, 4), "weight": normal(5, 4), "bias": normal(5)}),
    *(
        (
            "matmul",
            {
                "x": normal(2, 4, 3) if first else normal(2, 3, 4),
                "y": normal(2, 5, 4) if second else normal(2, 4, 5),
                "transpose_x": first,
                "transpose_y": second,
            },
        )
        for first, second in itertools.product((False, True), repeat=2)
    ),
    (
        "layer_norm",
        {
            "x": X,
            "axes": np.array([-1], np.int32),
            "gamma": normal(4),
            "beta": normal(4),
            "epsilon": np.float32(1e-3),
        },
    ),
    ("reshape", {"x": X, "shape": np.array([4, -1], np.int32)}),
    ("transpose", {"x": X, "perm": np.array([2, 0, 1], np.int32)}),
    ("expand_dims", {"x": X, "axes": np.array([1, -1], np.int32)}),
    ("squeeze", {"x": normal(1, 3, 1), "axes": np.array([0, 2], np.int32)}),
    ("concat", {"values": [normal(2, 3), normal(2, 5)], "axis": np.int32(1), "interleave": False}),
    ("stack", {"values": [normal(2, 3), normal(2, 3)], "axis": np.int32(1)}),
    ("split", {"x": X, "num_splits": np.int32(2), "axis": np.int32(2)}),
    ("split", {"x": X, "split_sizes": np.array([1, 2], np.int32), "axis": np.int32(1)}),
    (
        "slice_by_index",
        {
            "x": X,
            "begin": np.array([1, 2, 0], np.int32),
            "end": np.array([2, 0, 4], np.int32),
            "stride": np.array([1, -1, 2], np.int32),
            "begin_mask": np.array([False, False, True]),
            "end_mask": np.array([False, False, True]),
            "squeeze_mask": np.array([True, False, False]),
        },
    ),
    (
        "slice_by_size",
        {"x": X, "begin": np.array([0, 1, 1], np.int32), "size": np.array([2, -1, 2], np.int32)},
    ),
    ("tile", {"x": normal(2, 3), "reps": np.array([2, 3], np.int32)}),
    ("gather", {"x": X, "indices": whole(2, 2, high=3), "axis": np.int32(1)}),
    ("gather_along_axis", {"x": X, "indices": whole(2, 1, 4, high=3), "axis": np.int32(1)}),
    ("gather_nd", {"x": X, "indices": whole(3, 2, high=2)}),
    (
        "pad",
        {
            "x": normal(2, 3),
            "pad": np.array([0, 1, 2, 0], np.int32),
            "mode": "constant",
            "constant_val": np.float32(0.5),
        },
    ),
    (
        "einsum",
        {"values": [normal(2, 5, 1, 4), normal(2, 4, 1, 3)], "equation": "nchw,nwhu->nchu"},
    ),
    ("einsum", {"values": [normal(5, 2, 4), normal(4, 2, 3)], "equation": "chw,whr->chr"}),
]


def ours(op_type: str, inputs: dict[str, Any]) -> list[Array]:
    result = OPERATORS[op_type](Arguments(op_type, inputs))
    results = result if isinstance(result, tuple) else (result,)
    return [item.numpy() for item in results]


def folded_by_coremltools(op_type: str, inputs: dict[str, Any]) -> list[Array] | None:
    """Return what coremltools computes, or None where it folds no such operation."""
    ct = pytest.importorskip("coremltools")
    from coremltools.converters.mil import Builder as mb  # noqa: N813 - as coremltools calls it

    found: list[Any] = []

    @mb.program(input_specs=[mb.TensorSpec(shape=(1,))], opset_version=ct.target.iOS17)
    def program(z: Any) -> Any:
        result = getattr(mb, op_type)(**inputs)
        found.extend(result if isinstance(result, list | tuple) else [result])
        return mb.identity(x=z)

    values = [item.val for item in found]
    return None if any(value is None for value in values) else values


@pytest.mark.parametrize(
    ("op_type", "inputs"), FOLDED, ids=[f"{name}-{i}" for i, (name, _) in enumerate(FOLDED)]
)
def test_an_operation_computes_what_coremltools_folds(op_type: str, inputs: dict[str, Any]) -> None:
    expected = folded_by_coremltools(op_type, inputs)
    if expected is None:
        expected = WRITTEN_OUT[op_type](**inputs)
    found = ours(op_type, inputs)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        other = np.asarray(other)
        assert one.shape == other.shape
        np.testing.assert_allclose(one.astype(np.float64), other, rtol=2e-5, atol=2e-6)


def einsum(values: list[Array], equation: str) -> list[Array]:
    return [np.einsum(equation, *values)]


def pad(x: Array, pad: Array, mode: str, constant_val: Any = 0.0) -> list[Array]:
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + [tuple(two) for two in pad.reshape(-1, 2)]
    if mode == "constant":
        return [np.pad(x, widths, constant_values=constant_val)]
    return [np.pad(x, widths, mode={"reflect": "reflect", "replicate": "edge"}[mode])]


def padded(x: Array, kernel: Any, inputs: dict[str, Any]) -> Array:
    """Return a picture with the zeros of `pad_type` around it, as the documentation says."""
    mode = inputs.get("pad_type", "valid")
    strides, dilations = inputs.get("strides", (1, 1)), inputs.get("dilations", (1, 1))
    if mode == "custom":
        widths = np.asarray(inputs["pad"]).reshape(-1, 2).tolist()
    elif mode == "valid":
        widths = [[0, 0], [0, 0]]
    else:
        widths = []
        for size, length, stride, step in zip(kernel, x.shape[2:], strides, dilations, strict=True):
            wanted = int(np.ceil(length / stride))
            total = max(0, (wanted - 1) * stride + (size - 1) * step + 1 - length)
            both = [total // 2, total - total // 2]
            widths.append(both if mode == "same" else both[::-1])
    return np.pad(x, [(0, 0), (0, 0), *widths])


def windows(x: Array, kernel: Any, strides: Any, dilations: Any) -> Array:
    """Return (batch, channels, rows, columns, height, width) of a picture."""
    spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(2, 3))
    return view[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]


def conv(**inputs: Any) -> list[Array]:
    x, weight, groups = inputs["x"], inputs["weight"], int(inputs.get("groups", 1))
    kernel = weight.shape[2:]
    strides, dilations = inputs.get("strides", (1, 1)), inputs.get("dilations", (1, 1))
    view = windows(padded(x, kernel, inputs), kernel, strides, dilations)
    each = np.split(view, groups, axis=1)
    filters = np.split(weight, groups)
    result = np.concatenate(
        [np.einsum("bcijhw,ochw->boij", a, b) for a, b in zip(each, filters, strict=True)], axis=1
    )
    return [result + inputs["bias"][None, :, None, None] if "bias" in inputs else result]


def avg_pool(**inputs: Any) -> list[Array]:
    x, kernel, strides = inputs["x"], inputs["kernel_sizes"], inputs["strides"]
    sums = windows(padded(x, kernel, inputs), kernel, strides, (1, 1)).sum(axis=(4, 5))
    if inputs.get("exclude_padding_from_average"):
        ones = padded(np.ones_like(x), kernel, inputs)
        return [sums / windows(ones, kernel, strides, (1, 1)).sum(axis=(4, 5))]
    return [sums / np.prod(kernel)]


def attention(query: Array, key: Array, value: Array, attn_mask: Any = None) -> list[Array]:
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    if attn_mask is not None:
        hidden = attn_mask.dtype == bool
        scores = np.where(attn_mask, scores, -np.inf) if hidden else scores + attn_mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return [weights / weights.sum(-1, keepdims=True) @ value]


def normalized(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    middle = x.mean(axes, keepdims=True)
    return (x - middle) / np.sqrt(((x - middle) ** 2).mean(axes, keepdims=True) + epsilon)


def instance_norm(x: Array, gamma: Array, beta: Array, epsilon: Any) -> list[Array]:
    return [normalized(x, (2, 3), epsilon) * gamma[:, None, None] + beta[:, None, None]]


def batch_norm(
    x: Array, mean: Array, variance: Array, gamma: Array, beta: Array, epsilon: Any
) -> list[Array]:
    columns = [each[None, :, None, None] for each in (mean, variance, gamma, beta)]
    return [columns[2] * (x - columns[0]) / np.sqrt(columns[1] + epsilon) + columns[3]]


def nearest(x: Array, scale_factor_height: Any, scale_factor_width: Any) -> list[Array]:
    return [x.repeat(int(scale_factor_height), -2).repeat(int(scale_factor_width), -1)]


def bilinear(
    x: Array, scale_factor_height: Any, scale_factor_width: Any, align_corners: bool
) -> list[Array]:
    for axis, factor in ((-2, scale_factor_height), (-1, scale_factor_width)):
        old, new = x.shape[axis], int(x.shape[axis] * factor)
        places = (
            np.arange(new) * (old - 1) / (new - 1)
            if align_corners
            else np.clip((np.arange(new) + 0.5) / factor - 0.5, 0, old - 1)
        )
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, old - 1)
        share = (places - low).reshape([-1, 1] if axis == -2 else [-1])
        x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return [x]


def gather_nd(x: Array, indices: Array) -> list[Array]:
    return [np.stack([x[tuple(place)] for place in indices])]


def silu(x: Array) -> list[Array]:
    return [x / (1 + np.exp(-x))]


def layer_norm(x: Array, axes: Array, gamma: Array, beta: Array, epsilon: Any) -> list[Array]:
    shape = [x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)]
    result = normalized(x, tuple(axes), epsilon)
    return [result * gamma.reshape(shape) + beta.reshape(shape)]


WRITTEN_OUT: dict[str, Callable[..., list[Array]]] = {
    "avg_pool": avg_pool,
    "batch_norm": batch_norm,
    "conv": conv,
    "einsum": einsum,
    "gather_nd": gather_nd,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "pad": pad,
    "scaled_dot_product_attention": attention,
    "silu": silu,
    "upsample_bilinear": bilinear,
    "upsample_nearest_neighbor": nearest,
}
PICTURE = normal(2, 4, 7, 6)
CASES: list[tuple[str, dict[str, Any]]] = [
    ("conv", {"x": PICTURE, "weight": normal(3, 4, 3, 3), "bias": normal(3), "pad_type": "valid"}),
    *(
        (
            "conv",
            {
                "x": PICTURE,
                "weight": normal(6, 2, 3, 2),
                "groups": np.int32(2),
                "strides": np.array([2, 1], np.int32),
                "dilations": np.array([1, 2], np.int32),
                "pad_type": mode,
                **({"pad": np.array([1, 0, 2, 1], np.int32)} if mode == "custom" else {}),
            },
        )
        for mode in ("custom", "same", "same_lower")
    ),
    *(
        (
            "avg_pool",
            {
                "x": PICTURE,
                "kernel_sizes": np.array([2, 3], np.int32),
                "strides": np.array([2, 1], np.int32),
                "pad_type": "custom",
                "pad": np.array([1, 0, 1, 1], np.int32),
                "exclude_padding_from_average": exclude,
            },
        )
        for exclude in (False, True)
    ),
    (
        "instance_norm",
        {"x": PICTURE, "gamma": normal(4), "beta": normal(4), "epsilon": np.float32(1e-3)},
    ),
    (
        "batch_norm",
        {
            "x": PICTURE,
            "mean": normal(4),
            "variance": positive(4),
            "gamma": normal(4),
            "beta": normal(4),
            "epsilon": np.float32(1e-3),
        },
    ),
    (
        "layer_norm",
        {
            "x": PICTURE,
            "axes": np.array([1], np.int32),
            "gamma": normal(4),
            "beta": normal(4),
            "epsilon": np.float32(1e-3),
        },
    ),
    ("silu", {"x": PICTURE}),
    ("pad", {"x": PICTURE, "pad": np.array([2, 1, 0, 3], np.int32), "mode": "reflect"}),
    ("pad", {"x": PICTURE, "pad": np.array([2, 1, 0, 3], np.int32), "mode": "replicate"}),
    (
        "upsample_nearest_neighbor",
        {
            "x": PICTURE,
            "scale_factor_height": np.float32(2),
            "scale_factor_width": np.float32(3),
        },
    ),
    *(
        (
            "upsample_bilinear",
            {
                "x": PICTURE,
                "scale_factor_height": np.float32(2),
                "scale_factor_width": np.float32(3),
                "align_corners": aligned,
            },
        )
        for aligned in (False, True)
    ),
    *(
        (
            "scaled_dot_product_attention",
            {
                "query": normal(2, 3, 5, 4),
                "key": normal(2, 3, 6, 4),
                "value": normal(2, 3, 6, 7),
                **({} if mask is None else {"attn_mask": mask}),
            },
        )
        for mask in (None, normal(5, 6), np.tri(5, 6, dtype=bool))
    ),
]


@pytest.mark.parametrize(
    ("op_type", "inputs"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)]
)
def test_an_operation_computes_the_formula_of_its_documentation(
    op_type: str, inputs: dict[str, Any]
) -> None:
    (expected,) = WRITTEN_OUT[op_type](**inputs)
    (found,) = ours(op_type, inputs)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_every_operation_of_the_table_has_a_case() -> None:
    assert {name for name, _ in (*FOLDED, *CASES)} == set(OPERATORS)


def test_an_argument_that_is_missing_is_named() -> None:
    with pytest.raises(IntegrityError, match="linear has no weight"):
        OPERATORS["linear"](Arguments("linear", {"x": X}))
