"""A model that ControlNets steer draws what diffusers' own pipelines draw: in every target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.metrics import psnr_db

from edgegen.core.reading import Reading
from edgegen.models.source import resolve
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
