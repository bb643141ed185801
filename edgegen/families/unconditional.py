"""DDPM and DDIM: pixels from noise, without a text."""

from __future__ import annotations

from edgegen.core.errors import SourceError
from edgegen.core.model import FamilyFacts, Generation
from edgegen.families.base import Family, PipelineClass, PipelineConfigs, ReferenceCall, Slot
from edgegen.families.latents import refuse_labels


def _check(configs: PipelineConfigs) -> None:
    """Refuse a UNet that predicts something else than a sample, or a sample and its variance."""
    refuse_labels(configs)
    unet, config = configs.denoiser
    taken, predicted = unet.taken(config), unet.predicted(config)
    learned = str(configs.scheduler.data.get("variance_type")).startswith("learned")
    if predicted != taken and not (learned and predicted == 2 * taken):
        raise SourceError(
            f"{config.path}: the UNet takes {taken} channels and predicts {predicted}, and the "
            "scheduler's variance is not learned.",
            hint="Take the UNet and the scheduler from the same version of the model.",
        )


def _generation(configs: PipelineConfigs) -> Generation:
    unet, config = configs.denoiser
    width, height = unet.native_size(config, 1)
    return Generation(
        width=width,
        height=height,
        latent_channels=unet.taken(config),
        vae_scale_factor=1,
        latent_multiple=unet.multiple(config),
    )


UNCONDITIONAL = Family(
    name="unconditional",
    facts=FamilyFacts(
        guidance="none", takes_text=False, takes_negative_prompt=False, starts=("noise",)
    ),
    pipelines={
        "DDPMPipeline": PipelineClass(steps=1000, guidance=1.0),
        "DDIMPipeline": PipelineClass(steps=50, guidance=1.0, scheduler="DDIMScheduler"),
    },
    slots=(Slot(name="unet", classes=("UNet2DModel",)),),
    check=_check,
    generation=_generation,
    reference=ReferenceCall(classes=("DDPMPipeline", "DDIMPipeline"), takes_size=False),
)
