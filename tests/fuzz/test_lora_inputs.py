"""LoRAs that are given at run time: broken adapters, and broken files of what layers take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.lora import load_lora
from edgegen_runner.package import Component, Package
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.codec import decode
from edgegen.core.package import PackageManifest
from edgegen.models.adapters.as_inputs import write_as_inputs
from edgegen.models.adapters.lora_choice import LoraChoice
from tests.adapters.writers import FORMS, every, kohya, modules_in, write
from tests.conftest import TinyPipeline
from tests.fuzz.harness import case, fuzzing
from tests.fuzz.mutations import mutated
from tests.fuzz.test_adapters import broken, changed, header_of, packed
from tests.tiny_packages import manifest, packaged


@pytest.fixture(scope="module")
def layers(tiny_pipeline: TinyPipeline) -> Mapping[str, Any]:
    return modules_in(tiny_pipeline("sd15") / "unet")


@pytest.fixture(scope="module")
def stated(layers: Mapping[str, Any]) -> PackageManifest:
    """Return a manifest whose UNet takes a LoRA in each of its layers."""
    unet = packaged("unet", "unet/model.onnx", [], [])
    unet["spec"]["class_name"] = "UNet2DConditionModel"
    unet["lora_inputs"] = {
        name: {"weight": f"{name}.weight", "shape": list(weight.shape)}
        for name, weight in layers.items()
    }
    generation = {"width": 32, "height": 32, "latent_channels": 4}
    data = manifest(
        family="stable-diffusion",
        pipeline_class="StableDiffusionPipeline",
        generation=generation,
        components=[unet],
    )
    return decode(PackageManifest, data, source="the test")


@pytest.fixture(scope="module")
def opened(layers: Mapping[str, Any]) -> Package:
    """Return the same package as the runner has it; only its components are looked at."""
    component = Component(
        "unet", "denoiser", Path("model.onnx"), {}, {}, folder="unet",
        lora_inputs={name: weight.shape for name, weight in layers.items()},
    )  # fmt: skip
    package: Any = Package.__new__(Package)
    object.__setattr__(package, "components", {"unet": component})
    return package  # type: ignore[no-any-return]  # made without what isn't looked at


@pytest.fixture(scope="module")
def good(layers: Mapping[str, Any], tmp_path_factory: Any) -> list[bytes]:
    """Return whole files: one of each form, and one of layers that the model lacks."""
    folder = tmp_path_factory.mktemp("good")
    modules = [("unet", name, weight) for name, weight in every(12, layers.items())]
    files = []
    for name, form in FORMS.items():
        write(folder / f"{name}.safetensors", modules, form, kohya)
        files.append((folder / f"{name}.safetensors").read_bytes())
    foreign = [("unet", f"no_{name}", weight) for _, name, weight in modules]
    write(folder / "other.safetensors", foreign, FORMS["lora"], kohya)
    return [*files, (folder / "other.safetensors").read_bytes()]


@fuzzing()
@given(plan=broken())
def test_a_broken_adapter_becomes_inputs_that_the_runner_takes_or_an_error(
    plan: Any, good: list[bytes], stated: PackageManifest, opened: Package, tmp_path_factory: Any
) -> None:
    folder: Path = tmp_path_factory.getbasetemp()
    file, made = folder / "fuzzed_lora.safetensors", folder / "fuzzed_inputs.safetensors"
    file.write_bytes(changed(plan, good))
    with case("LoRAs as inputs"):
        write_as_inputs([LoraChoice(file=file), LoraChoice(file=file, scale=-0.5)], stated, made)
        for name, array in load_lora(made, opened)["unet"].items():
            assert array.dtype == np.float32, name


@fuzzing()
@given(data=st.data())
def test_a_broken_file_of_inputs_ends_orderly(
    data: st.DataObject,
    good: list[bytes],
    stated: PackageManifest,
    opened: Package,
    tmp_path_factory: Any,
) -> None:
    folder: Path = tmp_path_factory.getbasetemp()
    file, made = folder / "good_lora.safetensors", folder / "good_inputs.safetensors"
    if not made.is_file():
        file.write_bytes(good[0])
        write_as_inputs([LoraChoice(file=file)], stated, made)
    content = made.read_bytes()
    change = data.draw(st.sampled_from(("cut", "bytes", "header")))
    if change == "cut":
        content = content[: data.draw(st.integers(0, len(content)))]
    elif change == "bytes":
        spoiled = bytearray(content)
        for _ in range(data.draw(st.integers(1, 8))):
            spoiled[data.draw(st.integers(0, 4096))] = data.draw(st.integers(0, 255))
        content = bytes(spoiled)
    else:
        header, rest = header_of(content)
        content = packed(data.draw(mutated(header)), rest)
    place = folder / "spoiled_inputs.safetensors"
    place.write_bytes(content)
    with case("files of inputs"):
        for component in load_lora(place, opened).values():
            assert all(np.isfinite(array).all() for array in component.values())
