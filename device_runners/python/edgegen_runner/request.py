"""What to draw, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

HIGHEST_SEED = 2**63 - 1

# Larger numbers are a mistake of whoever wrote them: they would take days, or all memory.
MOST_BYTES = 1 << 50
SMALLEST_TILE = 4
LONGEST_SIDE = 16_384
MOST_IMAGES = 1_000_000
MOST_STEPS = 10_000
MOST_LAYERS = 1_000
MOST_NOISE_LEVEL = 100_000
MOST_CLASSES = 1 << 24
MOST_THREADS = 1_024
SHORTEST_INTERVAL_S = 0.001
STRONGEST_CONTROL = 1_000.0

RESIDENCIES = ("all", "drawing", "sequential", "parts")
"""How components are held; `residency.py` says what each is."""

SYNTAXES = ("plain", "a1111", "compel")
"""How a prompt may be read; ``plain`` takes every character as it stands, as diffusers does."""


@dataclass(frozen=True)
class Request:
    """What to draw. None means the package's own value; image i of a prompt has seed + i.

    Of the denoiser's calls those from ``guidance_start`` to ``guidance_stop``, 0…1, are guided, and
    one in ``cache_interval`` computes all layers.
    ``guidance_batch`` 2 asks the denoiser for all predictions of classifier-free guidance in one
    call, 1 in as many as there are. ``strength`` is how far image-to-image goes back into the
    noise, ``image_guidance`` how closely a picture that is edited is kept to, and ``noise_level``
    the timestep of the noise that is added to one that is enlarged. ``depth`` is a picture's depth
    map, ``class_label`` the class of image that is drawn, counted from 0. ``latents`` is a ``.npy``
    of what the random generator would have drawn first, (1, channels, height, width).
    ``prompt_syntax`` is one of `SYNTAXES`; ``clip_skip`` is how many of CLIP's last layers are left
    out, as diffusers counts them. ``control`` are the pictures that steer it, one for each of the
    package's ControlNets; these act with ``control_scale`` from ``control_start`` to
    ``control_end`` of the steps, 0…1: one number for all of them, or one for each. In
    ``guess_mode`` they act on what the prompt predicts alone, and on its first layers less.
    ``lora`` is a LoRA as `edgegen_runner.lora` reads it.
    ``picture_prompt`` is a picture that is a part of the prompt (IP-Adapter).
    """

    prompts: Optional[tuple[str, ...]] = None
    negative_prompt: Optional[str] = None
    steps: Optional[int] = None
    guidance: Optional[float] = None
    guidance_start: Optional[float] = None
    guidance_stop: Optional[float] = None
    cache_interval: Optional[int] = None
    guidance_rescale: float = 0.0
    guidance_batch: int = 2
    eta: float = 0.0
    scheduler: Optional[str] = None
    seed: int = 0
    count: int = 1
    width: Optional[int] = None
    height: Optional[int] = None
    image: Optional[Path] = None
    mask: Optional[Path] = None
    depth: Optional[Path] = None
    strength: Optional[float] = None
    image_guidance: Optional[float] = None
    noise_level: Optional[int] = None
    class_label: Optional[int] = None
    latents: Optional[Path] = None
    prompt_syntax: Optional[str] = None
    clip_skip: Optional[int] = None
    control: Optional[tuple[Path, ...]] = None
    control_scale: Optional[tuple[float, ...]] = None
    control_start: Optional[tuple[float, ...]] = None
    control_end: Optional[tuple[float, ...]] = None
    guess_mode: bool = False
    lora: Optional[Path] = None
    picture_prompt: Optional[Path] = None
