"""Networks that are legal and unusual: each computes in every target what it computes in torch."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgegen.exporters.capture import TRACED_SIZES, UNEVEN_SIZES
from edgegen.networks import NETWORKS
from tests.exporters import (
    test_coreml_export,
    test_onnx_export,
    test_openvino_export,
    test_tflite_export,
)
from tests.exporters.odd_settings import SETTINGS
from tests.tiny_models import build

ROOT = Path(__file__).parents[2]
FOUR_LEVELS: Mapping[str, Any] = {
    "block_out_channels": (16, 16, 16, 16),
    "down_block_types": (*["DownBlock2D"] * 3, "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", *["UpBlock2D"] * 3),
}
NCSNPP: Mapping[str, Any] = {  # as in google/ncsnpp-ffhq-256
    "block_out_channels": (32, 64),
    "down_block_types": ("SkipDownBlock2D", "AttnSkipDownBlock2D"),
    "up_block_types": ("AttnSkipUpBlock2D", "SkipUpBlock2D"),
    "time_embedding_type": "fourier",
    "norm_num_groups": None,
    "attention_head_dim": None,
    "mid_block_scale_factor": 1.41421356237,
}
UNEVEN = (
    {"batch": 2, "sequence": 77, "height": 42, "width": 66},
    {"batch": 1, "sequence": 20, "height": 130, "width": 34},
)
"""Sizes of which the first cannot be halved three times, nor twice by the second."""
EVEN = ({"batch": 2, "sequence": 77, "height": 64, "width": 32},)


HOSTS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "CLIPTextModel": ("sd15", "text_encoder", ("text_encoder",)),
    "UNet2DConditionModel": ("sd15", "unet", ("unet",)),
    "UNet2DModel": ("ddpm", "unet", ("unet",)),
    "AutoencoderKL": ("sd15", "vae", ("vae_decoder", "vae_encoder")),
    "AutoencoderTiny": ("taesd", "vae", ("vae_decoder", "vae_encoder")),
    "AsymmetricAutoencoderKL": (
        *("sd-inpaint-asymmetric", "vae"),
        ("vae_decoder", "vae_encoder"),
    ),
}
"""Class of a network -> a tiny pipeline that has it, as what, and the components that it makes."""
PARTNERS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("UNet2DConditionModel", "down_block_types"): ("DownBlock2D", "CrossAttnDownBlock2D"),
    ("UNet2DConditionModel", "up_block_types"): ("CrossAttnUpBlock2D", "UpBlock2D"),
    ("UNet2DModel", "down_block_types"): ("DownBlock2D", "AttnDownBlock2D"),
    ("UNet2DModel", "up_block_types"): ("AttnUpBlock2D", "UpBlock2D"),
    ("AutoencoderKL", "down_block_types"): ("DownEncoderBlock2D", "DownEncoderBlock2D"),
    ("AutoencoderKL", "up_block_types"): ("UpDecoderBlock2D", "UpDecoderBlock2D"),
    ("AsymmetricAutoencoderKL", "down_block_types"): (
        *("DownEncoderBlock2D", "DownEncoderBlock2D"),
    ),
    ("AsymmetricAutoencoderKL", "up_block_types"): ("UpDecoderBlock2D", "UpDecoderBlock2D"),
}
"""Blocks of two levels, of which one is exchanged."""


def onnx(folder: Path, name: str, place: Path, sizes: tuple[dict[str, int], ...]) -> float:
    _, component, _ = test_onnx_export.export(folder, name, place)
    return min(test_onnx_export.compare(folder, component, place, each) for each in sizes)


def openvino(folder: Path, name: str, place: Path, sizes: tuple[dict[str, int], ...]) -> float:
    _, component, _, _ = test_openvino_export.export(folder, name, place)
    return min(test_openvino_export.compare(folder, component, place, each) for each in sizes)


def coreml(folder: Path, name: str, place: Path, _: Any) -> float:
    component, _, packages = test_coreml_export.export(folder, name, place)
    return test_coreml_export.compare(folder, component, packages)


def tflite(folder: Path, name: str, place: Path, _: Any) -> float:
    component, _ = test_tflite_export.export(folder, name, place)
    return test_tflite_export.compare(folder, component, place)


TARGETS: Mapping[str, Callable[..., float]] = {
    "onnx": onnx,
    "openvino": openvino,
    "coreml": coreml,
    "tflite": tflite,
}
"""Exports a component and returns the lowest PSNR of its outputs against torch."""


def slow_but(*fast: str) -> list[Any]:
    return [it if it in fast else pytest.param(it, marks=pytest.mark.slow) for it in TARGETS]


@pytest.mark.parametrize("target", slow_but("onnx", "tflite"))
def test_four_levels_of_mish_halve_sizes_that_are_not_even(target: str, tmp_path: Path) -> None:
    odd = {**FOUR_LEVELS, "sample_size": [20, 12], "act_fn": "mish"}
    folder = build("sd15", tmp_path / "model", changes={"unet": odd})
    assert TARGETS[target](folder, "unet", tmp_path / "out", (*UNEVEN, *EVEN)) > 110


@pytest.mark.parametrize("target", slow_but("openvino", "coreml"))
def test_resampling_by_fir_is_what_diffusers_computes(target: str, tmp_path: Path) -> None:
    folder = build("ddpm", tmp_path / "model", changes={"unet": NCSNPP})
    assert TARGETS[target](folder, "unet", tmp_path / "out", EVEN) > 110


def test_a_latent_of_a_level_that_is_cut_off_is_upsampled_to_one_more(tmp_path: Path) -> None:
    """Without padding an odd size halves to the smaller half, and Core ML gathers."""
    odd = {**FOUR_LEVELS, "sample_size": [20, 12], "downsample_padding": 0}
    folder = build("sd15", tmp_path / "model", changes={"unet": odd})
    assert coreml(folder, "unet", tmp_path / "out", ()) > 110


def every_option() -> Iterator[tuple[str, str, Any]]:
    """Yield class, setting and value of all that the tables allow.

    Blocks of K-diffusion stand together only, and a learned embedding has a size: `SETTINGS` has
    them.
    """
    for class_name, network in NETWORKS.items():
        if class_name in HOSTS:
            for key, values in network.options.items():
                single = (it for it in values if not str(it).startswith("K") and it != "learned")
                yield from ((class_name, key, value) for value in single)


@pytest.mark.slow
@pytest.mark.parametrize(("class_name", "key", "value"), list(every_option()))
def test_every_option_that_edgegen_knows_is_exported_into_every_target(
    class_name: str, key: str, value: Any, tmp_path: Path
) -> None:
    family, part, names = HOSTS[class_name]
    if key.endswith("block_types"):
        first, second = PARTNERS[class_name, key]
        setting: Any = (value, second) if key.startswith("down") else (first, value)
        if class_name == "AsymmetricAutoencoderKL":
            setting *= 2  # it has four levels
    else:
        setting = value
    folder = build(family, tmp_path / "model", changes={part: {key: setting}})
    for name in names:
        for target, compare in TARGETS.items():
            place = tmp_path / f"{name}-{target}"
            assert compare(folder, name, place, EVEN) > 90, (name, target)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("class_name", "setting"),
    [(class_name, setting) for class_name, settings in SETTINGS.items() for setting in settings],
)
def test_every_other_setting_of_diffusers_is_exported_into_every_target(
    class_name: str, setting: str, tmp_path: Path
) -> None:
    family, part, names = HOSTS[class_name]
    folder = build(family, tmp_path / "model", changes={part: SETTINGS[class_name][setting]})
    for name in names:
        for target, compare in TARGETS.items():
            place = tmp_path / f"{name}-{target}"
            assert compare(folder, name, place, EVEN) > 90, (name, target)


@pytest.mark.parametrize("traced", [TRACED_SIZES, UNEVEN_SIZES], ids=["even", "uneven"])
@pytest.mark.parametrize("padded", [True, False], ids=["halved up", "halved down"])
def test_equal_numbers_of_both_traces_mean_equal_axes(
    traced: Mapping[str, tuple[int, int]], padded: bool
) -> None:
    meanings: dict[tuple[int, int], str] = {
        traced["batch"]: "batch",
        traced["sequence"]: "sequence",
    }
    height, width = traced["height"], traced["width"]
    for level in range(6):
        area = (height[0] * width[0], height[1] * width[1])
        for pair, name in ((height, "height"), (width, "width"), (area, "area")):
            assert pair[0] != pair[1]
            assert meanings.setdefault(pair, f"{name} {level}") == f"{name} {level}"
        height, width = halved(height, padded), halved(width, padded)


def halved(numbers: tuple[int, int], padded: bool) -> tuple[int, int]:
    return (numbers[0] + padded) // 2, (numbers[1] + padded) // 2


@pytest.mark.parametrize(
    "class_name",
    [
        *("UNet2DConditionModel", "UNet2DModel"),
        *("AutoencoderKL", "AsymmetricAutoencoderKL", "AutoencoderTiny"),
    ],
)
def test_the_page_of_options_names_each_parameter_of_diffusers_class(class_name: str) -> None:
    page = (ROOT / "docs" / "reference" / "network-options.md").read_text(encoding="utf-8")
    _, _, behind = page.partition(f"## {class_name}\n")
    rows = [line.split("|")[1] for line in behind.partition("\n## ")[0].splitlines() if "|" in line]
    named = re.findall(r"`(\w+)`", " ".join(rows))
    assert len(named) == len({*named})
    parameters = {*inspect.signature(NETWORKS[class_name].load_class()).parameters}
    assert {*named} == parameters
    known = {key for setting in SETTINGS[class_name].values() for key in setting}
    assert known | {*NETWORKS[class_name].options} <= parameters
