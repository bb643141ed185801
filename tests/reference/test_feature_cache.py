"""Features that are kept between steps: diffusers as the reference, and the runner beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.package import load_package
from edgegen_runner.pipelines import open_pipeline
from edgegen_runner.request import Request
from edgegen_runner.residency import Components

from edgegen.core.errors import ConfigError
from edgegen.drawer import DrawRequest
from edgegen.families import family_of
from edgegen.networks import denoiser_of
from edgegen.networks.feature_cache import FEATURES
from edgegen.reference.drawer import TorchDrawer
from edgegen.reference.feature_cache import cached_features
from tests.tiny_models import HIDDEN
from tests.tiny_packages import TorchBackend, torch_package

PIPELINES = {
    "sd15": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "ddim": "DDIMPipeline",
}
FAMILIES = {"sd15": "stable-diffusion", "sdxl": "stable-diffusion-xl", "ddim": "unconditional"}
STEPS = 8


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pipeline_of(tiny: str, source: Path) -> Any:
    import diffusers

    pipeline = getattr(diffusers, PIPELINES[tiny]).from_pretrained(source)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def request(tiny: str, **fields: Any) -> DrawRequest:
    if tiny == "ddim":
        return DrawRequest(seed=3, steps=STEPS, **fields)
    return DrawRequest(
        prompt="the er", seed=3, steps=STEPS, guidance=5.0, width=32, height=32, **fields
    )


def drawn_by_the_runner(
    tiny: str, pipeline: Any, package: Path, **fields: Any
) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Return the picture, in 0…255, and the components that ran, in order."""
    components = Components(
        load_package(package), TorchBackend(pipeline), "all", lambda *_, **__: None
    )
    ran: list[str] = []
    plain = components.run_each

    def run_each(name: str, calls: Any, *outputs: Any) -> Any:
        ran.extend([name] * len(calls))
        return plain(name, calls, *outputs)

    components.run_each = run_each  # type: ignore[method-assign]  # to see the order of calls
    if tiny != "ddim":
        fields |= {"guidance": 5.0, "width": 32, "height": 32}
    ours = open_pipeline(components, Request(steps=STEPS, **fields))
    conditioning = ours.encode(None if tiny == "ddim" else "the er")
    *_, last = ours.denoise(conditioning, ours.prepare(3))
    image = np.clip(ours.decode(last.latents)[0].transpose(1, 2, 0) / 2 + 0.5, 0, 1)
    return image * 255, [name for name in ran if name.startswith("unet")]


@pytest.mark.parametrize(
    "tiny", ["sd15", "sd21", "sd-inpaint", "lcm", "sdxl", "sdxl-refiner", "ddpm", "ddim"]
)
def test_the_last_layer_on_features_of_the_same_call_gives_what_the_whole_network_gives(
    tiny: str, tiny_pipeline: Any
) -> None:
    import diffusers
    import torch

    folder = tiny_pipeline(tiny) / "unet"
    kind = "UNet2DModel" if tiny.startswith("dd") else "UNet2DConditionModel"
    network = getattr(diffusers, kind).from_pretrained(folder).eval()
    known = denoiser_of(kind)
    assert known.caching is not None
    chance = torch.Generator().manual_seed(1)
    width = 48 if tiny == "sdxl-refiner" else HIDDEN + 48 if tiny == "sdxl" else HIDDEN
    inputs = {
        "sample": torch.randn(2, network.config.in_channels, 16, 24, generator=chance),
        "timestep": torch.tensor(501.0),
        "encoder_hidden_states": torch.randn(2, 77, width, generator=chance),
    }
    if "xl" in tiny:
        ids = 5 if tiny == "sdxl-refiner" else 6
        inputs["text_embeds"] = torch.randn(2, 24, generator=chance)
        inputs["time_ids"] = torch.full((2, ids), 32.0)
    if tiny == "lcm":
        inputs["timestep_cond"] = torch.randn(2, 16, generator=chance)
    with torch.no_grad():
        whole = known.parts[0].forward(network, inputs)
        if "xl" in tiny:
            del inputs["encoder_hidden_states"]  # its last block reads no text
        shallow = known.caching.part.forward(network, {**inputs, FEATURES: whole[FEATURES]})
        other = known.caching.part.forward(network, {**inputs, FEATURES: whole[FEATURES] + 1})
    assert torch.equal(shallow["out_sample"], whole["out_sample"])
    assert not torch.equal(other["out_sample"], whole["out_sample"])


@pytest.mark.parametrize("tiny", PIPELINES)
@pytest.mark.parametrize(
    "interval", [3, *(pytest.param(it, marks=pytest.mark.slow) for it in (2, 5))]
)
def test_the_runner_draws_what_diffusers_draws_with_the_same_interval(
    tiny: str, interval: int, tiny_pipeline: Any, tmp_path: Path
) -> None:
    source = tiny_pipeline(tiny)
    pipeline = pipeline_of(tiny, source)
    drawer = TorchDrawer(pipeline, FAMILIES[tiny])
    (expected,) = drawer.draw([request(tiny, cache_interval=interval)])
    package = torch_package(tiny, source, tmp_path / "package", cached=True)
    image, ran = drawn_by_the_runner(tiny, pipeline, package, cache_interval=interval)
    assert np.abs(image - expected).max() <= 1
    calls = STEPS + (tiny == "sd15")  # PNDM makes one call more than there are steps
    assert ran == ["unet_shallow" if index % interval else "unet" for index in range(calls)]
    whole, ran = drawn_by_the_runner(tiny, pipeline, package)
    assert np.abs(image - whole).max() > 4
    assert ran == ["unet"] * calls


@pytest.mark.parametrize(
    ("start", "stop", "batch"),
    [
        *((0.0, 0.5, 1), (0.3, 1.0, 1), (0.3, 0.8, 2)),
        *(
            pytest.param(*part, marks=pytest.mark.slow)
            for part in ((0.0, 0.5, 2), (0.3, 1.0, 2), (0.3, 0.8, 1))
        ),
    ],
)
def test_features_are_kept_through_steps_that_are_guided_and_others(
    start: float, stop: float, batch: int, tiny_pipeline: Any, tmp_path: Path
) -> None:
    source = tiny_pipeline("sd15")
    pipeline = pipeline_of("sd15", source)
    part = {"guidance_start": start, "guidance_stop": stop, "cache_interval": 4}
    (expected,) = TorchDrawer(pipeline, "stable-diffusion").draw([request("sd15", **part)])
    package = torch_package("sd15", source, tmp_path / "package", cached=True)
    image, ran = drawn_by_the_runner("sd15", pipeline, package, guidance_batch=batch, **part)
    assert np.abs(image - expected).max() <= 1
    if start and batch == 2:  # nothing was kept without the prompt before the first guided call
        assert [index for index, name in enumerate(ran) if name == "unet"] == [0, 2, 4, 8]


def test_an_image_begins_with_all_layers_and_the_drawer_forgets_the_interval(
    tiny_pipeline: Any,
) -> None:
    drawer = TorchDrawer(pipeline_of("sd15", tiny_pipeline("sd15")), "stable-diffusion")
    asked = [request("sd15", cache_interval=interval) for interval in (1, 3, 3, 1)]
    first, cached, again, last = (drawer.draw([one])[0] for one in asked)
    np.testing.assert_array_equal(first, last)
    np.testing.assert_array_equal(cached, again)
    together = drawer.draw([asked[1], asked[0]])
    np.testing.assert_array_equal(together[0], cached)
    np.testing.assert_array_equal(together[1], first)


def test_a_package_of_one_graph_refuses_an_interval(tiny_pipeline: Any, tmp_path: Path) -> None:
    source = tiny_pipeline("sd15")
    package = torch_package("sd15", source, tmp_path / "package")
    with pytest.raises(RunnerFailure, match="keeps no features between steps") as caught:
        drawn_by_the_runner("sd15", pipeline_of("sd15", source), package, cache_interval=3)
    assert "--cache-interval" in caught.value.hint


def test_a_transformer_keeps_no_features(tiny_pipeline: Any) -> None:
    import diffusers

    pipeline = diffusers.PixArtAlphaPipeline.from_pretrained(tiny_pipeline("pixart"))
    with (
        pytest.raises(ConfigError, match="PixArtTransformer2DModel keeps no features"),
        cached_features(pipeline, family_of("pixart"), 2, (0.0, 1.0)),
    ):
        pass


def test_components_that_take_turns_are_both_held_where_others_are_one_at_a_time(
    tiny_pipeline: Any, tmp_path: Path
) -> None:
    source = tiny_pipeline("sd15")
    backend = TorchBackend(pipeline_of("sd15", source))
    package = load_package(torch_package("sd15", source, tmp_path / "package", cached=True))
    components = Components(package, backend, "sequential", lambda *_, **__: None)
    ours = open_pipeline(components, Request(steps=STEPS, cache_interval=2, width=32, height=32))
    conditioning = ours.encode("the er")
    *_, last = ours.denoise(conditioning, ours.prepare(3))
    ours.decode(last.latents)
    assert backend.loaded == ["text_encoder", "unet", "unet_shallow", "vae_decoder"]
