"""What the history may say of a device that isn't here: only of the same package and work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.choose.history import measured_elsewhere
from edgegen.choose.space import Space, Wanted, make_space
from edgegen.core.figures import Figure
from edgegen.core.measurement import Measurement
from edgegen.devices.profiles import load_profile
from edgegen.history.store import History
from edgegen.models.source import resolve
from tests.statistics.samples import measurement

MODEL, WEIGHTS = "builtin:scenes-4step-tiny", "ab" * 32
BOARD = load_profile("raspberry-pi-5")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("EDGEGEN_HISTORY", "1")


@pytest.fixture(scope="module")
def space() -> Space:
    wanted = Wanted(recipes=("fp32",))
    return make_space([resolve(MODEL)], wanted, profile=BOARD, targets=("onnx",))


def kept(space: Space, package: Mapping[str, Any], workload: Mapping[str, Any]) -> Measurement:
    """Return a measurement of the candidate, but for what is changed, after adding it."""
    (candidate,) = space.candidates
    made, whole = space.built_as[candidate.package], measurement()
    changed = replace(
        whole,
        quick=False,
        interrupted=None,
        environment=replace(whole.environment, profile=BOARD.name, emulated=False),
        package=replace(
            whole.package,
            **{
                "weights_sha256": WEIGHTS,
                "target": "onnx",
                "recipe": "fp32",
                "package_bytes": int(candidate.known["size"].value or 0),
                **package,
            },
        ),
        workload=replace(
            whole.workload,
            **{
                "steps": candidate.way.steps,
                "width": candidate.way.width,
                "height": candidate.way.height,
                "guidance": made.spec.generation.guidance,
                "providers": ("CPUExecutionProvider",),
                "threads": 4,
                "residency": "all",
                "memory": "auto",
                **workload,
            },
        ),
    )
    with History.open(write=True) as history:
        history.add(changed)
    return changed


def found(space: Space) -> list[Mapping[str, Figure]]:
    weights = {MODEL: WEIGHTS}
    figures = measured_elsewhere(space.candidates, space.built_as, weights, BOARD.name)
    return list(figures.values())


def test_the_same_work_on_a_device_of_the_profile_is_taken(space: Space) -> None:
    kept(space, {}, {})
    (figures,) = found(space)
    assert figures["latency"].origin == "measured elsewhere"


@pytest.mark.parametrize(
    ("package", "workload"),
    [
        ({"package_bytes": 1000}, {}),
        ({"recipe": "fp16"}, {}),
        ({}, {"providers": ("XnnpackExecutionProvider",)}),
        ({}, {"threads": 1}),
        ({}, {"guidance": 99.0}),
        ({}, {"guidance_stop": 0.5}),
        ({}, {"guidance_start": 0.5}),
        ({}, {"cache_interval": 3}),
        ({}, {"residency": "sequential"}),
    ],
)
def test_other_work_is_not(
    package: Mapping[str, Any], workload: Mapping[str, Any], space: Space
) -> None:
    kept(space, package, workload)
    assert found(space) == []


def test_a_recipe_of_a_user_has_no_figures_though_one_of_its_name_has(space: Space) -> None:
    kept(space, {}, {})
    (name,) = space.built_as
    made = space.built_as[name]
    own = replace(made, recipe=replace(made.recipe, storage="float16"))
    assert found(replace(space, built_as={name: own})) == []
