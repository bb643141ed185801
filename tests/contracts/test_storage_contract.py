"""What a new type of storage has to have; a failure says which line is missing."""

from __future__ import annotations

import ast
import importlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegen.compress.codec import BY_CHANNEL, Granularity
from edgegen.compress.codecs import CODECS
from edgegen.core.targets import load_targets
from tests.contracts.source_tree import HOST, modules, tree_of

TARGETS = load_targets()
GROUPS = Granularity(palette_channels=4)
SHAPES = [(12, 64), (12, 40, 3, 3), (10, 64, 1, 1)]
LEAST_DB = {32: math.inf, 16: 70, 8: 38, 6: 30, 4: 17, 3: 12, 2: 8, 1: 3}
"""Bits -> how near normal numbers come back: a bit is worth about 6 dB, and the tails cost some."""


def stored_by(target: str) -> Mapping[str, Any]:
    stored: Mapping[str, Any] = importlib.import_module(
        f"edgegen.exporters.{target}.storage"
    ).STORED
    return stored


def weight(codec: str, shape: tuple[int, ...]) -> NDArray[Any]:
    drawn = np.random.default_rng(7).normal(size=shape).astype(np.float32)
    return drawn.astype(CODECS[codec].reads or np.float32)


@pytest.mark.parametrize("target", TARGETS)
def test_the_exporter_of_a_target_writes_what_its_table_lists(target: str) -> None:
    assert set(stored_by(target)) == set(TARGETS[target].storage)


@pytest.mark.parametrize("target", TARGETS)
def test_the_prediction_of_a_size_calls_a_weight_small_where_its_writer_does(target: str) -> None:
    writer = importlib.import_module(f"edgegen.exporters.{target}.writer")
    assert TARGETS[target].sizes.small == writer.SMALL_WEIGHT_ELEMENTS


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_lists_codecs_that_there_are(target: str) -> None:
    since = {item.storage for item in TARGETS[target].storage_since}
    assert since <= set(TARGETS[target].storage) <= set(CODECS)


def test_each_codec_is_held_by_a_target() -> None:
    assert set(CODECS) == {name for target in TARGETS.values() for name in target.storage}


def test_each_class_that_encodes_is_in_the_table() -> None:
    written = {
        node.name
        for path in (HOST / "compress").glob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(it, ast.FunctionDef) and it.name == "encode" for it in node.body)
    }
    assert written - {"Codec"} == {type(codec).__name__ for codec in CODECS.values()}


def test_nobody_asks_for_a_codec_by_name() -> None:
    asked = [
        f"{path.relative_to(HOST)}:{node.lineno}: {ast.unparse(node)}"
        for path in modules(HOST).values()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Compare)
        and any(isinstance(it, ast.Constant) and it.value in CODECS for it in ast.walk(node))
        and "storage" in ast.unparse(node)
    ]
    assert not asked, "ask the codec, or the target's table"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("granularity", [BY_CHANNEL, GROUPS], ids=["whole", "groups"])
@pytest.mark.parametrize("name", CODECS)
def test_what_was_encoded_comes_back(
    name: str, granularity: Granularity, shape: tuple[int, ...]
) -> None:
    codec, original = CODECS[name], weight(name, shape)
    found = codec.decode(codec.encode(original, granularity))
    assert found.dtype == np.float32
    assert found.shape == shape
    error = float(np.mean((found - original.astype(np.float32)) ** 2))
    power = float(np.mean(original.astype(np.float64) ** 2))
    found_db = 10 * math.log10(power / error) if error else math.inf
    assert found_db >= LEAST_DB[codec.bits]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("granularity", [BY_CHANNEL, GROUPS], ids=["whole", "groups"])
@pytest.mark.parametrize("name", CODECS)
def test_a_codec_knows_what_a_weight_will_take(
    name: str, granularity: Granularity, shape: tuple[int, ...]
) -> None:
    codec = CODECS[name]
    encoded = codec.encode(weight(name, shape), granularity)
    scales = 0 if encoded.scales is None else encoded.scales.size
    palettes = 0 if encoded.palettes is None else encoded.palettes.nbytes
    zero_points = 0 if encoded.zero_points is None else encoded.zero_points.size
    taken = -(-encoded.values.size * codec.bits // 8) + 2 * scales + palettes
    taken += -(-zero_points * codec.bits // 8)
    assert codec.stored_bytes(shape, granularity, scale_bytes=2) == taken


@pytest.mark.parametrize("name", CODECS)
def test_the_same_weight_is_encoded_the_same(name: str) -> None:
    first, second = (
        CODECS[name].encode(weight(name, (12, 40, 3, 3)), GROUPS) for _ in ("first", "second")
    )
    np.testing.assert_array_equal(first.values, second.values)
    for one, other in (
        (first.scales, second.scales),
        (first.zero_points, second.zero_points),
        (first.palettes, second.palettes),
    ):
        assert (one is None) == (other is None)
        assert one is None or np.array_equal(one, other)
