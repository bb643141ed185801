"""How places of packages are kept, matched and drawn; no package is built."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmarks.compression_frontier_plot import FIGURES, plot
from benchmarks.compression_frontier_report import (
    Frontier,
    Placed,
    Reference,
    beaten,
    markdown,
    ordered,
    pairs_table,
    sizes_to_match,
    stored_digest,
)
from edgegen.core.model import Component
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from tests.benchmarks.test_builtin_scores import MACHINE, MODELS

UNIFORM = Placed(
    model=MODELS[0],
    target="onnx",
    recipe="int8",
    stored="s",
    asked="a",
    pictures=10,
    size_bytes=10_000_000,
    right=9,
    psnr_db=40.0,
    flip=0.05,
)
MIX = replace(
    UNIFORM, recipe="mixed-10MB", mix_of="int8", size_bytes=9_900_000, psnr_db=50.0, flip=0.01
)
FOUND = Frontier(
    machine=MACHINE,
    references=(Reference(model=MODELS[0], asked="a", pictures=10, right=9),),
    placed=(UNIFORM, MIX),
)


def test_a_row_takes_the_place_of_the_same_package_and_of_no_other() -> None:
    again = replace(MIX, recipe="mixed-9990kB", stored="t", flip=0.02)
    found = FOUND.with_row(again)
    assert found.placed == (UNIFORM, again)
    assert found.has(again)
    assert not found.has(MIX)
    assert FOUND.with_row(replace(MIX, target="tflite")).placed[:2] == FOUND.placed


def test_other_pictures_of_a_model_leave_nothing_of_the_old_ones() -> None:
    other = replace(FOUND.references[0], asked="b")
    assert FOUND.with_reference(other).placed == ()
    assert FOUND.with_reference(FOUND.references[0]) == FOUND


def test_a_recipe_is_drawn_again_for_what_it_does_to_weights_only() -> None:
    recipe = load_recipe("int8", load_target("onnx"))
    renamed = replace(recipe, name="other", description="words", quality=None)
    assert stored_digest(renamed) == stored_digest(recipe)
    assert stored_digest(replace(recipe, sensitive_storage="float16")) != stored_digest(recipe)


def test_a_recipe_is_drawn_again_for_the_layers_that_networks_declare() -> None:
    before = Component(
        name="unet",
        role="denoiser",
        folder="unet",
        class_name="UNet2DConditionModel",
        inputs=(),
        outputs=(),
        parameters=1,
        float32_layers=("a",),
        sensitive_layers=("b",),
    )
    other = replace(before, sensitive_layers=("b", "c"))
    wider = replace(before, float32_layers=("a", "c"))
    plain = load_recipe("int8", load_target("onnx"))
    assert stored_digest(plain, [before]) == stored_digest(plain, [other]) == stored_digest(plain)
    kept = load_recipe("int4-sensitive", load_target("coreml"))
    assert stored_digest(kept, [before]) != stored_digest(kept, [other])
    assert stored_digest(kept, [before], in_torch=True) == stored_digest(
        kept, [wider], in_torch=True
    )
    half = load_recipe("fp16", load_target("onnx"))
    assert stored_digest(half, [before]) == stored_digest(half, [other])
    assert stored_digest(half, [before]) != stored_digest(half, [wider])


def test_packages_of_about_a_size_share_a_mix() -> None:
    rows = [replace(UNIFORM, recipe=str(size), size_bytes=size) for size in (100, 104, 106, 120)]
    assert [row.size_bytes for row in sizes_to_match(rows)] == [100, 106, 120]


@pytest.mark.parametrize(
    ("mix", "worse"),
    [
        pytest.param(MIX, "", id="better in all"),
        pytest.param(replace(MIX, right=8), "right", id="a picture less"),
        pytest.param(replace(MIX, psnr_db=39.0, flip=0.06), "PSNR, FLIP", id="farther"),
    ],
)
def test_where_a_mix_is_worse_is_said(mix: Placed, worse: str) -> None:
    assert list(beaten([UNIFORM, mix])) == [(UNIFORM, mix, worse)]


def test_a_larger_mix_or_one_that_failed_beats_nothing() -> None:
    assert not list(beaten([UNIFORM, replace(MIX, size_bytes=10_000_001)]))
    assert not list(beaten([UNIFORM, replace(MIX, failure="too small")]))


def test_recipes_of_16_bits_have_no_mix_of_their_size() -> None:
    wide = replace(UNIFORM, recipe="fp16-storage", size_bytes=30_000_000)
    assert list(beaten([wide, UNIFORM, MIX])) == [(UNIFORM, MIX, "")]


def test_the_table_has_each_package_with_its_figures_or_why_there_are_none() -> None:
    failed = replace(MIX, mix_of="int4", failure="No mix is so small.")
    text = markdown(ordered(FOUND.with_row(failed), MODELS))
    assert "| onnx int8 | 10.00 |  | 40.0 | 0.0500 | 9 |" in text
    assert "| onnx *mix, size of int8* | 9.90 |  | 50.0 | 0.0100 | 9 |" in text
    assert "| onnx *mix, size of int4* | No mix is so small. |" in text


def test_recipes_of_few_bits_stand_beside_the_mix_of_their_size() -> None:
    wide = replace(UNIFORM, recipe="fp32", size_bytes=40_000_000)
    lines = pairs_table(FOUND.with_row(wide)).splitlines()
    model = MODELS[0].removeprefix("builtin:")
    assert lines[2:] == [
        f"| `{model}` | onnx int8 | 10.00 | 0.0500 | 9 of 10 | 9.90 | 0.0100 | 9 of 10 |"
    ]


@pytest.mark.parametrize("figure", FIGURES)
def test_a_plot_has_a_dot_for_each_package_higher_where_it_is_better(figure: str) -> None:
    better = replace(MIX, right=10)
    root = ElementTree.fromstring(plot(replace(FOUND, placed=(UNIFORM, better)), figure))
    dots = {
        dot[0].text.partition(":")[0]: float(dot.get("cy", "nan"))
        for dot in root.iter("{http://www.w3.org/2000/svg}circle")
        if len(dot) and dot[0].text
    }
    assert dots["mixed-10MB"] < dots["int8"]
