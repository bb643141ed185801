"""The runner's pipelines against diffusers' own, with the same modules behind both.

What differs is all the runner's: tokens, draws, schedulers, guidance, conditioning, masks, scaling.
"""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.package import load_package
from edgegen_runner.pipelines import open_pipeline
from edgegen_runner.png import write_png
from edgegen_runner.request import Request
from edgegen_runner.residency import Components

from tests.tiny_models import absent
from tests.tiny_packages import TorchBackend, torch_package

PROMPT = "a cat and the dog, singing"
TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def quiet_torch() -> Iterator[None]:
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        # diffusers and transformers deprecate each other's arguments from one version to the next.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


@dataclass(frozen=True)
class Case:
    name: str
    family: str
    pipeline: str
    request: dict[str, Any]
    arguments: dict[str, Any]
    uses: tuple[str, ...] = ()
    scheduler: tuple[str, dict[str, Any]] | None = None
    picture_width: int = 50


def guided_until(share: float, *conditions: str) -> dict[str, Any]:
    """Return the arguments with which diffusers' documentation ends guidance early."""
    names = ["prompt_embeds", *conditions]

    def callback(
        pipeline: Any, index: int, _timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        if index + 1 == int(pipeline.num_timesteps * share):
            pipeline._guidance_scale = 0.0
            return {name: tensors[name].chunk(2)[-1] for name in names}
        return tensors

    return {"callback_on_step_end": callback, "callback_on_step_end_tensor_inputs": names}


CASES = [
    Case(
        "sd15 guided in its first half",
        "sd15",
        "StableDiffusionPipeline",
        {"guidance_stop": 0.5, "steps": 7},
        {"num_inference_steps": 7, **guided_until(0.5)},
    ),
    Case(
        "sd15 image to image, guided in its first third",
        "sd15",
        "StableDiffusionImg2ImgPipeline",
        {"guidance_stop": 0.34, "steps": 10, "strength": 0.6},
        {"num_inference_steps": 10, "strength": 0.6, **guided_until(0.34)},
        uses=("image",),
    ),
    Case(
        "sdxl guided in its first half",
        "sdxl",
        "StableDiffusionXLPipeline",
        {"guidance_stop": 0.5},
        guided_until(0.5, "add_text_embeds", "add_time_ids"),
    ),
    Case("sd15", "sd15", "StableDiffusionPipeline", {}, {}),
    Case(
        "sd15 with a negative prompt and rescaled guidance",
        "sd15",
        "StableDiffusionPipeline",
        {"negative_prompt": "the er", "guidance": 5.0, "guidance_rescale": 0.7, "steps": 5},
        {
            "negative_prompt": "the er",
            "guidance_scale": 5.0,
            "guidance_rescale": 0.7,
            "num_inference_steps": 5,
        },
    ),
    Case(
        "sd15 without guidance, wide",
        "sd15",
        "StableDiffusionPipeline",
        {"guidance": 1.0, "width": 48, "height": 32},
        {"guidance_scale": 1.0, "width": 48, "height": 32},
    ),
    Case(
        "sd15 with eta",
        "sd15",
        "StableDiffusionPipeline",
        {"eta": 0.6, "scheduler": "ddim"},
        {"eta": 0.6},
        scheduler=("DDIMScheduler", {}),
    ),
    Case(
        "sd15 euler ancestral",
        "sd15",
        "StableDiffusionPipeline",
        {"scheduler": "euler-ancestral"},
        {},
        scheduler=("EulerAncestralDiscreteScheduler", {}),
    ),
    Case(
        "sd15 image to image",
        "sd15",
        "StableDiffusionImg2ImgPipeline",
        {"steps": 5, "strength": 0.6},
        {"num_inference_steps": 5, "strength": 0.6},
        uses=("image",),
    ),
    Case(
        "sd15 image to image, dpmsolver++ sde",
        "sd15",
        "StableDiffusionImg2ImgPipeline",
        {"steps": 6, "scheduler": "dpmsolver++-sde-karras"},
        {"num_inference_steps": 6},
        uses=("image",),
        scheduler=(
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
        ),
    ),
    Case(
        "sd15 inpaint",
        "sd15",
        "StableDiffusionInpaintPipeline",
        {"scheduler": "ddim"},
        {},
        uses=("image", "mask"),
        scheduler=("DDIMScheduler", {}),
    ),
    Case(
        "sd15 inpaint with euler ancestral and strength",
        "sd15",
        "StableDiffusionInpaintPipeline",
        {"strength": 0.75, "scheduler": "euler-ancestral"},
        {"strength": 0.75},
        uses=("image", "mask"),
        scheduler=("EulerAncestralDiscreteScheduler", {}),
    ),
    Case("sd21 v-prediction", "sd21", "StableDiffusionPipeline", {}, {}),
    Case("taesd", "taesd", "StableDiffusionPipeline", {}, {}),
    Case(
        "taesd image to image",
        "taesd",
        "StableDiffusionImg2ImgPipeline",
        {},
        {},
        uses=("image",),
    ),
    Case("sd-inpaint", "sd-inpaint", "StableDiffusionInpaintPipeline", {}, {}, ("image", "mask")),
    Case(
        "sd-inpaint with strength",
        "sd-inpaint",
        "StableDiffusionInpaintPipeline",
        {"strength": 0.5, "steps": 6},
        {"strength": 0.5, "num_inference_steps": 6},
        uses=("image", "mask"),
    ),
    Case(
        "sd-edit",
        "sd-edit",
        "StableDiffusionInstructPix2PixPipeline",
        {"negative_prompt": "er"},
        {"negative_prompt": "er"},
        uses=("image",),
    ),
    Case(
        "sd-edit, close to the picture, in several calls",
        "sd-edit",
        "StableDiffusionInstructPix2PixPipeline",
        {"image_guidance": 2.5, "guidance": 3.0, "guidance_batch": 1},
        {"image_guidance_scale": 2.5, "guidance_scale": 3.0},
        uses=("image",),
    ),
    Case(
        "sd-edit without guidance",
        "sd-edit",
        "StableDiffusionInstructPix2PixPipeline",
        {"guidance": 1.0},
        {"guidance_scale": 1.0},
        uses=("image",),
    ),
    Case(
        "sdxl-edit",
        "sdxl-edit",
        "StableDiffusionXLInstructPix2PixPipeline",
        {"guidance_rescale": 0.3},
        {"guidance_rescale": 0.3, "height": 32, "width": 32},
        uses=("image",),
    ),
    Case("sd-upscale", "sd-upscale", "StableDiffusionUpscalePipeline", {}, {}, uses=("image",)),
    Case(
        "sd-upscale, another level of noise",
        "sd-upscale",
        "StableDiffusionUpscalePipeline",
        {"noise_level": 131, "scheduler": "euler-ancestral"},
        {"noise_level": 131},
        uses=("image",),
        scheduler=("EulerAncestralDiscreteScheduler", {}),
    ),
    Case(
        "sd-latent-upscale",
        "sd-latent-upscale",
        "StableDiffusionLatentUpscalePipeline",
        {"negative_prompt": "er"},
        {"negative_prompt": "er"},
        uses=("image",),
        picture_width=48,
    ),
    Case(
        "sd-latent-upscale without guidance",
        "sd-latent-upscale",
        "StableDiffusionLatentUpscalePipeline",
        {"guidance": 0.0, "steps": 6},
        {"guidance_scale": 0, "num_inference_steps": 6},
        uses=("image",),
        picture_width=48,
    ),
    Case(
        "sd-depth",
        "sd-depth",
        "StableDiffusionDepth2ImgPipeline",
        {"strength": 0.6, "steps": 6},
        {"strength": 0.6, "num_inference_steps": 6},
        uses=("image", "depth"),
    ),
    Case("lcm", "lcm", "LatentConsistencyModelPipeline", {}, {}),
    Case(
        "lcm image to image",
        "lcm",
        "LatentConsistencyModelImg2ImgPipeline",
        {},
        {"strength": 0.8},
        uses=("image",),
    ),
    Case(
        "lcm scheduler in sd15, image to image",
        "sd15",
        "StableDiffusionImg2ImgPipeline",
        {"scheduler": "lcm", "strength": 0.6, "steps": 5},
        {"strength": 0.6, "num_inference_steps": 5},
        uses=("image",),
        scheduler=("LCMScheduler", {}),
    ),
    Case(
        "lcm scheduler in sdxl, image to image",
        "sdxl",
        "StableDiffusionXLImg2ImgPipeline",
        {"scheduler": "lcm", "strength": 0.6, "steps": 5},
        {"strength": 0.6, "num_inference_steps": 5},
        uses=("image",),
        scheduler=("LCMScheduler", {}),
    ),
    Case("sdxl", "sdxl", "StableDiffusionXLPipeline", {}, {}),
    Case(
        "sdxl with a negative prompt",
        "sdxl",
        "StableDiffusionXLPipeline",
        {"negative_prompt": "er", "guidance_rescale": 0.3},
        {"negative_prompt": "er", "guidance_rescale": 0.3},
    ),
    Case(
        "sdxl unipc",
        "sdxl",
        "StableDiffusionXLPipeline",
        {"scheduler": "unipc"},
        {},
        scheduler=("UniPCMultistepScheduler", {}),
    ),
    Case(
        "sdxl image to image",
        "sdxl",
        "StableDiffusionXLImg2ImgPipeline",
        {"strength": 0.5},
        {"strength": 0.5},
        uses=("image",),
    ),
    Case("sdxl inpaint", "sdxl", "StableDiffusionXLInpaintPipeline", {}, {}, ("image", "mask")),
    Case(
        "sdxl-inpaint",
        "sdxl-inpaint",
        "StableDiffusionXLInpaintPipeline",
        {},
        {},
        ("image", "mask"),
    ),
    Case(
        "refiner",
        "sdxl-refiner",
        "StableDiffusionXLImg2ImgPipeline",
        {"steps": 10},
        {"num_inference_steps": 10},
        uses=("image",),
    ),
    Case(
        "consistency model, one step",
        "consistency",
        "ConsistencyModelPipeline",
        {"class_label": 7, "steps": 1},
        {"class_labels": [7], "num_inference_steps": 1},
    ),
    Case(
        "consistency model, several steps",
        "consistency",
        "ConsistencyModelPipeline",
        {"class_label": 3, "steps": 5},
        {"class_labels": [3], "num_inference_steps": 5},
    ),
    Case("ddpm", "ddpm", "DDPMPipeline", {"steps": 5}, {"num_inference_steps": 5}),
    Case("ddim", "ddim", "DDIMPipeline", {}, {}),
    Case("ddim with eta", "ddim", "DDIMPipeline", {"eta": 0.5}, {"eta": 0.5}),
    Case(
        "ddim pipeline over a ddpm config",
        "ddim",
        "DDIMPipeline",
        {},
        {},
        scheduler=("DDPMScheduler", {}),
    ),
]


def picture(width: int, height: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    layers = [np.sin(rows / 5), np.cos(columns / 7), np.sin((rows + columns) / 3)]
    return ((np.stack(layers, axis=2) * 0.5 + 0.5) * 255).astype(np.uint8)


OTHER_SCHEDULERS = (
    *("sd15 with eta", "sd15 euler ancestral", "sd15 image to image, dpmsolver++ sde"),
    *("sd15 inpaint with euler ancestral and strength", "ddim pipeline over a ddpm config"),
    *("lcm scheduler in sd15, image to image", "lcm scheduler in sdxl, image to image"),
)
"""Cases of schedulers, of which the matrix in tests/schedulers has cells in every run."""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(it, marks=pytest.mark.slow) if it.name in OTHER_SCHEDULERS else it
        for it in CASES
    ],
    ids=lambda case: case.name,
)
def test_pipeline_draws_what_diffusers_draws(
    case: Case, tiny_pipeline: Any, tmp_path: Path
) -> None:
    import diffusers
    import torch
    from PIL import Image

    source = tiny_pipeline(case.family)
    theirs = getattr(diffusers, case.pipeline).from_pretrained(
        source,
        **absent(case.family),
        **({"safety_checker": None} if "Inpaint" in case.pipeline else {}),
    )
    theirs.set_progress_bar_config(disable=True)
    folder = torch_package(case.family, source, tmp_path / "package")
    if case.scheduler is not None:
        name, options = case.scheduler
        written = json.loads((source / "scheduler" / "scheduler_config.json").read_text())
        made = getattr(diffusers, name).from_config(written, **options)
        if "pipeline over" in case.name:
            # as loaded: DDIMPipeline turns what it finds into DDIM
            theirs = diffusers.DDIMPipeline(theirs.unet, made)
            theirs.set_progress_bar_config(disable=True)
            path = folder / "scheduler" / "scheduler_config.json"
            path.write_text(json.dumps({**dict(made.config), "_class_name": name}))
        else:  # given to the pipeline's class, which corrects it
            theirs = type(theirs)(**{**theirs.components, "scheduler": made})
            theirs.set_progress_bar_config(disable=True)
    arguments: dict[str, Any] = dict(case.arguments)
    request: dict[str, Any] = dict(case.request)
    if "image" in case.uses:
        write_png(tmp_path / "image.png", picture(case.picture_width, 41))
        request["image"] = tmp_path / "image.png"
        arguments["image"] = Image.open(tmp_path / "image.png")
    if "mask" in case.uses:
        mask = picture(40, 40)[:, :, :1]
        write_png(tmp_path / "mask.png", mask)
        request["mask"] = tmp_path / "mask.png"
        arguments["mask_image"] = Image.open(tmp_path / "mask.png")
        arguments |= {"width": 32, "height": 32}
    if "depth" in case.uses:
        levels = (picture(50, 41)[:, :, 0].astype(np.uint16) << 8) + 77
        Image.fromarray(levels).save(tmp_path / "depth.png")
        request["depth"] = tmp_path / "depth.png"
        arguments["depth_map"] = torch.from_numpy(levels.astype(np.float32))[None]
    textual = case.family not in ("ddpm", "ddim", "consistency")
    if textual:
        arguments["prompt"] = PROMPT
        arguments.setdefault("guidance_scale", 7.5)
    arguments.setdefault("num_inference_steps", 4)
    expected = theirs(
        generator=torch.Generator("cpu").manual_seed(11), output_type="np", **arguments
    ).images[0]

    package = load_package(folder)
    components = Components(package, TorchBackend(theirs), "sequential", lambda *_, **__: None)
    pipeline = open_pipeline(components, Request(**request))
    conditioning = pipeline.encode(PROMPT if textual else None)
    start = pipeline.prepare(11)
    *_, last = pipeline.denoise(conditioning, start)
    image = pipeline.decode(last.latents)[0].transpose(1, 2, 0)

    assert np.isfinite(expected).all()
    assert expected.std() > 0.01
    assert image.shape == expected.shape
    assert np.abs(np.clip(image / 2 + 0.5, 0, 1) - expected).max() < TOLERANCE
