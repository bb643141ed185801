"""Each operator computes on every target what torch computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgegen.core.errors import ExportError
from tests.exporters.harness import psnr_db
from tests.exporters.small_networks import FIXED_TARGETS, TARGETS, Function, compute

aten = torch.ops.aten
BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 12, 5, 8


def attend(mask_of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, attn_mask=mask_of(mask))


def split_heads(x: torch.Tensor, heads: int = HEADS) -> torch.Tensor:
    return x.view(x.shape[0], -1, heads, x.shape[-1] // heads).transpose(1, 2)


def projected(mask_of: Callable[[torch.Tensor], torch.Tensor], **options: Any) -> Any:
    """Attend as diffusers does: heads are split off sequences, and joined behind."""

    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> Any:
        result = F.scaled_dot_product_attention(
            split_heads(q), split_heads(k), split_heads(v), attn_mask=mask_of(mask), **options
        )
        return result.transpose(1, 2).reshape(q.shape)

    return function


def lowest(mask: torch.Tensor) -> torch.Tensor:
    """Return a mask as transformers makes it: the lowest number hides a key."""
    return (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min


X = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
PICTURE = torch.randn(2, 8, 4, 6, generator=torch.Generator().manual_seed(2))
POSITIVE = X.abs() + 0.1
FOUR = torch.tensor([0.0, 0.1, 0.2, 0.3])
MASK = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
HEADED = [
    torch.randn(BATCH, HEADS, length, WIDTH, generator=torch.Generator().manual_seed(length))
    for length in (QUERIES, KEYS, KEYS)
]
SEQUENCES = [value.transpose(1, 2).reshape(BATCH, -1, HEADS * WIDTH) for value in HEADED]

CASES: Mapping[str, tuple[Callable[..., Any], list[torch.Tensor]]] = {
    "abs": (torch.abs, [X]),
    "add with alpha": (lambda x, y: torch.add(x, y, alpha=0.5), [X, X[:, :1]]),
    "addmm": (lambda x, y: torch.addmm(x, y, x.t(), beta=0.5, alpha=2), [X[0, :4], X[1, :4]]),
    "and, or, not": (lambda x: ((x > 0) & (x < 1) | ~(x > -1)).float(), [X]),
    "baddbmm": (lambda x: torch.baddbmm(x @ x.mT, x, x.mT, beta=0.5, alpha=2), [X]),
    "clamp": (lambda x: x.clamp(-0.5, 0.5) + x.clamp(min=0.1), [X]),
    "comparisons of two kinds": (
        lambda x, n: torch.cat([t.float() for t in (n < 0.5, n < x, x < n, n / 1 < 0.5, x > 1)]),
        [X, (2 * X).round().long()],
    ),
    "comparisons with constants": (
        lambda x: torch.cat([t.float() for t in (x > FOUR, x <= FOUR, x > FOUR, x == FOUR)]),
        [X],
    ),
    "comparisons": (
        lambda x, y: torch.cat(
            [t.float() for t in (x > y, x >= y, x < y, x <= y, x == y, x != y, x > 0, x != 1)]
        ),
        [X, X.flip(1)],
    ),
    "cube": (lambda x: x**3.0, [X]),
    "repeat": (lambda x: x.repeat(1, 3, 1) + x[:, :1].repeat(1, 18, 1), [X]),
    "einsum": (
        lambda x, y: torch.einsum("bct,bcs->bts", torch.einsum("btc->bct", x), y.mT + 1),
        [X, X[:, :3]],
    ),
    "expand": (lambda x: x[:, :1].expand(-1, 6, -1) + 0, [X]),
    "flatten": (lambda x: x.flatten(2).transpose(1, 2) * 2, [PICTURE]),
    "full": (lambda x: x + torch.full_like(x, 2.5) * x.new_ones(x.shape[0], 1, 1), [X]),
    "layer_norm of a sum, without scale and shift": (
        lambda x: F.layer_norm(x + x.exp(), (4,)),
        [X],
    ),
    "gelu": (lambda x: F.gelu(x) + F.gelu(x, approximate="tanh"), [X]),
    "glu": (F.glu, [X]),
    "group norm without scale and shift": (lambda x: F.group_norm(x, 2), [PICTURE]),
    "hardtanh": (F.hardtanh, [X]),
    "index of everything": (
        lambda x: x[torch.arange(x.shape[0])[:, None, None], torch.arange(6)[None, None, :]] * 2,
        [X],
    ),
    "layer norm of a sum": (lambda x, y: F.layer_norm(x * y + y, (4,)), [X, X[:, :1]]),
    "index of everything in one sample": (
        lambda x: x[torch.arange(x.shape[0])[:, None, None], torch.arange(6)[None, None, :]] * 2,
        [X[:1]],
    ),
    "masked fill": (lambda x: x.masked_fill(x > 0, -1e4), [X]),
    "maximum, minimum": (lambda x, y: torch.maximum(x, y) * torch.min(x, y * 2), [X, X.flip(1)]),
    "mean, sum": (lambda x: x.mean(-1, keepdim=True) + x.sum(1)[:, None], [X]),
    "mish": (F.mish, [X]),
    "patches": (
        lambda x: torch.einsum("nhwpqc->nchpwq", x.view(2, 2, 3, 2, 2, 8)).reshape(2, 8, 4, 6) * 2,
        [PICTURE.reshape(2, 6, 32)],
    ),
    "permute": (lambda x: x.permute(2, 0, 1).transpose(0, 1) * 2, [X]),
    "average pool, rounded up": (
        lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True) * 2,
        [PICTURE[..., :3, :5].contiguous()],
    ),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2) * 2, [PICTURE]),
    "pixel unshuffle": (lambda x: F.pixel_unshuffle(x, 2) * 2, [PICTURE]),
    "power": (lambda x: x**-0.5 + x**1.7, [POSITIVE]),
    "reciprocal, rsqrt": (lambda x: x.reciprocal() * x.rsqrt(), [POSITIVE]),
    "repeat_interleave": (lambda x: x.repeat_interleave(3, dim=0) * 2, [X]),
    "rms_norm": (lambda x: F.rms_norm(x, (4,), torch.arange(4.0) + 1, 1e-6), [X]),
    "rsub": (lambda x: 1 - x, [X]),
    "select, slice": (lambda x: x[:, 1] + x[:, 2:5:1, :].sum(1) + x[:, -1], [X]),
    "silu": (F.silu, [X]),
    "softmax": (lambda x: x.softmax(-1) + x.softmax(1), [X]),
    "softplus": (lambda x: F.softplus(20 * x), [X]),
    "split, cat": (lambda x: torch.cat(x.chunk(2, -1) + x.split([1, 3], -1), -1) * 2, [X]),
    "square": (torch.square, [X]),
    "stack, unbind": (lambda x: torch.stack(x.unbind(1)[::-1], 1) * 2, [X]),
    "tanh, relu, neg": (lambda x: x.tanh() * x.relu() - x, [X]),
    "where": (lambda x, y: torch.where(x > 0, y, x) + torch.where(x > 0, x, -3.0), [X, X[:, :1]]),
    "whole numbers": (lambda x: (x.to(torch.int64) * 2 + 1).float(), [X * 5]),
    # attention
    "attention": (F.scaled_dot_product_attention, HEADED),
    "attention, scaled": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=1.0),
        HEADED,
    ),
    "attention, causal": (
        lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True),
        HEADED[:1],
    ),
    "attention, truth of each sample": (
        attend(lambda mask: mask[:, None, None, :] > 0),
        [*HEADED, MASK],
    ),
    "attention, truth spread over queries": (
        attend(lambda mask: (mask[:, None, None, :] > 0).expand(-1, 1, QUERIES, -1)),
        [*HEADED, MASK],
    ),
    "attention, added for each sample": (attend(lowest), [*HEADED, MASK]),
    "attention, added for each head": (
        attend(lambda mask: lowest(mask).repeat_interleave(HEADS, 1).view(-1, HEADS, 1, KEYS)),
        [*HEADED, MASK],
    ),
    "attention, added for each query": (
        attend(lambda mask: lowest(mask) + torch.linspace(0, 3, QUERIES)[:, None]),
        [*HEADED, MASK],
    ),
    "attention of sequences": (projected(lambda mask: None), [*SEQUENCES, MASK]),
    "attention of sequences, truth": (
        projected(lambda mask: mask[:, None, None, :] > 0),
        [*SEQUENCES, MASK],
    ),
    "attention of sequences, added": (projected(lowest, scale=1.0), [*SEQUENCES, MASK]),
    "attention of sequences, added for each head": (
        projected(lambda mask: lowest(mask) + torch.arange(float(HEADS))[:, None, None]),
        [*SEQUENCES, MASK],
    ),
}
"""Name -> a function, and what it gets."""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_an_operator_computes_what_torch_computes(case: str, target: str, tmp_path: Path) -> None:
    function, inputs = CASES[case]
    expected, found = compute(target, Function(function), inputs, tmp_path)
    assert psnr_db(expected[0], found[0]) > 100
    assert found[0].shape == expected[0].shape


@pytest.mark.parametrize("target", [name for name in TARGETS if name not in FIXED_TARGETS])
@pytest.mark.parametrize("case", [case for case in CASES if case not in ("patches", "addmm")])
def test_an_operator_leaves_the_batch_open(case: str, target: str, tmp_path: Path) -> None:
    function, inputs = CASES[case]
    expected, found = compute(target, Function(function), inputs, tmp_path, open_batch=True)
    assert psnr_db(expected[0], found[0]) > 100
    assert found[0].shape == expected[0].shape


@pytest.mark.parametrize("target", TARGETS)
def test_bits_of_whole_numbers_are_refused(target: str, tmp_path: Path) -> None:
    numbers = torch.arange(8).reshape(2, 4)
    with pytest.raises(ExportError, match="bits of whole numbers"):
        compute(target, Function(lambda x: (x & (x + 1)).float()), [numbers], tmp_path)


@pytest.mark.parametrize("equation", ["abc,abc->a", "aab->ab", "abc->ab"])
def test_an_equation_that_is_no_product_of_matrices_is_refused(
    equation: str, tmp_path: Path
) -> None:
    inputs = [X[:, :4, :]] * len(equation.partition("->")[0].split(","))
    square = [value[:, :2, :] for value in inputs]
    with pytest.raises(ExportError, match="the equation"):
        compute("onnx", Function(lambda *x: torch.einsum(equation, *x)), square, tmp_path)


MASKED = [case for case in CASES if case.startswith("attention")]


@pytest.mark.parametrize("case", MASKED)
def test_plain_onnx_attends_as_torch_does(case: str, tmp_path: Path) -> None:
    function, inputs = CASES[case]
    expected, found = compute("onnx", Function(function), inputs, tmp_path, operators="plain")
    assert psnr_db(expected[0], found[0]) > 100


@pytest.mark.parametrize("target", ["onnx", "coreml"])
@pytest.mark.parametrize("case", MASKED)
def test_masks_stay_finite_in_16_bits(case: str, target: str, tmp_path: Path) -> None:
    function, inputs = CASES[case]
    expected, found = compute(target, Function(function), inputs, tmp_path, recipe="fp16")
    assert np.isfinite(found[0]).all()
    assert psnr_db(expected[0], found[0]) > 50


@pytest.mark.parametrize("minimum_os", [16, 18])
@pytest.mark.parametrize("attention", ["original", "split-einsum"])
@pytest.mark.parametrize("case", MASKED)
def test_core_ml_attends_as_torch_does_in_every_form(
    case: str, attention: str, minimum_os: int, tmp_path: Path
) -> None:
    function, inputs = CASES[case]
    options = {"attention": attention, "minimum_os": minimum_os}
    expected, found = compute("coreml", Function(function), inputs, tmp_path, **options)
    assert psnr_db(expected[0], found[0]) > 100
