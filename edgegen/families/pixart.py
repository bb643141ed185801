"""PixArt-Alpha and PixArt-Sigma: a transformer of latents, which reads T5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgegen.core.model import FamilyFacts
from edgegen.families.base import Family, PipelineClass, PipelineConfigs, ReferenceCall, Slot
from edgegen.families.latents import (
    check_prediction,
    check_text_width,
    encode_prompt,
    generation_from_text,
)
from edgegen.networks.base import Tensors

_PIPELINES = {
    "PixArtAlphaPipeline": PipelineClass(steps=20, guidance=4.5, text_length=120),
    "PixArtSigmaPipeline": PipelineClass(steps=20, guidance=4.5, text_length=300),
}


def _check(configs: PipelineConfigs) -> None:
    check_text_width(configs)
    denoiser, config = configs.denoiser
    learned = denoiser.predicted(config) == 2 * denoiser.taken(config)
    check_prediction(configs, latents=2 if learned else 1)


def _conditions(pipeline: Any, prompts: Sequence[str]) -> Tensors:
    states, mask, *_ = encode_prompt(pipeline, prompts)
    return {"encoder_hidden_states": states, "encoder_attention_mask": mask}


PIXART = Family(
    name="pixart",
    facts=FamilyFacts(
        guidance="classifier-free",
        takes_text=True,
        takes_negative_prompt=True,
        starts=("noise",),
    ),
    pipelines=_PIPELINES,
    slots=(
        Slot(
            name="text_encoder",
            classes=("T5EncoderModel",),
            tokenizer="tokenizer",
            tokenizer_classes=("T5Tokenizer", "T5TokenizerFast"),
        ),
        Slot(name="transformer", classes=("PixArtTransformer2DModel",)),
        Slot(name="vae", classes=("AutoencoderKL",), roles=("decoder",)),
    ),
    check=_check,
    generation=generation_from_text,
    text_outputs=("last_hidden_state",),
    reference=ReferenceCall(
        classes=tuple(_PIPELINES),
        conditions=_conditions,
        arguments={"clean_caption": False, "use_resolution_binning": False},
    ),
)
