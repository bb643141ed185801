"""Stable Diffusion and Stable Diffusion XL with ControlNets, which steer them by pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgegen.core.errors import SourceError
from edgegen.families import stable_diffusion, stable_diffusion_xl
from edgegen.families.base import Family, PipelineClass, PipelineConfigs, Slot
from edgegen.families.latents import check_networks

_CONTROLNET = Slot(name="controlnet", classes=("ControlNetModel",), several="MultiControlNetModel")


def _check(configs: PipelineConfigs) -> None:
    check_networks(configs)
    check_steering(configs)


def check_steering(configs: PipelineConfigs) -> None:
    """Refuse a network that steers another UNet: one that reads another text."""
    denoiser, config = configs.denoiser
    _, wanted = denoiser.text_width(config) or ("", None)
    for it in configs.steering:
        found = it.config.data.get("cross_attention_dim", 1280)
        if found != wanted and isinstance(wanted, int):
            raise SourceError(
                f"{it.config.path}: the ControlNet reads states of {found} numbers, and the UNet "
                f"of {wanted}.",
                hint="Take a ControlNet that was trained for this kind of model: those of Stable "
                "Diffusion 1, 2 and XL differ.",
            )


def _steered(family: Family, pipelines: Iterable[str], *, guidance: float) -> Family:
    """Return a family whose denoiser ControlNets steer; `pipelines` begin with the reference."""
    names = tuple(pipelines)
    *texts, unet, vae = family.slots
    starts_behind_mask = family.facts.needs_mask
    return replace(
        family,
        name=f"{family.name}-controlnet",
        pipelines={name: PipelineClass(steps=50, guidance=guidance) for name in names},
        slots=(*texts, _CONTROLNET, unet, vae),
        check=_check,
        steered=dict.fromkeys(_CONTROLNET.classes, names[0]),
        reference=replace(
            family.reference,
            classes=(names[0],),
            control="control_image" if starts_behind_mask else "image",
        ),
    )


_SD = ("StableDiffusionControlNetPipeline", "StableDiffusionControlNetImg2ImgPipeline")
_SD_BEHIND_MASK = "StableDiffusionControlNetInpaintPipeline"
_XL = ("StableDiffusionXLControlNetPipeline", "StableDiffusionXLControlNetImg2ImgPipeline")
_XL_BEHIND_MASK = "StableDiffusionXLControlNetInpaintPipeline"

STABLE_DIFFUSION = _steered(stable_diffusion.FROM_TEXT, (*_SD, _SD_BEHIND_MASK), guidance=7.5)
STABLE_DIFFUSION_INPAINT = _steered(stable_diffusion.INPAINT, (_SD_BEHIND_MASK, *_SD), guidance=7.5)
STABLE_DIFFUSION_XL = _steered(stable_diffusion_xl.FROM_TEXT, (*_XL, _XL_BEHIND_MASK), guidance=5.0)
STABLE_DIFFUSION_XL_INPAINT = _steered(
    stable_diffusion_xl.INPAINT, (_XL_BEHIND_MASK, *_XL), guidance=5.0
)
