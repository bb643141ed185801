"""Consistency models: pixels from noise in a step or a few, of a class of images or of any."""

from __future__ import annotations

from dataclasses import replace

from edgegen.core.errors import SourceError
from edgegen.core.model import Generation
from edgegen.families.base import PipelineClass, PipelineConfigs, ReferenceCall
from edgegen.families.unconditional import UNCONDITIONAL


def _check(configs: PipelineConfigs) -> None:
    unet, config = configs.denoiser
    taken, predicted = unet.taken(config), unet.predicted(config)
    if predicted != taken:
        raise SourceError(
            f"{config.path}: the UNet takes {taken} channels and predicts {predicted}.",
            hint="Take the UNet and model_index.json from the same version of the model.",
        )


def _generation(configs: PipelineConfigs) -> Generation:
    unet, config = configs.denoiser
    return replace(UNCONDITIONAL.generation(configs), classes=unet.classes(config))


CONSISTENCY_MODEL = replace(
    UNCONDITIONAL,
    name="consistency-model",
    pipelines={"ConsistencyModelPipeline": PipelineClass(steps=1, guidance=1.0)},
    check=_check,
    generation=_generation,
    reference=ReferenceCall(classes=("ConsistencyModelPipeline",), takes_size=False),
)
