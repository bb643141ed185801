"""What a diffusers pipeline is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DType = Literal["float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"]

DTYPE_BYTES: dict[str, int] = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}

Role = Literal["text_encoder", "denoiser", "decoder", "encoder"]

Family = Literal[
    "stable-diffusion",
    "stable-diffusion-inpaint",
    "latent-consistency",
    "stable-diffusion-xl",
    "stable-diffusion-xl-inpaint",
    "stable-diffusion-xl-refiner",
    "unconditional",
]

Guidance = Literal["classifier-free", "embedded", "none"]
Start = Literal["noise", "picture", "mask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyFacts:
    """What a pipeline takes, and how an image begins: whoever draws asks this, never a name.

    `guidance` compares with an empty prompt ("classifier-free"), is an input of the denoiser
    ("embedded"), or is "none". `starts` are the ways in which an image can begin, the usual one
    first: in noise, in a picture, or in a picture behind a mask.
    """

    guidance: Guidance
    takes_text: bool
    takes_negative_prompt: bool
    starts: tuple[Start, ...]

    @property
    def needs_picture(self) -> bool:
        """Return whether nothing can be drawn without a picture to begin with."""
        return "noise" not in self.starts


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a component.

    An axis is a number where it is fixed, and a name (`batch`, `height / 8`) where it is not.
    """

    name: str
    dtype: DType
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A network of a pipeline, as it is exported: the autoencoder makes two of them.

    `name` is the artifact's (`vae_decoder`), `folder` the source's (`vae`), `class_name` the
    diffusers or transformers class that builds it. `variant` is that of the weight files that were
    taken (`fp16`), None for the plain ones.
    """

    name: str
    role: Role
    folder: str
    class_name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    variant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What the denoising loop has to know besides the scheduler's own configuration.

    `width` and `height` are the model's native size in pixels, or the one that it was packaged for.
    `vae_scale_factor` is pixels a latent (1 where there is no autoencoder), and `latent_multiple`
    what height and width in latents have to be multiples of. `guidance_embedding_dim` is set where
    the denoiser takes the guidance scale as an embedding (`timestep_cond`, latent consistency
    models). `latents_mean` and `latents_std`, one a channel, are set where SDXL's pipelines
    normalize latents with them.
    `steps` and `guidance` are what `edgegen run` uses unless told; `inpaint_guidance` takes the
    place of the latter behind a mask, where diffusers' inpainting class has another default.
    """

    width: int
    height: int
    latent_channels: int
    vae_scale_factor: int = 8
    latent_multiple: int = 1
    scaling_factor: float = 1.0
    shift_factor: float = 0.0
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None
    steps: int = 25
    guidance: float = 7.5
    inpaint_guidance: float | None = None
    text_length: int | None = None
    guidance_embedding_dim: int | None = None
    force_zeros_for_empty_prompt: bool = False
    requires_aesthetics_score: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSpec:
    """A scheduler: its diffusers class, and what replaces options of its configuration file."""

    class_name: str
    options: Mapping[str, bool | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """A diffusers pipeline, read from its configs and safetensors headers alone.

    `source` is what the user typed, `revision` the hub's commit where there is one, `variant` the
    one of which weights were asked for, `licence` the SPDX-like name that the model card gives,
    `extras` the optional components that are present in the source but not exported (a safety
    checker, say).
    """

    source: str
    revision: str | None
    family: Family
    facts: FamilyFacts
    pipeline_class: str
    components: tuple[Component, ...]
    generation: Generation
    scheduler: SchedulerSpec
    licence: str | None
    extras: tuple[str, ...] = ()
    variant: str | None = None
