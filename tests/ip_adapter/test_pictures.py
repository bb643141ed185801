"""A model with an IP-Adapter draws what diffusers draws with it: in every target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.reading import Reading
from edgegen.core.targets import load_targets
from edgegen.models.adapters.adapted_folder import with_adapters
from edgegen.models.adapters.image_prompt import parse_image_prompt
from edgegen.models.source import resolve
from edgegen.packaging.batch import Built, build_all
from edgegen.packaging.plan import plan
from tests.conftest import TinyPipeline
from tests.control.test_pictures import drawn, open_picture, picture, require_same
from tests.ip_adapter.original import SIDE, write_ip_adapter
from tests.tiny_models import write_controlnet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
    ),
]
STEPS, SEED, PROMPT = 5, 17, "a cat and the dog, singing"
SCALE = 0.7
PIPELINES = {"sd15": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}


def packaged(
    model: Path,
    adapter: Path,
    place: Path,
    targets: Sequence[str],
    controlnets: Sequence[Path] = (),
) -> dict[str, Built]:
    """Build packages in float32, which pass parity with diffusers, to `place`/<target>."""
    choice = parse_image_prompt(f"{adapter}:{SCALE}", None)
    reading = Reading(controlnets=tuple(map(str, controlnets)))
    folder = with_adapters(resolve(str(model), reading=reading), (), (), choice)
    plans = [plan(folder, target=it, destination=place / it, recipe="fp32") for it in targets]
    made = build_all(plans).packages
    for outcome in made:
        if not isinstance(outcome, Built):
            raise outcome
    return {it: each for it, each in zip(targets, made, strict=True) if isinstance(each, Built)}


def expected(
    model: Path, adapter: Path, shown: Path, class_name: str, networks: Any = None, **call: Any
) -> np.ndarray:
    import diffusers
    import torch
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    optional = {} if "XL" in class_name else {"safety_checker": None}
    # without torchvision diffusers could not make one
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    pipeline = getattr(diffusers, class_name).from_pretrained(
        model, feature_extractor=processor, **optional, **(networks or {})
    )
    pipeline.load_ip_adapter(
        str(adapter.parent.parent), subfolder=adapter.parent.name, weight_name=adapter.name
    )
    pipeline.set_ip_adapter_scale(SCALE)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(
        prompt=PROMPT,
        num_inference_steps=STEPS,
        generator=torch.Generator("cpu").manual_seed(SEED),
        ip_adapter_image=open_picture(shown),
        **call,
    ).images[0]
    return np.array(image)


@pytest.mark.parametrize(
    ("family", "kind", "targets"),
    [
        ("sd15", "plain", tuple(load_targets())),
        ("sdxl", "plus", tuple(load_targets())),
        ("sd15", "full", ("onnx",)),
    ],
)
def test_each_kind_of_adapter_draws_as_in_diffusers(
    family: str,
    kind: str,
    targets: Sequence[str],
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
) -> None:
    model = tiny_pipeline(family)
    adapter = write_ip_adapter(tmp_path / "adapter", model, kind)
    made = packaged(model, adapter, tmp_path / "packages", targets)
    shown = picture(tmp_path / "shown.png", width=SIDE, height=SIDE)
    other = picture(tmp_path / "other.png", width=SIDE, height=SIDE, seed=2)
    wanted = expected(model, adapter, shown, PIPELINES[family])
    for target, built in made.items():
        names = [it.spec.name for it in built.manifest.components]
        assert {"image_encoder", "unet_image_projection"} < {*names}
        assert built.manifest.facts.takes_picture_prompt
        assert built.manifest.source.adapters[-1].scale == SCALE
        place = tmp_path / "packages" / target
        require_same(wanted, drawn(place, target, tmp_path, picture_prompt=str(shown)))
    differs = drawn(place, target, tmp_path, picture_prompt=str(other))
    assert (differs.astype(int) - wanted).std() > 1  # the picture matters


def test_it_goes_with_a_controlnet_and_a_mask(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    import diffusers

    model = tiny_pipeline("sd-inpaint")
    net = write_controlnet("sd-inpaint", tmp_path / "net")
    adapter = write_ip_adapter(tmp_path / "adapter", model, "plain")
    made = packaged(model, adapter, tmp_path / "packages", ["onnx"], controlnets=[net])
    assert made["onnx"].manifest.facts.controls == 1
    shown = picture(tmp_path / "shown.png", width=SIDE, height=SIDE)
    start = picture(tmp_path / "start.png", seed=1)
    hidden = picture(tmp_path / "hidden.png", seed=3)
    edges = picture(tmp_path / "edges.png", seed=4)
    wanted = expected(
        model,
        adapter,
        shown,
        "StableDiffusionControlNetInpaintPipeline",
        {"controlnet": diffusers.ControlNetModel.from_pretrained(net)},
        image=open_picture(start),
        mask_image=open_picture(hidden),
        control_image=open_picture(edges),
        height=32,
        width=32,
    )
    given = {"image": str(start), "mask": str(hidden), "picture_prompt": str(shown)}
    found = drawn(tmp_path / "packages" / "onnx", "onnx", tmp_path, control=(str(edges),), **given)
    require_same(wanted, found)
