"""A packaged pipeline makes the image that diffusers makes: same prompt, same seed, fp32."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.manifest import load_manifest
from edgegen.runner.job import Backend, GenerateJob, Request
from edgegen.runner.session import generate
from tests.exporters.test_odd_networks import FOUR_LEVELS
from tests.tiny_models import build

PROMPT = "a cat and the dog, singing"
LOWEST_PSNR_DB = 60.0


@dataclass(frozen=True)
class Drawing:
    """One request in both dialects."""

    pipeline: str
    arguments: dict[str, Any]
    request: dict[str, Any]
    pictures: tuple[str, ...] = field(default=())
    picture_size: tuple[int, int] = (32, 32)  # height and width


TEXT = {"prompt": PROMPT, "num_inference_steps": 5}
DRAWINGS: dict[str, list[Drawing]] = {
    "sd15": [
        Drawing("StableDiffusionPipeline", TEXT, {}),
        Drawing(
            "StableDiffusionPipeline",
            {**TEXT, "negative_prompt": "the er", "guidance_scale": 4.0, "width": 48, "height": 32},
            {"negative_prompt": "the er", "guidance": 4.0, "width": 48},
        ),
        Drawing("StableDiffusionImg2ImgPipeline", TEXT, {}, ("image",)),
    ],
    "sd21": [Drawing("StableDiffusionPipeline", TEXT, {})],
    "taesd": [Drawing("StableDiffusionPipeline", TEXT, {})],
    "sd-inpaint": [Drawing("StableDiffusionInpaintPipeline", TEXT, {}, ("image", "mask"))],
    "sd-edit": [Drawing("StableDiffusionInstructPix2PixPipeline", TEXT, {}, ("image",))],
    "sd-upscale": [Drawing("StableDiffusionUpscalePipeline", TEXT, {}, ("image",))],
    "lcm": [Drawing("LatentConsistencyModelPipeline", TEXT, {})],
    "sdxl": [Drawing("StableDiffusionXLPipeline", TEXT, {})],
    "sdxl-refiner": [
        Drawing(
            "StableDiffusionXLImg2ImgPipeline",
            {**TEXT, "strength": 0.6},
            {"strength": 0.6},
            ("image",),
        )
    ],
    "sdxl-inpaint": [
        Drawing(
            "StableDiffusionXLInpaintPipeline",
            {**TEXT, "width": 32, "height": 32},
            {},
            ("image", "mask"),
        )
    ],
    "ddpm": [Drawing("DDPMPipeline", {"num_inference_steps": 5}, {})],
    "ddim": [Drawing("DDIMPipeline", {"num_inference_steps": 5, "eta": 0.4}, {"eta": 0.4})],
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        yield


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow  # in every run a package's pictures are held to torch's by test_drawers
@pytest.mark.parametrize("family", DRAWINGS)
def test_packaged_pipeline_makes_diffusers_image(
    family: str, tiny_pipeline: Any, tmp_path: Path
) -> None:
    source = tiny_pipeline(family)
    _compare(source, _package(source, tmp_path / "package"), DRAWINGS[family], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_sizes_that_the_levels_cannot_halve_evenly_are_drawn_as_diffusers_draws_them(
    target: str, tmp_path: Path
) -> None:
    """Four levels and 36 × 20 latents, like 520 × 520 with Stable Diffusion 1.5."""
    source = build("sd15", tmp_path / "model", changes={"unet": FOUR_LEVELS})
    drawings = [
        Drawing(
            "StableDiffusionPipeline",
            {**TEXT, "width": 72, "height": 40},
            {"width": 72, "height": 40},
        ),
        Drawing("StableDiffusionImg2ImgPipeline", TEXT, {}, ("image",), picture_size=(40, 88)),
    ]
    _compare(source, _package(source, tmp_path / "package", target), drawings, tmp_path)


def _compare(source: Path, package: Path, drawings: list[Drawing], scratch: Path) -> None:
    for number, drawing in enumerate(drawings):
        folder = scratch / str(number)
        folder.mkdir()
        expected = _expected(source, drawing, folder)
        pixels = _drawn(package, drawing, folder)
        assert expected.std() > 1
        assert pixels.shape == expected.shape
        assert _psnr_db(expected, pixels) >= LOWEST_PSNR_DB


def _package(source: Path, destination: Path, target: str = "onnx") -> Path:
    from edgegen.models.source import resolve
    from edgegen.packaging.build import build
    from edgegen.packaging.plan import plan

    planned = plan(resolve(str(source)), target=target, destination=destination, recipe="fp32")
    return build(planned, parity=False).path


def _expected(source: Path, drawing: Drawing, folder: Path) -> np.ndarray:
    import diffusers
    import torch
    from PIL import Image

    optional = {"safety_checker": None} if drawing.pipeline.startswith("StableDiffusionI") else {}
    pipeline = getattr(diffusers, drawing.pipeline).from_pretrained(source, **optional)
    pipeline.set_progress_bar_config(disable=True)
    arguments = dict(drawing.arguments)
    if "image" in drawing.pictures:
        height, width = drawing.picture_size
        rows, columns = np.mgrid[0:height, 0:width]
        layers = [np.sin(rows / 5), np.cos(columns / 7), np.sin((rows + columns) / 3)]
        pixels = ((np.stack(layers, axis=2) * 0.5 + 0.5) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "image.png")
        arguments["image"] = Image.open(folder / "image.png")
    if "mask" in drawing.pictures:
        mask = np.zeros((32, 32), np.uint8)
        mask[8:24, 4:20] = 255
        Image.fromarray(mask).save(folder / "mask.png")
        arguments["mask_image"] = Image.open(folder / "mask.png")
    generator = torch.Generator("cpu").manual_seed(17)
    return np.array(pipeline(generator=generator, **arguments).images[0])


def _drawn(package: Path, drawing: Drawing, folder: Path) -> np.ndarray:
    from PIL import Image

    pictures = {name: str(folder / f"{name}.png") for name in drawing.pictures}
    prompt = drawing.arguments.get("prompt")
    request = Request(
        prompts=None if prompt is None else (prompt,),
        steps=drawing.arguments["num_inference_steps"],
        seed=17,
        **pictures,
        **drawing.request,
    )
    (image,) = generate(
        GenerateJob(
            package=str(package),
            request=request,
            output=str(folder / "out"),
            backend=Backend(name=load_manifest(package).target.replace("onnx", "onnxruntime")),
        )
    )
    assert image.path is not None
    return np.array(Image.open(image.path))


def _psnr_db(expected: np.ndarray, pixels: np.ndarray) -> float:
    error = float(np.mean((expected.astype(float) - pixels) ** 2))
    return math.inf if error == 0 else 20 * math.log10(255) - 10 * math.log10(error)
