"""The kinds of checkpoints: what all files of one have in common, and none of them says.

A kind is a file in `kinds/`: the configs of its authors' diffusers folder (`sources`) without what
a file's shapes tell, the pipelines that draw with it, and where its text encoders are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgegen.core.codec import load_json

_FOLDER = Path(__file__).with_name("kinds")
NAMES = (
    "stable-diffusion-1",
    "stable-diffusion-2",
    "stable-diffusion-xl",
    "stable-diffusion-xl-refiner",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipelines:
    """The diffusers pipelines of a kind: for its usual UNet, and for others where it has some.

    `inpaint` is that of a UNet with nine channels, `guided` of one with the guidance as an input.
    """

    text: str
    inpaint: str | None = None
    guided: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoderOfKind:
    """A text encoder: where its keys begin, how they are read, its class, and its tokenizer."""

    prefix: str
    reader: str
    class_name: str
    config: Mapping[str, Any]
    tokenizer: str
    pad_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the files of one kind have in common.

    `scheduler` is a class and its options; `sample_sizes` are sides of latents, by what the UNet
    predicts; `time_ids` is how many sizes and crops a UNet of SDXL takes.
    """

    title: str
    sources: tuple[str, ...]
    pipelines: Pipelines
    settings: Mapping[str, Any]
    scheduler: tuple[str, Mapping[str, Any]]
    sample_sizes: Mapping[str, int]
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoders: Mapping[str, TextEncoderOfKind]
    guided_scheduler: tuple[str, Mapping[str, Any]] | None = None
    time_ids: int | None = None


@cache
def kind_of(name: str) -> Kind:
    """Return a kind that ships with edgegen."""
    return load_json(Kind, _FOLDER / f"{name}.json")
