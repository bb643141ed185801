"""The line that draws with a package names all that the package cannot draw without."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest
from edgegen_runner.generation import FamilyFacts, Generation

from edgegen.cli.run import run
from edgegen.core.run_command import needed_options, run_command

GENERATION = Generation(width=8, height=8, latent_channels=4)
TEXT = FamilyFacts(
    guidance="classifier-free", takes_text=True, takes_negative_prompt=True, starts=("noise",)
)


@pytest.mark.parametrize(
    ("facts", "generation", "needed"),
    [
        ({}, {}, "--prompt …"),
        ({"takes_text": False}, {}, ""),
        ({"takes_text": False}, {"classes": 10}, "--class-label 0"),
        ({"starts": ("noise", "picture", "mask")}, {}, "--prompt …"),
        ({"starts": ("picture", "mask")}, {}, "--prompt … --image image.png"),
        ({"starts": ("mask",)}, {}, "--prompt … --image image.png --mask mask.png"),
        ({"starts": ("depth",)}, {}, "--prompt … --image image.png --depth depth.png"),
        ({"starts": ("upscale",)}, {}, "--prompt … --image image.png"),
        ({"controls": 2}, {}, "--prompt … --control edges.png --control edges.png"),
        ({"takes_picture_prompt": True}, {}, "--prompt … --ip-image picture.png"),
    ],
)
def test_what_a_package_takes_is_in_the_line(
    facts: dict[str, Any], generation: dict[str, Any], needed: str
) -> None:
    found = needed_options(replace(TEXT, **facts), replace(GENERATION, **generation))
    assert " ".join(found) == needed
    known = {name for option in run.params for name in option.opts}
    line = shlex.split(run_command("my package", found, "--steps", "4"))
    assert line == ["edgegen", "run", "my package", *found, *("--steps", "4", "-o", "picture.png")]
    assert {word for word in line if word.startswith("-")} <= known
