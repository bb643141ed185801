"""Stable Diffusion and Stable Diffusion XL with T2I-Adapters, which steer them by pictures."""

from __future__ import annotations

import math
from dataclasses import replace

from edgegen.core.model import Generation
from edgegen.families import stable_diffusion, stable_diffusion_xl
from edgegen.families.base import Family, PipelineClass, PipelineConfigs, Slot
from edgegen.networks.t2i_adapter import downscale

_ADAPTER = Slot(name="adapter", classes=("T2IAdapter",), several="MultiAdapter")


def _steered(family: Family, pipeline: str, *, guidance: float) -> Family:
    """Return a family whose denoiser T2I-Adapters steer: diffusers draws from noise alone."""
    *texts, unet, vae = family.slots

    def generation(configs: PipelineConfigs) -> Generation:
        """Read what the loop has to know; sizes are multiples of what an adapter cuts off."""
        plain = family.generation(configs)
        pixels = math.lcm(*(downscale(it.config) for it in configs.steering))
        latents = pixels // math.gcd(pixels, plain.vae_scale_factor)
        return replace(plain, latent_multiple=math.lcm(plain.latent_multiple, latents))

    return replace(
        family,
        name=f"{family.name}-t2i-adapter",
        facts=replace(family.facts, starts=("noise",)),
        pipelines={pipeline: PipelineClass(steps=50, guidance=guidance)},
        slots=(*texts, _ADAPTER, unet, vae),
        generation=generation,
        steered=dict.fromkeys(_ADAPTER.classes, pipeline),
        reference=replace(
            family.reference,
            classes=(pipeline,),
            control="image",
            control_scale="adapter_conditioning_scale",
        ),
    )


STABLE_DIFFUSION = _steered(
    stable_diffusion.FROM_TEXT, "StableDiffusionAdapterPipeline", guidance=7.5
)
STABLE_DIFFUSION_XL = _steered(
    stable_diffusion_xl.FROM_TEXT, "StableDiffusionXLAdapterPipeline", guidance=5.0
)
