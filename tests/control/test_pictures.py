"""A model that ControlNets steer draws what diffusers' own pipelines draw: in every target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.metrics import psnr_db

from edgegen.core.reading import Reading
from edgegen.core.targets import load_targets
from edgegen.models.source import resolve
from edgegen.packaging.batch import build_all
from edgegen.packaging.build import Built, build
from edgegen.packaging.plan import plan
from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.job import GenerateJob, Request
from edgegen.runner.session import generate
from tests.conftest import TinyPipeline
from tests.tiny_models import ADAPTER, ADAPTER_XL, write_adapter, write_controlnet
from tests.tiny_models import build as build_model

# diffusers says so where it corrects an old configuration
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
    ),
]

LEAST_PSNR_DB = 60.0
PROMPT = "a cat and the dog, singing"
STEPS = 5
SEED = 17
SIZE = 32
STEERED = "StableDiffusionControlNet{}Pipeline"


def picture(path: Path, *, width: int = SIZE, height: int = SIZE, seed: int = 0) -> Path:
    """Write a picture with edges: no two of them are alike."""
    from PIL import Image

    rows, columns = np.mgrid[0:height, 0:width]
    levels = [np.sin((rows + 3 * seed) / 3), np.cos(columns / (4 + seed)), np.sin(rows * columns)]
    pixels = ((np.stack(levels, axis=2) > 0.3) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def packaged(
    model: Path, destination: Path, controlnets: Sequence[Path] = (), *, parity: bool = False
) -> Built:
    """Build an ONNX package in float32."""
    folder = resolve(str(model), reading=Reading(controlnets=tuple(map(str, controlnets))))
    planned = plan(folder, target="onnx", destination=destination, recipe="fp32")
    return build(planned, parity=parity)


def drawn(package: Path, target: str, folder: Path, **request: Any) -> np.ndarray:
    from PIL import Image

    (image,) = generate(
        GenerateJob(
            package=str(package),
            request=Request(prompts=(PROMPT,), steps=STEPS, seed=SEED, **request),
            output=str(folder / "out"),
            backend=backend_here(target, Wishes(threads=1)),
        )
    )
    assert image.path is not None
    return np.array(Image.open(image.path))


def expected(
    model: Path, class_name: str, controlnets: Sequence[Path], arguments: Mapping[str, Any]
) -> np.ndarray:
    import diffusers
    import torch

    adapts = "Adapter" in class_name
    network = diffusers.T2IAdapter if adapts else diffusers.ControlNetModel
    loaded = [network.from_pretrained(it) for it in controlnets]
    slot = "adapter" if adapts else "controlnet"
    joined = diffusers.MultiAdapter if adapts else diffusers.MultiControlNetModel
    given = {slot: loaded[0] if len(loaded) == 1 else joined(loaded)} if loaded else {}
    optional = {} if "XL" in class_name else {"safety_checker": None}
    pipeline = getattr(diffusers, class_name).from_pretrained(model, **given, **optional)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(SEED)
    call = {"prompt": PROMPT, "num_inference_steps": STEPS, **arguments}
    return np.array(pipeline(generator=generator, **call).images[0])


def open_picture(path: Path) -> Any:
    from PIL import Image

    return Image.open(path)


def require_same(wanted: np.ndarray, found: np.ndarray) -> None:
    assert wanted.shape == found.shape
    assert wanted.std() > 1
    psnr = psnr_db(wanted / 255, found / 255)
    assert psnr is None or psnr >= LEAST_PSNR_DB, psnr


def test_a_controlnet_steers_as_in_diffusers(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    model = tiny_pipeline("sd15")
    net = write_controlnet("sd15", tmp_path / "net")
    built = packaged(model, tmp_path / "package", [net], parity=True)
    manifest = built.manifest
    assert manifest.family == "stable-diffusion-controlnet"
    assert manifest.facts.controls == 1
    assert [it.spec.name for it in manifest.components][1] == "controlnet"
    assert all(check.passed for check in built.evidence.parity)
    control = picture(tmp_path / "edges.png", width=50, height=41)
    wanted = expected(
        model,
        "StableDiffusionControlNetPipeline",
        [net],
        {"image": open_picture(control), "width": 32, "height": 32},
    )
    found = drawn(
        tmp_path / "package", "onnx", tmp_path, control=(str(control),), width=32, height=32
    )
    require_same(wanted, found)
    other = drawn(
        tmp_path / "package",
        "onnx",
        tmp_path,
        control=(str(picture(tmp_path / "other.png", seed=2)),),
    )
    assert (other.astype(int) - found).std() > 1  # the picture matters


def packages(
    model: Path, destination: Path, controlnets: Sequence[Path] = ()
) -> Mapping[str, Built]:
    """Build a package for each target, each held against diffusers' golden case."""
    folder = resolve(str(model), reading=Reading(controlnets=tuple(map(str, controlnets))))
    plans = {
        target: plan(folder, target=target, destination=destination / target, recipe="fp32")
        for target in load_targets()
    }
    found = {}
    for target, built in zip(plans, build_all(list(plans.values())).packages, strict=True):
        assert isinstance(built, Built), (target, built)
        assert all(check.passed for check in built.evidence.parity)
        found[target] = built
    return found


THREE_LEVELS = {
    "sd15": {
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    },
    "sdxl": {
        "block_out_channels": (32, 32, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": [2, 4, 4],
        "transformer_layers_per_block": [1, 1, 1],
    },
}
"""The kinds of levels that both have: the last of SDXL's features is for the middle."""
ADAPTERS = {
    "sd15": (
        {**ADAPTER, "channels": [32, 64, 64]},
        {**ADAPTER, "channels": [32, 64], "adapter_type": "light_adapter"},
    ),
    "sdxl": (
        {**ADAPTER_XL, "channels": [32, 32, 64, 64]},
        {**ADAPTER_XL, "channels": [32, 32, 64, 64], "in_channels": 1},
    ),
}


def steered_model(way: str, folder: Path, tiny_pipeline: TinyPipeline) -> tuple[Path, list[Path]]:
    """Return a model, and two networks that steer it."""
    places = [folder / "first", folder / "other one"]
    kind, family = way.split(", ")
    if kind == "controlnets":
        nets = [write_controlnet(family, it, seed=len(it.name)) for it in places]
        return tiny_pipeline(family), nets
    model = build_model(family, folder / "model", changes={"unet": THREE_LEVELS[family]})
    return model, [
        write_adapter(place, seed=len(place.name), **settings)
        for place, settings in zip(places, ADAPTERS[family], strict=True)
    ]


WAYS = {
    "controlnets, sd15": ("StableDiffusionControlNetPipeline", "controlnet_conditioning_scale"),
    "controlnets, sdxl": ("StableDiffusionXLControlNetPipeline", "controlnet_conditioning_scale"),
    "adapters, sd15": ("StableDiffusionAdapterPipeline", "adapter_conditioning_scale"),
    "adapters, sdxl": ("StableDiffusionXLAdapterPipeline", "adapter_conditioning_scale"),
}


@pytest.mark.parametrize("way", WAYS)
def test_one_network_and_two_steer_as_in_diffusers_in_every_target(
    way: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """One of two acts alone where the other's scale is 0."""
    class_name, scale = WAYS[way]
    model, nets = steered_model(way, tmp_path, tiny_pipeline)
    controls = [picture(tmp_path / f"{seed}.png", seed=seed) for seed in (1, 2)]
    gray = way == "adapters, sdxl"  # the second adapter sees in gray
    images = [open_picture(it) for it in controls]
    images[1] = images[1].convert("L") if gray else images[1]
    size = {"width": SIZE, "height": SIZE}
    both = expected(model, class_name, nets, {"image": images, scale: [0.8, 1.2], **size})
    alone = expected(model, class_name, nets[:1], {"image": images[0], scale: 0.8, **size})
    assert (both.astype(int) - alone).std() > 1
    for target, built in packages(model, tmp_path / "packages", nets).items():
        for wanted, scales in ((both, (0.8, 1.2)), (alone, (0.8, 0.0))):
            found = drawn(
                built.path,
                target,
                tmp_path / f"{target}{scales[1]}",
                control=tuple(map(str, controls)),
                control_scale=scales,
            )
            require_same(wanted, found)


def test_networks_act_in_parts_of_the_steps_of_their_own(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """The pipeline was saved with its ControlNets."""
    model = tiny_pipeline("sdxl-controlnets")
    controls = [picture(tmp_path / f"{seed}.png", seed=seed) for seed in (1, 2)]
    wanted = expected(
        model,
        "StableDiffusionXLControlNetPipeline",
        [],
        {
            "image": [open_picture(it) for it in controls],
            "negative_prompt": "the er",
            "controlnet_conditioning_scale": [0.7, 1.2],
            "control_guidance_start": [0.0, 0.3],
            "control_guidance_end": [0.6, 1.0],
        },
    )
    built = packaged(model, tmp_path / "package")
    names = [it.spec.name for it in built.manifest.components]
    assert names[2:4] == ["controlnet", "controlnet_1"]
    found = drawn(
        built.path,
        "onnx",
        tmp_path,
        negative_prompt="the er",
        control=tuple(map(str, controls)),
        control_scale=(0.7, 1.2),
        control_start=(0.0, 0.3),
        control_end=(0.6, 1.0),
    )
    require_same(wanted, found)


def test_guess_mode_and_pooled_residuals_are_diffusers(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline("sd15")
    plain = write_controlnet("sd15", tmp_path / "plain")
    pooling = write_controlnet("sd15", tmp_path / "pooling", global_pool_conditions=True)
    control = picture(tmp_path / "edges.png")
    for net, guesses in ((plain, True), (pooling, False)):
        built = packaged(model, tmp_path / f"{net.name}-package", [net])
        arguments = {"image": open_picture(control), "guess_mode": guesses, "guidance_scale": 4.0}
        wanted = expected(model, "StableDiffusionControlNetPipeline", [net], arguments)
        for batch in (1, 2):  # both predictions of guidance in one call, or in two
            found = drawn(
                built.path,
                "onnx",
                tmp_path / f"{net.name}{batch}",
                control=(str(control),),
                guess_mode=guesses,
                guidance=4.0,
                guidance_batch=batch,
            )
            require_same(wanted, found)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_picture_is_changed_and_painted_over_as_in_diffusers(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline(family)
    net = write_controlnet(family, tmp_path / "net")
    built = packaged(model, tmp_path / "package", [net])
    control, image = (picture(tmp_path / f"{seed}.png", seed=seed) for seed in (1, 2))
    mask = mask_picture(tmp_path / "mask.png")
    name = "StableDiffusionXLControlNet{}Pipeline" if family == "sdxl" else STEERED
    given = {"image": open_picture(image), "control_image": open_picture(control)}
    pictures = {"image": str(image), "control": (str(control),)}
    wanted = expected(model, name.format("Img2Img"), [net], given)
    require_same(wanted, drawn(built.path, "onnx", tmp_path / "changed", **pictures))
    painted = {**given, "mask_image": open_picture(mask)}
    wanted = expected(model, name.format("Inpaint"), [net], painted)
    found = drawn(built.path, "onnx", tmp_path / "painted", mask=str(mask), **pictures)
    require_same(wanted, found)


@pytest.mark.parametrize("family", ["sd-inpaint-controlnet", "sdxl-inpaint-controlnet"])
def test_inpainting_unets_are_steered_as_in_diffusers(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline(family)
    built = packaged(model, tmp_path / "package")
    control, image = (picture(tmp_path / f"{seed}.png", seed=seed) for seed in (1, 2))
    mask = mask_picture(tmp_path / "mask.png")
    wanted = expected(
        model,
        built.manifest.pipeline_class,
        [],
        {
            "image": open_picture(image),
            "control_image": open_picture(control),
            "mask_image": open_picture(mask),
        },
    )
    found = drawn(
        built.path, "onnx", tmp_path, image=str(image), mask=str(mask), control=(str(control),)
    )
    require_same(wanted, found)


def mask_picture(path: Path) -> Path:
    from PIL import Image

    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:24, 4:20] = 255
    Image.fromarray(mask).save(path)
    return path
