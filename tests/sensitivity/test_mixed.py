"""Recipes that are made for a model: within their size, better than uniform ones, and refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.cli.main import run as run_command
from edgegen.compress.codecs import CODECS
from edgegen.core.errors import BudgetNotMetError, ConfigError
from edgegen.core.package import StageCost
from edgegen.core.recipes import load_recipe
from edgegen.core.sensitivity import LayerSensitivity, Sensitivity
from edgegen.core.targets import load_target
from edgegen.devices.profiles import load_profile
from edgegen.models.source import resolve
from edgegen.packaging import mixed as module
from edgegen.packaging.batch import build_all
from edgegen.packaging.candidate import make_candidate, predict
from edgegen.packaging.mixed import MixedSize, describe, make_mixed, named_as, parse_mixed
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.packaging.plan import plan_package
from edgegen.packaging.wanted import Wanted

MODEL = "builtin:scenes-4step-tiny"
COREML = load_target("coreml")


@pytest.fixture(scope="module")
def facts() -> ModelFacts:
    return read_facts(resolve(MODEL))


@pytest.fixture(scope="module")
def table(facts: ModelFacts) -> Sensitivity:
    """Return losses that fall by 4 with each bit, from another height in each layer.

    Layers of the text encoder are called as transformers 5 does, without the prefix of the files.
    """
    components: dict[str, dict[str, LayerSensitivity]] = {}
    for component, weights in facts.weights.items():
        for place, weight in enumerate(weights):
            if len(weight.shape) > 1:
                height = 10.0 ** (-(place * 7 % 5))
                losses = {
                    name: height * 4.0**-codec.bits if codec.bits < 32 else 0.0
                    for name, codec in CODECS.items()
                }
                name = weight.layer.removeprefix("text_model.")
                layer = LayerSensitivity(shapes=(weight.shape,), losses=losses)
                components.setdefault(component, {})[name] = layer
    return Sensitivity(
        model=MODEL,
        weights_sha256="0" * 64,
        cases=(),
        bits={name: codec.bits for name, codec in CODECS.items()},
        components=components,
        cost=StageCost(stage="sensitivity", wall_s=1.0, cpu_s=1.0, peak_memory_bytes=None),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mixed-4.5", MixedSize(name="mixed-4.5", bits=4.5)),
        ("mixed-300MB", MixedSize(name="mixed-300MB", package_bytes=300_000_000)),
        ("mixed-1.5GB", MixedSize(name="mixed-1.5GB", package_bytes=1_500_000_000)),
        ("mixed", None),
        ("mixed-", None),
        ("mixed-4.5bits", None),
        ("palette4", None),
    ],
)
def test_a_name_says_how_large(name: str, expected: MixedSize | None) -> None:
    assert parse_mixed(name) == expected


@pytest.mark.parametrize("bits", [2.5, 4.5, 7.0])
def test_a_mix_keeps_its_bits_and_is_proven_to_be_the_best(
    facts: ModelFacts, table: Sensitivity, bits: float
) -> None:
    size = MixedSize(name=f"mixed-{bits}", bits=bits)
    found = make_mixed(facts, COREML, size, table)
    assert bits - 0.1 < found.weights_bits <= bits
    assert found.gap == 0
    assert found.recipe.storages <= set(COREML.storage)
    assert len({*found.recipe.assigned["unet"].values()}) > 1
    assert "the best of its size" in describe(found)


@pytest.mark.parametrize("uniform", ["palette8", "palette4", "palette2"])
def test_at_the_size_of_a_uniform_recipe_it_loses_less(
    facts: ModelFacts, table: Sensitivity, uniform: str
) -> None:
    recipe = load_recipe(uniform, COREML)
    package = predict(make_candidate(facts, COREML, recipe), facts).package_bytes
    asked = math.ceil(package * 1.01)
    size = MixedSize(name="mixed-x", package_bytes=asked)
    found = make_mixed(facts, COREML, size, table)
    planned = make_candidate(facts, COREML, found.recipe)
    assert predict(planned, named_as(facts, table)).package_bytes <= package + 1
    large = [
        layer.losses[uniform]
        for _, _, layer in table.layers()
        if layer.numbers > COREML.sizes.small
    ]
    assert found.loss < sum(large)


def test_a_size_that_is_too_small_names_the_smallest_that_there_is(
    facts: ModelFacts, table: Sensitivity
) -> None:
    for size in (
        MixedSize(name="mixed-0.5", bits=0.5),
        MixedSize(name="mixed-100kB", package_bytes=100_000),
    ):
        with pytest.raises(ConfigError, match="No mix of storages is as small") as caught:
            make_mixed(facts, COREML, size, table)
        smallest = parse_mixed(caught.value.hint.split()[-1].rstrip("."))
        assert smallest is not None
        make_mixed(facts, COREML, smallest, table)


def test_what_the_devices_system_cannot_read_is_left_out(
    facts: ModelFacts, table: Sensitivity
) -> None:
    profile = load_profile("iphone-15-pro")
    runtimes = tuple(replace(it, minimum_os=COREML.minimum_os) for it in profile.runtimes)
    old = replace(profile, runtimes=runtimes)
    late = {item.storage for item in COREML.storage_since}
    size = MixedSize(name="mixed-4.5", bits=4.5)
    assert not make_mixed(facts, COREML, size, table, profile=old).recipe.storages & late
    assert make_mixed(facts, COREML, size, table).recipe.storages & late


def test_what_a_target_holds_wider_costs_and_takes_what_it_is_held_as(
    facts: ModelFacts, table: Sensitivity
) -> None:
    narrow = replace(COREML, sizes=replace(COREML.sizes, matrices_only={"int4": "int8"}))
    few = replace(narrow, recipes=("fp16", "int8", "int4"))
    found = make_mixed(facts, few, MixedSize(name="mixed-8", bits=8.0), table)
    losses, named = 0.0, named_as(facts, table)
    for component, layers in found.recipe.assigned.items():
        for layer, storage in layers.items():
            (shape,) = {
                it.shape
                for it in named.weights[component]
                if it.layer == layer and len(it.shape) > 1
            }
            held = few.sizes.held_as(storage, shape, 32)
            losses += table.components[component][layer].losses[held]
    assert found.loss == pytest.approx(losses)


def test_what_no_recipe_with_floats_stores_is_left_out(
    facts: ModelFacts, table: Sensitivity
) -> None:
    fewer = replace(COREML, recipes=("fp16", "int8"))
    found = make_mixed(facts, fewer, MixedSize(name="mixed-9", bits=9.0), table)
    assert found.recipe.storages == {"float16", "int8"}


@pytest.mark.parametrize("uniform", ["int4-channel", "int4-dynamic"])
def test_storages_whose_kernels_quantize_activations_are_multiplied_so(
    facts: ModelFacts, table: Sensitivity, uniform: str
) -> None:
    tflite = load_target("tflite")
    recipe = load_recipe(uniform, tflite)
    package = predict(make_candidate(facts, tflite, recipe), facts).package_bytes
    size = MixedSize(name="mixed-x", package_bytes=package)
    found = make_mixed(facts, tflite, size, table).recipe
    kinds = {
        (storage, found.of(component).activations_of(layer))
        for component in facts.spec.components
        for layer, storage in found.assigned.get(component.name, {}).items()
    }
    narrow = {"int4": "dynamic-int8", "int4-channel": "dynamic-int8"}
    assert kinds == {(storage, narrow.get(storage, "float")) for storage, _ in kinds}
    assert len({kind for _, kind in kinds}) == 2


def test_it_promises_what_the_lowest_of_its_storages_does(
    facts: ModelFacts, table: Sensitivity
) -> None:
    found = make_mixed(facts, COREML, MixedSize(name="mixed-3", bits=3.0), table)
    uniform = [load_recipe(name, COREML) for name in COREML.recipes]
    lowest = min(
        it.tolerance.image_psnr_db
        for it in uniform
        if it.storages == {it.storage} and it.storage in set(found.recipe.assigned["unet"].values())
    )
    assert found.recipe.tolerance.image_psnr_db <= lowest


@pytest.mark.slow
def test_a_package_above_its_size_is_not_kept(
    facts: ModelFacts, table: Sensitivity, tmp_path: Path
) -> None:
    found = make_mixed(facts, COREML, MixedSize(name="mixed-8MB", package_bytes=8_000_000), table)
    planned = plan_package(
        named_as(facts, table),
        target="coreml",
        destination=tmp_path / "package",
        recipe=found.recipe,
        limit_bytes=found.limit_bytes,
    )
    kept, refused = build_all(
        [
            planned,
            replace(planned, destination=tmp_path / "refused", limit_bytes=7_000_000),
        ],
        parity=False,
    ).packages
    assert not isinstance(kept, Exception)
    files = (path for path in kept.path.rglob("*") if path.is_file())
    assert 7_000_000 < sum(path.stat().st_size for path in files) <= 8_000_000
    assert kept.manifest.recipe == found.recipe
    assert isinstance(refused, BudgetNotMetError)
    assert not (tmp_path / "refused").exists()


def test_the_command_plans_a_mix(
    table: Sensitivity, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "sensitivity_of", lambda _facts, _progress: table)
    for arguments in (["--target-size", "9MB"], ["-r", "mixed-9MB"]):
        assert (
            run_command(["package", MODEL, "-t", "coreml", *arguments, "--dry-run", "--json"]) == 0
        )
        (planned,) = json.loads(capsys.readouterr().out)["plans"]
        assert planned["recipe"] == "mixed-9MB"
        assert planned["predicted_bytes"] <= 9_000_000


@pytest.mark.parametrize(
    "arguments",
    [
        ["--target-size", "large"],
        ["--target-size", "9MB", "-r", "fp16"],
        ["--target-size", "9MB", "-t", "onnx:fp16"],
    ],
)
def test_a_size_that_says_nothing_or_two_things_is_refused(arguments: list[str]) -> None:
    assert run_command(["package", MODEL, "-t", "coreml", *arguments, "--dry-run"]) == 2


def test_inspect_surveys_a_mix_like_any_recipe(
    table: Sensitivity, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    surveyed: list[Wanted] = []

    def surveying(_facts: ModelFacts, wanted: Sequence[Wanted], **_options: object) -> tuple[()]:
        surveyed.extend(wanted)
        return ()

    monkeypatch.setattr(module, "sensitivity_of", lambda _facts, _progress: table)
    monkeypatch.setattr("edgegen.predict.survey.survey", surveying)
    assert (
        run_command(["inspect", MODEL, "-t", "tflite:fp16-storage", "-t", "coreml:mixed-9MB"]) == 0
    )
    assert "bits a weight, the best of its size" in capsys.readouterr().err
    recipes = [
        it.recipe if isinstance(it.recipe, str) else it.recipe.name for it in surveyed if it.recipe
    ]
    assert recipes == ["fp16-storage", "mixed-9MB"]


def test_inspect_refuses_a_name_that_is_nearly_a_mix(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["inspect", MODEL, "-t", "coreml:mixed-9Mb"]) == 2
    assert "mixed-300MB" in capsys.readouterr().err
