"""What the runner adds to a denoiser's features, and which requests it refuses; no network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.generation import FamilyFacts, Generation
from edgegen_runner.job import parse_job
from edgegen_runner.package import Component, Package, Tensor, Tolerance
from edgegen_runner.pipelines.control import Controls
from edgegen_runner.png import write_png
from edgegen_runner.request import Request

HEIGHT, WIDTH = 40, 24
RESIDUALS: Mapping[str, tuple[int | str, ...]] = {
    "additional_residual_0": ("batch", 3, "height / 8", "width / 8"),
    "additional_residual_1": ("batch", 2, "height / 16", "width / 16"),
}


def tensors(shapes: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: Tensor(name, "float32", shape) for name, shape in shapes.items()}


class Played:
    """Components that give the mean of their picture, and remember how often they were called."""

    def __init__(self, networks: int, *, pools: bool = False) -> None:
        sample = {"sample": ("batch", 4, "height / 8", "width / 8")}
        picture = {"controlnet_cond": ("batch", 3, "height", "width")}
        pooled = {name: (*shape[:2], 1, 1) for name, shape in RESIDUALS.items()}
        given = tensors(pooled if pools else RESIDUALS)
        parts = [
            Component(name, "controlnet", Path(), tensors({**sample, **picture}), given)
            for name in ("controlnet", "controlnet_1")[:networks]
        ]
        unet = Component("unet", "denoiser", Path(), tensors({**sample, **RESIDUALS}), {})
        self.package = Package(
            folder=Path(),
            family="stable-diffusion-controlnet",
            facts=FamilyFacts("classifier-free", True, True, ("noise",), networks),
            pipeline_class="StableDiffusionControlNetPipeline",
            generation=Generation(WIDTH, HEIGHT, 4),
            components={it.name: it for it in (*parts, unet)},
            tolerance=Tolerance(0, 0, 0),
            golden=None,
            model="played",
        )
        self.calls: list[str] = []

    def run(self, name: str, inputs: Mapping[str, Any], _outputs: Any = None) -> dict[str, Any]:
        self.calls.append(name)
        assert inputs["controlnet_cond"].shape == (len(inputs["sample"]), 3, HEIGHT, WIDTH)
        value = inputs["controlnet_cond"].mean()
        outputs = {}
        for key, tensor in self.package.component(name).outputs.items():
            pooled = tensor.shape[2:] == (1, 1)
            size = (1, 1) if pooled else (5, 3) if key.endswith("0") else (3, 2)
            outputs[key] = np.full((len(inputs["sample"]), tensor.shape[1], *size), value)
        return outputs


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """Two pictures, of the levels 51 and 102: 0.2 and 0.4."""
    for name, level in (("a", 51), ("b", 102)):
        write_png(tmp_path / f"{name}.png", np.full((10, 10, 3), level, np.uint8), {})
    return tmp_path / "a.png", tmp_path / "b.png"


def controls(played: Played, request: Request, scale: float = 1.0) -> Controls:
    return Controls(played, request, width=WIDTH, height=HEIGHT, scale=scale)  # type: ignore[arg-type]


def steered(it: Controls, scales: Sequence[float], *batches: int, guided: bool = False) -> Any:
    chunks = [{"sample": np.zeros((batch, 4, 5, 3), np.float32)} for batch in batches]
    return it.steer(chunks, scales, guided=guided)


def test_controlnets_are_scaled_and_added_up(pictures: tuple[Path, Path]) -> None:
    played = Played(2)
    it = controls(played, Request(control=pictures, control_scale=(2.0, 0.5)))
    (chunk,) = steered(it, it.scales(0, 10), 2)
    assert chunk["additional_residual_0"].shape == (2, 3, 5, 3)
    assert chunk["additional_residual_1"].shape == (2, 2, 3, 2)  # odd sizes, the larger half
    assert np.allclose(chunk["additional_residual_0"], 2.0 * 0.2 + 0.5 * 0.4)
    assert played.calls == ["controlnet", "controlnet_1"]


def test_a_part_of_the_steps_is_steered_as_diffusers_counts(pictures: tuple[Path, Path]) -> None:
    start, end, calls = 0.2, 0.7, 7
    played = Played(1)
    request = Request(control=pictures[:1], control_start=(start,), control_end=(end,))
    it = controls(played, request, 0.8)
    kept = [
        1.0 - float(index / calls < start or (index + 1) / calls > end) for index in range(calls)
    ]
    assert [it.scales(index, calls) for index in range(calls)] == [(0.8 * keep,) for keep in kept]
    (chunk,) = steered(it, it.scales(0, calls), 1)
    assert not chunk["additional_residual_0"].any()
    assert played.calls == []  # what isn't added isn't computed


@pytest.mark.parametrize("batches", [(2,), (1, 1)])
def test_in_guess_mode_the_prompt_alone_is_steered_and_first_layers_less(
    batches: tuple[int, ...], pictures: tuple[Path, Path]
) -> None:
    it = controls(Played(1), Request(control=pictures[:1], guess_mode=True))
    chunks = steered(it, (1.0,), *batches, guided=True)
    for name, factor in zip(RESIDUALS, (0.1, 1.0), strict=True):
        rows = np.concatenate([chunk[name] for chunk in chunks])
        assert not rows[0].any()
        assert np.allclose(rows[1], 0.2 * factor)
    (alone,) = steered(it, (1.0,), 1)  # without guidance there is the prompt alone
    assert np.allclose(alone["additional_residual_1"], 0.2)


def test_pooled_residuals_are_spread_over_the_features_of_the_prompt(
    pictures: tuple[Path, Path],
) -> None:
    it = controls(Played(1, pools=True), Request(control=pictures[:1]))
    (chunk,) = steered(it, (1.0,), 2, guided=True)
    assert chunk["additional_residual_0"].shape == (2, 3, 5, 3)
    assert not chunk["additional_residual_0"][0].any()
    assert np.allclose(chunk["additional_residual_0"][1], 0.2)


@pytest.mark.parametrize(
    ("networks", "request_", "says"),
    [
        (1, {}, "steered by 1 picture .controlnet.; given: none"),
        (2, {"control": 1}, "steered by 2 pictures .controlnet, controlnet_1.; given: 1"),
        (1, {"control": 2}, "given: 2"),
        (0, {"control": 1}, "neither ControlNet nor"),
        (0, {"guess_mode": True}, "neither ControlNet nor"),
        (2, {"control": 2, "control_scale": (1.0, 1.0, 1.0)}, "control_scale has 3 numbers"),
        (1, {"control": 1, "control_start": (0.5,), "control_end": (0.5,)}, "0.5 of the steps"),
    ],
)
def test_a_request_that_does_not_go_with_the_package_is_refused(
    networks: int, request_: dict[str, Any], says: str, pictures: tuple[Path, Path]
) -> None:
    count = request_.pop("control", 0)
    request = Request(control=(pictures * 2)[:count] or None, **request_)
    with pytest.raises(RunnerFailure, match=says) as caught:
        controls(Played(networks), request)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("control", "[]"),
        ("control", '[""]'),
        ("control", '"a.png"'),
        ("control_scale", "[1e9]"),
        ("control_scale", "[NaN]"),
        ("control_start", "[-0.1]"),
        ("control_end", "[1.1]"),
        ("control_end", "[true]"),
        ("guess_mode", "1"),
    ],
)
def test_numbers_and_paths_of_a_job_are_checked(key: str, value: str) -> None:
    line = f'{{"command": "generate", "package": "p", "request": {{"{key}": {value}}}}}'
    with pytest.raises(RunnerFailure, match=key):
        parse_job(line.encode())
