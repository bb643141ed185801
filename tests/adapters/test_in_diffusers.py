"""Adapters as diffusers and PEFT write and load them: the same weights, the same picture.

diffusers loads a LoRA with PEFT only, which is therefore one of the development dependencies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.metrics import psnr_db

from edgegen.drawer import DrawRequest
from edgegen.models.adapters.adapted_folder import with_adapters
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.reference.drawer import TorchDrawer
from edgegen.runner.drawers import PackageDrawer
from tests.adapters.writers import (
    FORMS,
    is_trained,
    kohya,
    kohya_of_two_encoders,
    lora,
    modules_in,
    plain_lora,
    with_component,
    write,
)
from tests.conftest import TinyPipeline

# diffusers says so where it corrects an old configuration
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
    ),
]

LEAST_PSNR_DB = 60.0
SCALE = 0.7
PATTERN = r".*(to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|conv1|proj_in)"
TEXT_PATTERN = r".*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"


def loaded(model: Path) -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(str(model), safety_checker=None)


def require_same_weights(pipeline: Any, model: Path, adapter: Path, *folders: str) -> None:
    """Compare each weight of ours with that of a pipeline whose adapter is fused."""
    adapted = with_adapters(resolve(str(model)), [f"{adapter}:{SCALE}"])
    source, plain = open_source(folder_source(adapted.path)), open_source(folder_source(model))
    for folder in folders:
        weights, own = source.weights(folder), plain.weights(folder)
        state = getattr(pipeline, folder).state_dict()
        changed = 0
        for key in weights.entries:
            name = key if key in state else key.removeprefix("text_model.")
            if name not in state:
                assert key.endswith("position_ids")
                continue
            theirs = state[name].numpy()
            assert np.abs(weights.array(key) - theirs).max() < 1e-6 * max(1, np.abs(theirs).max())
            changed += not np.array_equal(own.array(key), theirs)
        assert changed > 8, folder


def fused(pipeline: Any, adapter: Path) -> Any:
    pipeline.load_lora_weights(str(adapter), adapter_name="it")
    pipeline.set_adapters("it", SCALE)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    return pipeline


@pytest.mark.parametrize("form", ["lora", "plain_lora"])
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_kohya_s_and_diffusers_own_layouts(
    form: str, family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline(family)
    folders = ("unet", "text_encoder", *(("text_encoder_2",) if family == "sdxl" else ()))
    modules = [
        (folder, module, weight)
        for folder in folders
        for module, weight in modules_in(model / folder, is_trained).items()
    ]
    naming: Callable[[str, str], str] = with_component
    if form == "lora":
        naming = kohya_of_two_encoders if family == "sdxl" else kohya
    write(tmp_path / "a.safetensors", modules, FORMS[form], naming)
    pipeline = fused(loaded(model), tmp_path / "a.safetensors")
    require_same_weights(pipeline, model, tmp_path / "a.safetensors", *folders)


def ldm_name(module: str) -> str:
    """Return what CompVis's code calls a module of the tiny UNets, of one layer a block."""
    for ours, theirs in LDM_NAMES.items():
        if module.startswith(ours):
            rest = module.removeprefix(ours)
            for inner, other in LDM_RESNET.items():
                rest = rest.replace(inner, other) if "resnets" in ours else rest
            return theirs + rest
    raise AssertionError(module)


LDM_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
LDM_NAMES = {
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


def test_kohya_s_names_of_sdxl_s_own_unet(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    model = tiny_pipeline("sdxl")
    modules = [("unet", module, weight) for module, weight in modules_in(model / "unet").items()]

    def naming(_: str, module: str) -> str:
        return f"lora_unet_{ldm_name(module).replace('.', '_')}"

    write(tmp_path / "a.safetensors", modules, lora, naming)
    pipeline = fused(loaded(model), tmp_path / "a.safetensors")
    require_same_weights(pipeline, model, tmp_path / "a.safetensors", "unet")


def old_names(component: str, module: str) -> str:
    """diffusers' names until 0.20: an attention's processor has the layers."""
    head, _, last = module.removesuffix(".0").rpartition(".")
    if "attn" in module and component == "unet":
        return f"unet.{head}.processor.{last}_lora"
    return f"{component}.{module}.lora"


def test_the_layout_of_diffusers_until_0_20(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    model = tiny_pipeline("sd15")
    modules = [
        ("unet", module, weight)
        for module, weight in modules_in(model / "unet", lambda name: "attn" in name).items()
    ]

    def old_form(weight: Any, random: Any, scale: float) -> Any:
        parts, new = plain_lora(weight, random, scale)
        renamed = {"down.weight": parts["lora_A.weight"], "up.weight": parts["lora_B.weight"]}
        return renamed, new

    write(tmp_path / "a.safetensors", modules, old_form, old_names)
    pipeline = fused(loaded(model), tmp_path / "a.safetensors")
    require_same_weights(pipeline, model, tmp_path / "a.safetensors", "unet")


def randomized(module: Any) -> None:
    """Give an adapter that was just made numbers: its second factor begins with zeros."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        if "lora_" in name and "magnitude" not in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
        elif "magnitude" in name:
            parameter.data *= 1 + 0.1 * torch.rand(parameter.shape, generator=generator)


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}, {"use_rslora": True}])
def test_what_diffusers_saves_of_peft_s_layers(
    settings: Mapping[str, bool], tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """`save_lora_weights` puts rank and alpha into the header."""
    from peft import LoraConfig, get_peft_model_state_dict

    model = tiny_pipeline("sd15")
    pipeline = loaded(model)
    pipeline.unet.add_adapter(
        LoraConfig(r=4, lora_alpha=6, target_modules=PATTERN, alpha_pattern={"to_q": 2}, **settings)
    )
    folders = ["unet"]
    if "use_dora" not in settings:  # diffusers loses the lengths of text encoders as it loads them
        text = LoraConfig(r=2, lora_alpha=3, target_modules=TEXT_PATTERN, **settings)
        pipeline.text_encoder.add_adapter(text)
        folders.append("text_encoder")
    saved = {}
    for name in folders:
        network = getattr(pipeline, name)
        randomized(network)
        saved[f"{name}_lora_layers"] = get_peft_model_state_dict(network)
        saved[f"{name}_lora_adapter_metadata"] = network.peft_config["default"].to_dict()
    pipeline.save_lora_weights(str(tmp_path), **saved)
    (file,) = tmp_path.glob("*.safetensors")
    require_same_weights(fused(loaded(model), file), model, file, *folders)


@pytest.mark.parametrize("kind", ["LORA", "DORA", "LOHA", "LOKR"])
@pytest.mark.parametrize(("family", "folder"), [("sd15", "unet"), ("pixart", "transformer")])
def test_what_peft_saves_by_itself(
    kind: str, family: str, folder: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    import peft
    import torch

    model = tiny_pipeline(family)
    network = getattr(loaded(model), folder)
    targets = r".*(to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|proj_in)"
    config: Any
    if kind in ("LORA", "DORA"):
        config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=targets, use_dora=kind == "DORA")
    else:
        made = peft.LoHaConfig if kind == "LOHA" else peft.LoKrConfig
        config = made(r=4, alpha=6, target_modules=targets)
    wrapped = peft.get_peft_model(network, config)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in wrapped.named_parameters():
        if any(part in name for part in ("lora_A", "lora_B", "hada_", "lokr_")):
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    wrapped.save_pretrained(str(tmp_path))
    merged = wrapped.merge_and_unload().state_dict()
    weights = open_source(
        folder_source(with_adapters(resolve(str(model)), [str(tmp_path)]).path)
    ).weights(folder)
    own, changed = open_source(folder_source(model)).weights(folder), 0
    for key in weights.entries:
        theirs = merged[key].numpy()
        assert np.abs(weights.array(key) - theirs).max() < 3e-6 * max(1, np.abs(theirs).max()), key
        changed += not np.array_equal(own.array(key), theirs)
    assert changed > 8


def test_a_package_draws_what_diffusers_draws_with_the_file(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model, file = tiny_pipeline("sd15"), tmp_path / "a.safetensors"
    modules = [
        (folder, module, weight)
        for folder in ("unet", "text_encoder")
        for module, weight in modules_in(model / folder, is_trained).items()
    ]
    write(file, modules, lora, kohya)
    adapted = with_adapters(resolve(str(model)), [f"{file}:{SCALE}"])
    build(plan(adapted, target="onnx", recipe="fp32", destination=tmp_path / "p"))
    pipeline = loaded(model)
    pipeline.load_lora_weights(str(file), adapter_name="it")
    pipeline.set_adapters("it", SCALE)
    spec = read_pipeline(resolve(str(model)))
    request = DrawRequest(prompt="a cat and the dog", seed=3, steps=3)
    (plain,) = TorchDrawer(loaded(model), spec.family, spec.generation).draw([request])
    (expected,) = TorchDrawer(pipeline, spec.family, spec.generation).draw([request])
    (drawn,) = PackageDrawer(tmp_path / "p").draw([request])
    reached, without = (psnr_db(expected, it, peak=255.0) for it in (drawn, plain))
    assert reached is None or reached >= LEAST_PSNR_DB
    assert without is not None
    assert without < 40


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite", "coreml"])
def test_every_target_holds_the_sums(
    target: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """The comparison with torch is with sums that are held against diffusers above."""
    model, file = tiny_pipeline("sdxl"), tmp_path / "a.safetensors"
    modules = [
        (folder, module, weight)
        for folder in ("unet", "text_encoder", "text_encoder_2")
        for module, weight in modules_in(model / folder, is_trained).items()
    ]
    write(file, modules, lora, kohya_of_two_encoders)
    plain = plan(resolve(str(model)), target=target, destination=tmp_path / "plain")
    adapted = with_adapters(resolve(str(model)), [f"{file}:{SCALE}"])
    made = build(plan(adapted, target=target, destination=tmp_path / "adapted"))
    other = build(plain, parity=False)
    assert made.evidence.parity
    assert all(check.passed for check in made.evidence.parity)
    assert made.manifest.source.adapters[0].scale == SCALE
    assert made.manifest.source.weights_sha256 != other.manifest.source.weights_sha256
