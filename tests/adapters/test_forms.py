"""Every form of an adapter, by whatever names it was saved, makes the weights of its paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.models.adapters.adapted_folder import with_adapters
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.source import resolve
from edgegen.models.weight_source import StoredWeights
from tests.adapters.writers import (
    FORMS,
    Array,
    Naming,
    every,
    is_trained,
    kohya,
    kohya_of_two_encoders,
    lora,
    lycoris,
    modules_in,
    peft,
    plain_lora,
    with_component,
    write,
)
from tests.conftest import TinyPipeline

SCALE = 0.7
COMPONENTS = {
    "sd15": ("unet", "text_encoder"),
    "sd21": ("unet", "text_encoder"),
    "sdxl": ("unet", "text_encoder", "text_encoder_2"),
    "pixart": ("transformer", "text_encoder"),
}


def trained(model: Path, *components: str) -> list[tuple[str, str, Array]]:
    return [
        (component, module, weight)
        for component in components
        for module, weight in modules_in(model / component, is_trained).items()
    ]


def adapted(model: Path, adapter: Path, scale: float = SCALE) -> Mapping[str, StoredWeights]:
    folder = with_adapters(resolve(str(model)), [f"{adapter}:{scale:g}"])
    source = open_source(folder_source(folder.path))
    return {
        it.name: source.weights(it.name)
        for it in model.iterdir()
        if it.is_dir() and any(it.glob("*.safetensors"))
    }


def require_equal(
    model: Path, weights: Mapping[str, StoredWeights], expected: Mapping[tuple[str, str], Array]
) -> None:
    """Compare every weight of a model: those that were trained, and that no other is changed."""
    plain = open_source(folder_source(model))
    for component, adapted_weights in weights.items():
        own = plain.weights(component)
        assert own.entries.keys() == adapted_weights.entries.keys()
        for key in own.entries:
            got, module = adapted_weights.array(key), key.removesuffix(".weight")
            wanted = expected.get((component, module))
            if wanted is None or not key.endswith(".weight"):
                assert np.array_equal(got, own.array(key)), key
                assert adapted_weights.entries[key].dtype == own.entries[key].dtype
                continue
            assert got.dtype == np.float32
            assert adapted_weights.entries[key].dtype == "float32"
            largest = np.abs(wanted).max()
            assert np.abs(wanted - own.array(key)).max() > 1e-3 * largest, f"{key} has to change"
            assert np.abs(got - wanted).max() < 2e-6 * largest, key


@pytest.mark.parametrize("name", FORMS)
def test_a_form_makes_the_weights_of_its_paper(
    name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline("sd15")
    modules = every(3, trained(model, "unet", "text_encoder"))
    assert {weight.ndim for _, _, weight in modules} == {2, 4}
    path = tmp_path / f"{name}.safetensors"
    expected = write(path, modules, FORMS[name], kohya, scale=SCALE)
    require_equal(model, adapted(model, path), expected)


@pytest.mark.parametrize(
    ("family", "naming"),
    [
        ("sd15", with_component),
        ("sd15", lycoris),
        ("sd21", kohya),
        ("sdxl", kohya_of_two_encoders),
        ("sdxl", with_component),
        ("pixart", kohya),
        ("pixart", with_component),
    ],
)
def test_all_modules_of_a_family_are_found_by_their_names(
    family: str, naming: Naming, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline(family)
    modules = trained(model, *COMPONENTS[family])
    assert {component for component, _, _ in modules} == {*COMPONENTS[family]}
    expected = write(tmp_path / "a.safetensors", modules, lora, naming, scale=SCALE)
    require_equal(model, adapted(model, tmp_path / "a.safetensors"), expected)


@pytest.mark.parametrize(("family", "component"), [("sd15", "unet"), ("pixart", "transformer")])
def test_peft_s_folder_says_how_strongly_each_module_is_added(
    family: str, component: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline(family)
    modules = every(4, trained(model, component))
    special = modules[1][1]
    alphas = {module: 12.0 if module == special else 6.0 for _, module, _ in modules}
    path = tmp_path / "adapter_model.safetensors"
    expected = {
        **write(path, modules, plain_lora, peft, scale=SCALE),
    }
    plain = {(component, module): weight for _, module, weight in modules}
    expected = {
        key: plain[key] + (new - plain[key]) * alphas[key[1]] / 4 for key, new in expected.items()
    }
    (tmp_path / "adapter_config.json").write_text(
        f'{{"peft_type": "LORA", "r": 4, "lora_alpha": 6, "alpha_pattern": {{"{special}": 12}}}}'
    )
    require_equal(model, adapted(model, tmp_path), expected)


def test_half_precision_is_added_in_float32(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    model = tiny_pipeline("sd15", dtype="float16")
    modules = every(5, trained(model, "unet"))
    path = tmp_path / "a.safetensors"
    write(path, modules, lora, kohya, scale=SCALE, dtype="float16")
    got = adapted(model, path)["unet"]
    component, module, _ = modules[0]
    sum_ = got.array(f"{module}.weight")
    assert sum_.dtype == np.float32
    assert np.any(sum_ != sum_.astype(np.float16)), f"{component}: rounded to what was stored"
    assert np.array_equal(got.array(f"{module}.weight", np.float16), sum_.astype(np.float16))


def test_two_adapters_are_added_one_after_the_other(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline("sd15")
    modules = every(3, trained(model, "unet"))
    once = write(tmp_path / "a.safetensors", modules, lora, kohya, scale=0.5)
    after = [(component, module, new) for (component, module), new in once.items()]
    expected = write(tmp_path / "b.safetensors", after, FORMS["dora"], with_component, scale=-0.3)
    adapters = [f"{tmp_path}/a.safetensors:0.5", f"{tmp_path}/b.safetensors:-0.3"]
    folder = with_adapters(resolve(str(model)), adapters)
    got = open_source(folder_source(folder.path)).weights("unet")
    for (_, module), wanted in expected.items():
        largest = np.abs(wanted).max()
        assert np.abs(got.array(f"{module}.weight") - wanted).max() < 2e-6 * largest


def test_a_bias_is_added_to_as_well(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    model = tiny_pipeline("sd15")
    own = open_source(folder_source(model)).weights("unet")
    bias: Any = own.array("conv_in.bias")
    tensors = {"lora_unet_conv_in.diff_b": np.full_like(bias, 0.25)}
    save_file(tensors, tmp_path / "a.safetensors")
    got = adapted(model, tmp_path / "a.safetensors", 2.0)["unet"]
    assert np.array_equal(got.array("conv_in.bias"), bias + np.float32(0.5))
    assert np.array_equal(got.array("conv_in.weight"), own.array("conv_in.weight"))
