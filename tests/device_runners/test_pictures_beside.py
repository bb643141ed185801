"""What a denoiser sees beside its sample: depth maps, small pictures, and who is told of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.generation import PICTURE_NAMES, PICTURES, STARTS
from edgegen_runner.package import load_package
from edgegen_runner.pipelines.beside import read_depth
from edgegen_runner.pipelines.starts import start_kind
from edgegen_runner.pipelines.taken import check_taken
from edgegen_runner.request import Request

from tests.tiny_packages import torch_package


def saved(levels: np.ndarray, path: Path) -> Path:
    from PIL import Image

    Image.fromarray(levels).save(path)
    return path


def test_every_start_says_which_pictures_it_takes() -> None:
    assert set(PICTURES) == set(STARTS)
    started = {name for names in PICTURES.values() for name in names}
    assert started | {"picture_prompt"} == set(PICTURE_NAMES)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(12, 20), (40, 60), (64, 47)])
def test_a_depth_map_is_resized_and_scaled_as_diffusers_does(
    kind: Any, size: tuple[int, int], tmp_path: Path
) -> None:
    """`prepare_depth_map` of the depth-to-image pipeline, in its own words."""
    import torch

    most = np.iinfo(kind).max
    levels = np.random.default_rng(5).integers(0, most, (40, 60)).astype(kind)
    depth = torch.from_numpy(levels.astype(np.float32))[None]
    resized = torch.nn.functional.interpolate(
        depth.unsqueeze(1), size=size, mode="bicubic", align_corners=False
    )
    least, span = resized.amin(), resized.amax() - resized.amin()
    expected = (2.0 * (resized - least) / span - 1.0).numpy()

    found = read_depth(saved(levels, tmp_path / "depth.png"), *size)

    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5


def test_a_flat_depth_map_is_refused(tmp_path: Path) -> None:
    flat = saved(np.full((8, 8), 77, np.uint8), tmp_path / "depth.png")
    with pytest.raises(RunnerFailure, match="same everywhere"):
        read_depth(flat, 4, 4)


@pytest.mark.parametrize(
    ("family", "request_", "option"),
    [
        ("sd15", {"image_guidance": 1.5}, "--image-guidance"),
        ("sd15", {"noise_level": 20}, "--noise-level"),
        ("sd15", {"depth": Path("depth.png")}, "--depth"),
        ("sd-edit", {"noise_level": 20}, "--noise-level"),
        ("sd-edit", {"strength": 0.5}, "--strength"),
        ("sd-upscale", {"image_guidance": 2.0}, "--image-guidance"),
        ("ddpm", {"noise_level": 0}, "--noise-level"),
        ("ddpm", {"class_label": 0}, "--class-label"),
        ("sd15", {"class_label": 0}, "--class-label"),
    ],
)
def test_what_a_family_does_not_know_is_refused_by_its_name(
    family: str, request_: dict[str, Any], option: str, tiny_pipeline: Any, tmp_path: Path
) -> None:
    package = load_package(torch_package(family, tiny_pipeline(family), tmp_path / "package"))
    with pytest.raises(RunnerFailure, match=f"family {package.family} ") as caught:
        check_taken(package, Request(**request_))
    assert option in caught.value.hint


@pytest.mark.parametrize("label", [None, 10])
def test_one_of_the_classes_of_images_has_to_be_given(
    label: int | None, tiny_pipeline: Any, tmp_path: Path
) -> None:
    source = tiny_pipeline("consistency")
    package = load_package(torch_package("consistency", source, tmp_path / "package"))
    with pytest.raises(RunnerFailure, match="10 classes") as caught:
        check_taken(package, Request(class_label=label))
    assert "--class-label 0 to 9" in caught.value.hint
    check_taken(package, Request(class_label=9))


@pytest.mark.parametrize(
    ("family", "given"),
    [
        ("sd-edit", ()),
        ("sd-edit", ("image", "mask")),
        ("sd-upscale", ()),
        ("sd-depth", ("image",)),
        ("sd-depth", ("depth",)),
        ("sd-depth", ("image", "mask", "depth")),
    ],
)
def test_pictures_that_do_not_go_with_a_family_are_refused(
    family: str, given: tuple[str, ...], tiny_pipeline: Any, tmp_path: Path
) -> None:
    package = load_package(torch_package(family, tiny_pipeline(family), tmp_path / "package"))
    pictures = {name: tmp_path / f"{name}.png" for name in given}
    with pytest.raises(RunnerFailure) as caught:
        start_kind(package, Request(**pictures))
    assert caught.value.kind == "bad-request"
    assert caught.value.hint


def test_a_level_of_noise_that_an_upscaler_does_not_know_is_refused(
    tiny_pipeline: Any, tmp_path: Path
) -> None:
    from edgegen_runner.pipelines.beside import SmallPicture

    source = tiny_pipeline("sd-upscale")
    package = load_package(torch_package("sd-upscale", source, tmp_path / "package"))
    with pytest.raises(RunnerFailure, match="351 is above 350"):
        SmallPicture(package, Request(noise_level=351))
