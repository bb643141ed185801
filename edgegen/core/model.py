"""What a diffusers pipeline is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgegen_runner.generation import FamilyFacts as FamilyFacts
from edgegen_runner.generation import Generation as Generation
from edgegen_runner.generation import NativeTensor as NativeTensor
from edgegen_runner.generation import Role as Role

from edgegen.core.reading import Reading

DType = Literal["float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"]

STEERING: tuple[Role, ...] = ("controlnet", "t2i_adapter")
"""The roles of networks that steer a denoiser by a picture."""


PICTURE_PROMPT: tuple[Role, ...] = ("image_encoder", "image_projection")
"""The roles of networks that make a part of the prompt of a picture (IP-Adapter)."""
ADAPTED_ROLES: tuple[Role, ...] = ("denoiser", "text_encoder")
"""The roles of networks that adapters are made for."""


def main_role(role: Role) -> Role:
    """Return the role whose rules and figures hold for a role.

    A shallow denoiser is a denoiser, a ControlNet is a copy of one's half, and a T2I-Adapter reads
    a picture as an encoder does. What makes a part of the prompt of a picture is a text encoder.
    """
    if role in PICTURE_PROMPT:
        return "text_encoder"
    if role == "t2i_adapter":
        return "encoder"
    return "denoiser" if role in ("shallow_denoiser", "controlnet") else role


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
    taken (`fp16`), None for the plain ones. `float32_layers` are patterns of layers whose
    arithmetic doesn't survive float16, `sensitive_layers` of those that lose most with few bits.
    `prefixes` are those of its layers' paths in the network, where it has a part of them.
    """

    name: str
    role: Role
    folder: str
    class_name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    variant: str | None = None
    float32_layers: tuple[str, ...] = ()
    sensitive_layers: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSpec:
    """A scheduler: its diffusers class, and what replaces options of its configuration file."""

    class_name: str
    options: Mapping[str, bool | int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What was added to a model: its file's name and hash.

    A LoRA and its kin have a `scale`, and so has an IP-Adapter; a textual inversion has the
    `tokens` that it is called by.
    """

    kind: Literal["lora", "embedding", "ip-adapter"]
    name: str
    sha256: str
    scale: float | None = None
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraInput:
    """A layer that takes a LoRA while it runs: the key of its weight, and the shape of that."""

    weight: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """A diffusers pipeline, read from its configs and safetensors headers alone.

    `source` is what the user typed, `revision` the hub's commit where there is one, `variant` the
    one of which weights were asked for, `licence` the SPDX-like name that the model card gives,
    `extras` the optional components that are present in the source but not exported (a safety
    checker, say), `adapters` what is added to its weights, in that order. `original` is what the
    source of a pruned model was called. `reading` is what else the user said, `form` what the model
    is where it is no diffusers folder.
    """

    source: str
    revision: str | None
    family: str
    facts: FamilyFacts
    pipeline_class: str
    components: tuple[Component, ...]
    generation: Generation
    scheduler: SchedulerSpec
    licence: str | None
    extras: tuple[str, ...] = ()
    variant: str | None = None
    adapters: tuple[Adapter, ...] = ()
    original: str | None = None
    reading: Reading | None = None
    form: str | None = None

    @property
    def known_as(self) -> str:
        """Return the model whose pictures it knows: its original where it was pruned."""
        return self.original or self.source
