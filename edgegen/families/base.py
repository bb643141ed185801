"""What a file of this room declares: a family of pipelines that draw in the same way.

A family is a frozen value, and its functions are pure. What they take of torch and diffusers comes
in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import STEERING, FamilyFacts, Generation, Role
from edgegen.networks.base import (
    Autoencoder,
    Denoiser,
    Network,
    Steering,
    Tensors,
    TextEncoder,
)

CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
NOT_EXPORTED = (
    "safety_checker",
    "feature_extractor",
    "image_encoder",
    "depth_estimator",
    "watermark",
    "watermarker",
)
"""Optional entries that pipelines list and packages leave out."""

DenoiserInput = Literal[
    "latents", "mask", "masked latents", "edited latents", "small picture", "depth"
]
_CHANNELS: Mapping[DenoiserInput, int] = {"mask": 1, "small picture": 3, "depth": 1}
"""The channels of inputs that don't have those of latents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineClass:
    """A diffusers pipeline class.

    `steps` and `guidance` are what a model of a family draws with by default: those of the class's
    `__call__` in diffusers 0.42, so that the same command makes the same image in both.
    `inpaint_guidance` takes the place of the latter behind a mask. `scheduler` is the class that
    the pipeline makes of whatever scheduler it finds, `text_length` the tokens to which it pads a
    prompt, whatever the tokenizer says.
    """

    steps: int
    guidance: float
    inpaint_guidance: float | None = None
    scheduler: str | None = None
    text_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """An entry of `model_index.json` that a network fills.

    `classes` are the networks that may; `advice` helps where another one does. `tokenizer` is the
    entry that reads for a text encoder, and `tokenizer_classes` what may fill it. Of a network that
    makes several components, those of `roles` are exported. `several` is the class that diffusers
    writes where several networks fill it, each in a folder: `controlnet`, `controlnet_1`, …. One
    that `shows_pictures` to the denoiser is filled for a model with an IP-Adapter only.
    """

    name: str
    classes: tuple[str, ...]
    tokenizer: str | None = None
    tokenizer_classes: tuple[str, ...] = CLIP_TOKENIZERS
    roles: tuple[Role, ...] = (
        *("text_encoder", "image_encoder", "image_projection"),
        *(*STEERING, "denoiser", "decoder", "encoder"),
    )
    several: str | None = None
    shows_pictures: bool = False
    advice: str = ""


def without_pictures(slots: Iterable[Slot]) -> tuple[Slot, ...]:
    """Return the slots of a family whose pipeline takes no IP-Adapter."""
    return tuple(slot for slot in slots if not slot.shows_pictures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A slot, and what fills it in one pipeline."""

    slot: Slot
    network: Network
    config: ComponentConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfigs:
    """All configurations of one pipeline, read once.

    `settings` is its `model_index.json`. `text_length` is the most tokens that all tokenizers and
    text encoders take, or those that the pipeline's class says, None without a text.
    """

    class_name: str
    settings: ComponentConfig
    scheduler: ComponentConfig
    slots: Mapping[str, Filled]
    text_length: int | None

    @property
    def texts(self) -> tuple[tuple[TextEncoder, ComponentConfig], ...]:
        """Return the text encoders, in the order of their slots."""
        return tuple(
            (it.network, it.config)
            for it in self.slots.values()
            if isinstance(it.network, TextEncoder)
        )

    @property
    def denoiser(self) -> tuple[Denoiser, ComponentConfig]:
        """Return the network that predicts noise. Raises SourceError where there is none."""
        for it in self.slots.values():
            if isinstance(it.network, Denoiser):
                return it.network, it.config
        raise SourceError(f"{self.settings.path} has no denoiser.", hint="Save the whole pipeline.")

    @property
    def steering(self) -> tuple[Filled, ...]:
        """Return the networks that steer the denoiser by pictures, in their order."""
        return tuple(it for it in self.slots.values() if isinstance(it.network, Steering))

    @property
    def autoencoder(self) -> tuple[Autoencoder, ComponentConfig] | None:
        """Return the autoencoder, None where the pipeline works on pixels."""
        for it in self.slots.values():
            if isinstance(it.network, Autoencoder):
                return it.network, it.config
        return None


Conditions = Callable[[Any, Sequence[str]], Tensors]
"""Returns what a diffusers pipeline makes of prompts for its denoiser, by the denoiser's inputs."""


def _no_conditions(_pipeline: Any, _prompts: Sequence[str]) -> Tensors:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCall:
    """How diffusers draws a golden case.

    `classes` are the pipelines that can; where there are several, the model's own is taken.
    `arguments` are given to the call besides those that follow from the facts of the family, and
    `takes_size` says whether images have other sizes than the model's own; where they are
    `sized_by_picture` the picture has it, else height and width are given. `control` is the
    argument with the pictures that steer it, `control_scale` that with a number for each of
    several, where it has to be given.
    """

    classes: tuple[str, ...]
    conditions: Conditions = _no_conditions
    arguments: Mapping[str, Any] = field(default_factory=dict)
    takes_size: bool = True
    control: str | None = None
    sized_by_picture: bool = False
    control_scale: str | None = None


def _nothing_to_check(_configs: PipelineConfigs) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Pipelines that draw in the same way.

    `pipelines` are the diffusers classes that a model of the family may be saved with. Where a
    class belongs to several families, a model is of the one whose `without` entries it lacks and
    whose denoiser takes `takes`. `schedulers` are entries that it has besides `scheduler`. With
    `own_timesteps` the denoiser is told others than the scheduler's. `check`
    refuses networks that don't fit one another, and
    `generation` reads what the denoising loop has to know. `text_outputs` are what the pipeline
    reads of a text encoder, as far as it has them (`hidden_states.-2`: the last but one). `steered`
    is the pipeline that draws with its networks and one that steers them, by the class of that.
    """

    name: str
    facts: FamilyFacts
    pipelines: Mapping[str, PipelineClass]
    slots: tuple[Slot, ...]
    generation: Callable[[PipelineConfigs], Generation]
    reference: ReferenceCall
    check: Callable[[PipelineConfigs], None] = _nothing_to_check
    without: tuple[str, ...] = ()
    takes: tuple[DenoiserInput, ...] = ("latents",)
    schedulers: tuple[str, ...] = ()
    own_timesteps: bool = False
    text_outputs: tuple[str, ...] = ()
    steered: Mapping[str, str] = field(default_factory=dict)

    def channels(self, latents: int) -> int:
        """Return how many channels the denoiser takes where latents have `latents`."""
        return sum(_CHANNELS.get(it, latents) for it in self.takes)

    def has_entries_of(self, entries: Collection[str]) -> bool:
        """Return whether a pipeline with these entries may be of the family."""
        return not set(self.without) & set(entries)
