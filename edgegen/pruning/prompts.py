"""What a model is asked for while it is pruned, and taught again: prompts of many kinds."""

from __future__ import annotations

import itertools
import random
from functools import cache
from pathlib import Path

from edgegen.core.errors import ConfigError
from edgegen.core.model import PipelineSpec
from edgegen.reference.calibration_cases import choose_prompts
from edgegen.scenes.catalogue import scenes
from edgegen.scenes.combinations import Split
from edgegen.scenes.objects import objects
from edgegen.scenes.scores import sampled_requests

_SEED = 20261130
_SCENES = 2000
_ASKED_OF_EACH = 6
"""Scenes of each kind that the suite `known` asks of the built-in models: they are left out."""
MOST_PROMPTS = 100_000
_LONGEST_PROMPT = 2000

_THINGS = (
    *("a cat", "a dog", "an old man with a hat", "a young woman smiling", "a red car"),
    *("a sailing boat", "a mountain lake", "a city street at night", "a bowl of fruit"),
    *("a wooden house in a forest", "a horse on a meadow", "a plate of pasta", "a robot"),
    *("a castle on a hill", "two children playing", "an astronaut", "a bunch of flowers"),
    *("a steam train", "a bird on a branch", "a desert under stars", "a cup of coffee"),
    *("a lighthouse by the sea", "a market full of people", "a bicycle against a wall"),
)
_MANNERS = (
    *("", "a photo of", "an oil painting of", "a watercolor of", "a pencil drawing of"),
    *("a close-up of", "a black and white photograph of", "a 3d render of"),
)
_LIGHTS = (
    "",
    ", at sunrise",
    ", in the rain",
    ", studio light",
    ", highly detailed",
    ", in winter",
)


def prompts_of(spec: PipelineSpec, folder: Path) -> tuple[str, ...]:
    """Return prompts for a model, in an order that is always the same.

    A built-in model is asked for what it was trained on; none of it is in the suite `known`.
    Another one is asked for what its card shows, and for common things in common manners.
    """
    if spec.known_as.startswith("builtin:scenes"):
        return _scene_captions()
    if spec.known_as == "builtin:emoji":
        return _shuffled([name.singular for thing in objects() for name in thing.names])
    composed = [
        f"{manner} {thing}{light}".strip()
        for manner, thing, light in itertools.product(_MANNERS, _THINGS, _LIGHTS)
    ]
    return tuple(dict.fromkeys((*choose_prompts(spec, folder), *_shuffled(composed))))


def read_prompts(path: Path) -> tuple[str, ...]:
    """Read a file of the user's: a prompt a line. Raises ConfigError where it has none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}.", hint="Give a text file with a prompt a line."
        ) from error
    found = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not 2 <= len(found) <= MOST_PROMPTS or max(map(len, found)) > _LONGEST_PROMPT:
        raise ConfigError(
            f"{path} has {len(found)} prompts.",
            hint=f"Give 2 to {MOST_PROMPTS:,}, each on a line and of at most {_LONGEST_PROMPT:,} "
            "characters.",
        )
    return found


@cache
def _scene_captions() -> tuple[str, ...]:
    """Return captions that the scenes models were trained on, of each kind alike."""
    asked = {it.caption for it in sampled_requests(Split.TRAINED, _ASKED_OF_EACH)}
    kinds: dict[str, list[str]] = {}
    for scene in scenes(Split.TRAINED):
        kinds.setdefault(scene.kind.value, []).append(scene.captions[0])
    chance = random.Random(_SEED)  # noqa: S311 - the same prompts each time
    most = _SCENES // len(kinds)
    drawn = [
        sorted({*captions} - asked)
        for captions in (chance.sample(it, min(2 * most, len(it))) for it in kinds.values())
    ]
    return _shuffled([caption for captions in drawn for caption in captions[:most]])


def _shuffled(prompts: list[str]) -> tuple[str, ...]:
    found = list(dict.fromkeys(prompts))
    random.Random(_SEED).shuffle(found)  # noqa: S311 - as above
    return tuple(found)
