"""Every operator that is decoded can be written in every target, and refusals are raised."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import pytest
import torch

from edgegen.core.targets import load_targets
from edgegen.exporters import calls
from edgegen.exporters.calls import CALLS, Call, RefusedError, arguments_of, decode
from edgegen.exporters.decompositions import DECOMPOSITIONS, SIMPLIFICATIONS, WRITTEN

aten = torch.ops.aten
ABSTRACT = {calls.Call, calls.Unary, calls.Binary, calls.Scaled, calls.Comparison}
KINDS = {
    kind
    for kind in vars(calls).values()
    if isinstance(kind, type) and issubclass(kind, Call) and kind not in ABSTRACT
}


def lowerings(target: str) -> dict[type[Call], Any]:
    table: dict[type[Call], Any] = import_module(f"edgegen.exporters.{target}.operators").LOWERINGS
    return table


@pytest.mark.parametrize("target", load_targets())
def test_a_target_has_a_lowering_for_each_call_that_is_not_decomposed(target: str) -> None:
    written = {*lowerings(target), *DECOMPOSITIONS, calls.Item}
    assert {kind.__name__ for kind in KINDS - written} == set()


@pytest.mark.parametrize("target", load_targets())
def test_a_table_names_calls_that_are_decoded(target: str) -> None:
    assert {*lowerings(target), *DECOMPOSITIONS, *SIMPLIFICATIONS} <= KINDS


def operator_of(name: str) -> Any:
    _, base, overload = name.split(".")
    return getattr(getattr(aten, base), overload)


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith("aten.")])
def test_a_decoder_takes_the_arguments_of_torchs_schema(name: str) -> None:
    assert_takes_all(CALLS[name], operator_of(name), before=0)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_in_simpler_operators_takes_the_arguments_of_torchs_schema(
    name: str,
) -> None:
    assert name not in CALLS
    assert_takes_all(WRITTEN[name], operator_of(name), before=1)


def assert_takes_all(function: Callable[..., Any], target: Any, *, before: int) -> None:
    count = len(list(arguments_of(target, (), {})))
    inspect.signature(function).bind(*[None] * (before + count))


X = torch.zeros(1, 2, 4, 4)
REFUSED: Sequence[tuple[Any, Sequence[Any], str]] = [
    (aten.dropout.default, (X, 0.5, True), "switched on"),
    (aten.pad.default, (X, [1, 1], "reflect"), "reflect"),
    (aten.arange.start, (1, 5), "0, 1, 2"),
    (aten.arange.default, (5,), "float32"),
    (aten.index.Tensor, (X, [None, X]), "not the first"),
    (aten.gelu.default, (X,), "fast"),
    (aten.softplus.default, (X, 2.0), "slope"),
    (aten.mean.dim, (X, None), "all axes"),
    (aten.sum.dim_IntList, (X, []), "all axes"),
    (aten.argmax.default, (X,), "all axes"),
    (aten.avg_pool2d.default, (X, [2], [1], [0], True), "ceiling"),
    (aten.avg_pool2d.default, (X, [2], [2], [0], False, True, 3), "divisor"),
    (aten.scaled_dot_product_attention.default, (X, X, X, None, 0.1), "dropout"),
]
OPTIONS = {"float32": {"dtype": torch.float32}, "fast": {"approximate": "fast"}}


@pytest.mark.parametrize(("target", "args", "text"), REFUSED)
def test_a_use_that_no_target_writes_is_refused(target: Any, args: Any, text: str) -> None:
    with pytest.raises(RefusedError, match="open number" if text == "float32" else text):
        decode(target, args, OPTIONS.get(text, {}))


def test_an_operator_that_is_not_known_is_no_call() -> None:
    with pytest.raises(KeyError, match=r"aten\.erfinv\.default"):
        decode(aten.erfinv.default, (X,), {})


def test_defaults_are_torchs() -> None:
    assert decode(aten.conv2d.default, (X, X), {}) == calls.Conv2d(
        X, X, None, [1, 1], [0, 0], [1, 1], 1
    )
    assert decode(aten.add_.Tensor, (X, 2), {}) == calls.Add(X, 2, 1)
    assert decode(operator.getitem, (X, 1), {}) == calls.Item(X, 1)
