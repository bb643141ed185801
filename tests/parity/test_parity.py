"""The parity gate, with a stand-in for the runner that can be sabotaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import IntegrityError, ParityError, RunnerError
from edgegen.parity import gate
from edgegen.parity.gate import check_package, require, worst_check
from edgegen.reference import golden
from tests.parity.faithful_side import (
    MANIFEST,
    STEPS,
    Array,
    FaithfulSide,
    noise,
    write_golden_case,
)
from tests.tiny_packages import COMPILED


@pytest.fixture
def package(tmp_path: Path) -> Path:
    write_golden_case(tmp_path / "package" / "golden")
    return tmp_path / "package"


def test_a_faithful_package_passes_every_check_in_three_layers(package: Path) -> None:
    run = check_package(package, MANIFEST, artifact=FaithfulSide(package))
    assert run.passed
    names = [(check.layer, check.name) for check in run.checks]
    assert names == [
        ("component", "unet.out_sample"),
        ("component", "text_encoder.last"),
        ("component", "text_encoder.pooled"),
        *(("trajectory", f"step {index}") for index in range(STEPS)),
        ("image", "pixels"),
    ]
    assert {check.threshold_db for check in run.checks} == {60, 50, 40}
    assert run.cost.stage == "parity"
    assert run.cost.cpu_s >= 1.5
    require(run, MANIFEST)


SABOTAGE: dict[str, Callable[[Array], Array | None]] = {
    "noise": lambda value: value + np.float32(0.1) * noise(*value.shape),
    "nan": lambda value: np.where(value > value.max() - 1e-6, np.float32(np.nan), value),
    "infinite": lambda value: np.where(value > value.max() - 1e-6, np.float32(np.inf), value),
    "constant": np.zeros_like,
    "negated": lambda value: -value,
    "transposed": lambda value: np.ascontiguousarray(value.swapaxes(2, 3)),
    "another shape": lambda value: value[..., :-1].copy(),
    "another type": lambda value: value.astype(np.float64),
    "missing": lambda value: None,
}


@pytest.mark.parametrize("name", ["unet.out_sample", "text_encoder.pooled", "step 0", "step 2"])
@pytest.mark.parametrize("sabotage", SABOTAGE)
def test_a_tampered_output_fails_and_nothing_else_does(
    name: str, sabotage: str, package: Path
) -> None:
    side = FaithfulSide(package)
    side.tampering[name] = SABOTAGE[sabotage]
    run = check_package(package, MANIFEST, artifact=side)
    failures = [check for check in run.checks if not check.passed]
    assert [check.name for check in failures if check.name != "steps"] == [name]
    assert all(check.why for check in failures)
    assert not run.passed
    with pytest.raises(ParityError, match=name):
        require(run, MANIFEST)


@pytest.mark.parametrize("exchange", [[1, 0], [0, 0], [1, 1]])
def test_exchanged_or_repeated_samples_of_the_batch_fail(
    exchange: list[int], package: Path
) -> None:
    side = FaithfulSide(package)
    side.tampering["unet.out_sample"] = lambda value: value[exchange].copy()
    run = check_package(package, MANIFEST, artifact=side)
    (failure,) = (check for check in run.checks if not check.passed)
    assert "mixed up" in failure.why


@pytest.mark.parametrize("sabotage", ["noise", "constant", "negated", "transposed"])
def test_a_wrong_image_fails(sabotage: str, package: Path) -> None:
    side = FaithfulSide(package)
    side.tampering["pixels"] = SABOTAGE[sabotage]
    run = check_package(package, MANIFEST, artifact=side)
    assert [check.layer for check in run.checks if not check.passed] == ["image"]


@pytest.mark.parametrize("steps", [0, STEPS - 1, STEPS + 1])
def test_another_number_of_steps_fails(steps: int, package: Path) -> None:
    side = FaithfulSide(package)
    side.steps = steps
    run = check_package(package, MANIFEST, artifact=side)
    last = [check for check in run.checks if check.layer == "trajectory"][-1]
    assert (last.name, last.passed) == ("steps", False)
    assert f"{steps} steps, torch {STEPS}" in last.why


def test_a_runner_that_crashes_fails_what_it_did_not_make(package: Path) -> None:
    side = FaithfulSide(package)

    def crash(value: Array) -> Array | None:
        raise RunnerError("a kernel is missing")

    side.tampering["text_encoder.last"] = crash
    side.tampering["pixels"] = lambda value: None
    run = check_package(package, MANIFEST, artifact=side)
    said = {check.name: check.why for check in run.checks if not check.passed}
    assert said == {
        "text_encoder.last": "the runner failed: a kernel is missing",
        "text_encoder.pooled": "the runner failed: a kernel is missing",
        "pixels": "the runner failed: it has crashed",
    }
    with pytest.raises(ParityError, match=r"text_encoder.*3 of 7 checks failed"):
        require(run, MANIFEST)


@pytest.mark.parametrize("missing", ["unet.in.sample.npy", "unet.out.out_sample.npy", "image.npy"])
def test_a_golden_case_that_is_not_whole_is_an_error(missing: str, package: Path) -> None:
    (package / "golden" / missing).unlink()
    side = FaithfulSide(package)
    side.generate = lambda *_: np.zeros((8, 8, 3), np.uint8)  # type: ignore[method-assign]
    side.probe = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match=missing):
        check_package(package, MANIFEST, artifact=side)


def test_without_a_golden_case_there_is_no_parity(package: Path) -> None:
    side = FaithfulSide(package)
    with pytest.raises(IntegrityError, match="no golden case"):
        check_package(package, dataclasses.replace(MANIFEST, golden=None), artifact=side)
    for index in range(STEPS):
        (package / "golden" / golden.trajectory_name(index)).unlink()
    with pytest.raises(IntegrityError, match="no trajectory"):
        check_package(package, MANIFEST, artifact=side)


def test_nothing_compared_is_nothing_passed(package: Path) -> None:
    run = check_package(package, MANIFEST, artifact=FaithfulSide(package))
    with pytest.raises(ParityError, match="Nothing was compared"):
        require(dataclasses.replace(run, checks=()), MANIFEST)


def test_the_worst_check_is_the_earliest_layer_that_is_furthest_off(package: Path) -> None:
    side = FaithfulSide(package)
    side.tampering["text_encoder.last"] = lambda value: value + np.float32(0.02) * noise(2, 4, 8, 8)
    side.tampering["unet.out_sample"] = lambda value: value + noise(2, 4, 8, 8)
    side.tampering["step 1"] = np.zeros_like
    run = check_package(package, MANIFEST, artifact=side)
    failures = [check for check in run.checks if not check.passed]
    assert len(failures) == 3
    assert worst_check(failures).name == "unet.out_sample"


@pytest.mark.parametrize(
    ("compute", "storage", "hint"),
    [
        ("float16", "float16", "--recipe fp16-storage"),
        ("float32", "float16", "--recipe fp32"),
        ("float32", "int8", "--recipe fp16-storage"),
        ("float32", "float32", "defect of the conversion"),
    ],
)
def test_the_hint_names_the_recipe_to_try(
    compute: str, storage: str, hint: str, package: Path
) -> None:
    side = FaithfulSide(package)
    side.tampering["pixels"] = np.zeros_like
    recipe = dataclasses.replace(MANIFEST.recipe, compute=compute, storage=storage)
    manifest = dataclasses.replace(MANIFEST, recipe=recipe)
    run = check_package(package, manifest, artifact=side)
    with pytest.raises(ParityError) as caught:
        require(run, manifest)
    assert hint in caught.value.hint


def test_a_package_for_several_chips_is_compared_with_each_and_says_on_which_it_failed(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dataclasses.replace(COMPILED, folder="snapdragon-8-gen-3")
    second = dataclasses.replace(first, chip="snapdragon-8-elite", part="SM8750", folder="e")
    manifest = dataclasses.replace(MANIFEST, compiled=(first, second))

    def side(package: Path, chip: str | None = None) -> FaithfulSide:
        made = FaithfulSide(package)
        if chip == second.chip:
            made.tampering["unet.out_sample"] = lambda same: -same
        return made

    monkeypatch.setattr(gate, "_runner_side", side)
    run = check_package(package, manifest)
    one = check_package(package, MANIFEST, artifact=FaithfulSide(package))
    assert [it.chip for it in run.checks] == [first.chip] * len(one.checks) + [second.chip] * len(
        one.checks
    )
    assert [(it.chip, it.name) for it in run.checks if not it.passed] == [
        (second.chip, "unet.out_sample")
    ]
    assert run.cost.cpu_s >= 2 * FaithfulSide.cpu_s
    with pytest.raises(ParityError, match=r"unet\.out_sample, on snapdragon-8-elite"):
        require(run, manifest)
