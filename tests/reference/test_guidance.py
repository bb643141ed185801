"""Guidance in a part of the steps: diffusers as the reference, and the runner beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.package import load_package
from edgegen_runner.pipelines import open_pipeline
from edgegen_runner.request import Request
from edgegen_runner.residency import Components

from edgegen.drawer import DrawRequest
from edgegen.reference.drawer import TorchDrawer
from tests.tiny_packages import TorchBackend, torch_package

PARTS = [(0.0, 0.5), (0.5, 1.0), (0.25, 0.75), (0.0, 1.0)]
PIPELINES = {"sd15": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}
FAMILIES = {"sd15": "stable-diffusion", "sdxl": "stable-diffusion-xl"}


def drawer(tiny: str, source: Path) -> tuple[Any, TorchDrawer]:
    import diffusers

    pipeline = getattr(diffusers, PIPELINES[tiny]).from_pretrained(source)
    return pipeline, TorchDrawer(pipeline, FAMILIES[tiny])


def request(**fields: Any) -> DrawRequest:
    return DrawRequest(
        prompt="the er", seed=3, steps=8, guidance=5.0, width=32, height=32, **fields
    )


@pytest.mark.parametrize(
    ("tiny", "start", "stop"),
    [
        *(("sd15", *part) for part in PARTS),
        ("sdxl", 0.25, 0.75),
        *(
            pytest.param("sdxl", *part, marks=pytest.mark.slow)
            for part in PARTS
            if part != (0.25, 0.75)
        ),
    ],
)
def test_the_runner_guides_the_same_steps(
    tiny: str, start: float, stop: float, tiny_pipeline: Any, tmp_path: Path
) -> None:
    source = tiny_pipeline(tiny)
    pipeline, torch_drawer = drawer(tiny, source)
    (expected,) = torch_drawer.draw([request(guidance_start=start, guidance_stop=stop)])
    calls: list[int] = []

    def count(_network: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls.append(len(given[0] if given else named["sample"]))

    pipeline.unet.register_forward_pre_hook(count, with_kwargs=True)
    package = load_package(torch_package(tiny, source, tmp_path / "package"))
    components = Components(package, TorchBackend(pipeline), "all", lambda *_, **__: None)
    asked = Request(
        steps=8, guidance=5.0, guidance_start=start, guidance_stop=stop, width=32, height=32
    )
    ours = open_pipeline(components, asked)
    conditioning = ours.encode("the er")
    *_, last = ours.denoise(conditioning, ours.prepare(3))
    image = np.clip(ours.decode(last.latents)[0].transpose(1, 2, 0) / 2 + 0.5, 0, 1)
    assert np.abs(image * 255 - expected).max() <= 1
    of = {"sd15": 9, "sdxl": 8}[tiny]  # PNDM makes one call more than there are steps
    guided = range(int(of * start), int(of * stop))
    assert calls == [2 if index in guided else 1 for index in range(of)]


def test_a_part_of_the_steps_draws_another_picture_and_the_drawer_forgets_it(
    tiny_pipeline: Any,
) -> None:
    _, torch_drawer = drawer("sd15", tiny_pipeline("sd15"))
    whole, part, again = (
        torch_drawer.draw([request(guidance_stop=stop)])[0] for stop in (1.0, 0.5, 1.0)
    )
    assert np.abs(whole.astype(int) - part).max() > 4  # the runner beside diffusers is within 1
    np.testing.assert_array_equal(whole, again)


def test_several_pictures_at_once_are_those_one_by_one(tiny_pipeline: Any) -> None:
    _, torch_drawer = drawer("sd15", tiny_pipeline("sd15"))
    asked = [request(guidance_stop=0.5), request(guidance_stop=1.0)]
    together = torch_drawer.draw(asked)
    for one, picture in zip(asked, together, strict=True):
        np.testing.assert_array_equal(torch_drawer.draw([one])[0], picture)
