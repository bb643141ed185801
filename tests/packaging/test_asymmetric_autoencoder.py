"""A decoder that sees the picture around a mask draws what diffusers' pipelines draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.targets import load_targets
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from tests.control.test_pictures import drawn, expected, open_picture, picture, require_same
from tests.tiny_models import build as build_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
    ),
]
FAMILY = "sd-inpaint-asymmetric"
SIZE = 64


def mask(path: Path) -> Path:
    from PIL import Image

    pixels = np.zeros((SIZE, SIZE), np.uint8)
    pixels[12:40, 20:] = 255
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("target", load_targets())
def test_behind_a_mask_every_target_draws_as_torch(target: str, tmp_path: Path) -> None:
    model = build_model(FAMILY, tmp_path / "model")
    planned = plan(resolve(str(model)), target=target, destination=tmp_path / target, recipe="fp32")
    built = build(planned)
    names = [it.name for it in built.manifest.components[-2].spec.inputs]
    assert names == ["latent_sample", "condition_picture", "condition_mask"]
    image = next(it for it in built.evidence.parity if it.layer == "image")
    assert image.psnr_db is None or image.psnr_db >= 60


@pytest.mark.parametrize("starts_from", ["noise", "picture", "mask"])
def test_one_decoder_serves_text_picture_and_mask(starts_from: str, tmp_path: Path) -> None:
    model = build_model(FAMILY, tmp_path / "model", changes={"unet": {"in_channels": 4}})
    package = tmp_path / "package"
    build(plan(resolve(str(model)), target="onnx", destination=package, recipe="fp32"))
    photo = picture(tmp_path / "photo.png", width=SIZE, height=SIZE)
    hidden = mask(tmp_path / "mask.png")
    names = {
        "noise": "StableDiffusionPipeline",
        "picture": "StableDiffusionImg2ImgPipeline",
        "mask": "StableDiffusionInpaintPipeline",
    }
    given: dict[str, Any] = {"width": SIZE, "height": SIZE} if starts_from != "picture" else {}
    request: dict[str, Any] = {}
    if starts_from != "noise":
        given |= {"image": open_picture(photo), "strength": 0.75}
        request |= {"image": str(photo), "strength": 0.75}
    if starts_from == "mask":
        given["mask_image"] = open_picture(hidden)
        request["mask"] = str(hidden)
    wanted = expected(model, names[starts_from], [], given)
    found = drawn(package, "onnx", tmp_path, **request)
    require_same(wanted, found)
