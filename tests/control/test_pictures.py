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
from tests.tiny_models import write_controlnet

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
    model: Path, destination: Path, controlnets: Sequence[Path] = (), target: str = "onnx"
) -> Built:
    """Build a package in float32, which passes parity with diffusers' ControlNet pipeline."""
    folder = resolve(str(model), reading=Reading(controlnets=tuple(map(str, controlnets))))
    return build(plan(folder, target=target, destination=destination, recipe="fp32"))


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

    loaded = [diffusers.ControlNetModel.from_pretrained(it) for it in controlnets]
    given = {"controlnet": loaded[0] if len(loaded) == 1 else loaded} if loaded else {}
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
    built = packaged(model, tmp_path / "package", [net])
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


def test_two_controlnets_steer_sdxl_in_every_target(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """The pipeline was saved with them; they act in parts of the steps of their own."""
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
    for target, built in packages(model, tmp_path / "packages").items():
        names = [it.spec.name for it in built.manifest.components]
        assert names[2:4] == ["controlnet", "controlnet_1"]
        found = drawn(
            built.path,
            target,
            tmp_path / target,
            negative_prompt="the er",
            control=tuple(map(str, controls)),
            control_scale=(0.7, 1.2),
            control_start=(0.0, 0.3),
            control_end=(0.6, 1.0),
        )
        require_same(wanted, found)


def test_a_controlnet_steers_stable_diffusion_in_every_target(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline("sd15")
    nets = [write_controlnet("sd15", tmp_path / f"net{seed}", seed=seed) for seed in (3, 4)]
    controls = [picture(tmp_path / f"{seed}.png", seed=seed) for seed in (1, 2)]
    for count in (1, 2):
        images = [open_picture(it) for it in controls[:count]]
        wanted = expected(
            model,
            "StableDiffusionControlNetPipeline",
            nets[:count],
            {"image": images[0] if count == 1 else images, "controlnet_conditioning_scale": 0.8},
        )
        for target, built in packages(model, tmp_path / f"of{count}", nets[:count]).items():
            found = drawn(
                built.path,
                target,
                tmp_path / f"{target}{count}",
                control=tuple(map(str, controls[:count])),
                control_scale=(0.8,),
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
