"""Latent consistency models: Stable Diffusion, distilled to few steps with the guidance scale."""

from __future__ import annotations

from dataclasses import replace

from edgegen.families.base import PipelineClass
from edgegen.families.stable_diffusion import FROM_TEXT

_DEFAULTS = PipelineClass(steps=4, guidance=8.5)

LATENT_CONSISTENCY = replace(
    FROM_TEXT,
    name="latent-consistency",
    facts=replace(FROM_TEXT.facts, guidance="embedded", takes_negative_prompt=False),
    pipelines={
        "LatentConsistencyModelPipeline": _DEFAULTS,
        "LatentConsistencyModelImg2ImgPipeline": _DEFAULTS,
    },
    reference=replace(FROM_TEXT.reference, classes=("LatentConsistencyModelPipeline",)),
)
