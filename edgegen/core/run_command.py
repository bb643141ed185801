"""The command that draws with a package: with all that the package cannot draw without."""

from __future__ import annotations

import shlex

from edgegen_runner.generation import PICTURES

from edgegen.core.model import FamilyFacts, Generation


def needed_options(facts: FamilyFacts, generation: Generation) -> tuple[str, ...]:
    """Return the options of `edgegen run` that a package cannot draw without, with stand-ins.

    They are a prompt, a class of images, and the pictures that an image begins in, is steered by or
    shows: `("--prompt", "…", "--control", "edges.png")`.
    """
    words = ["--prompt", "…"] if facts.takes_text else []
    if generation.classes is not None:
        words += ["--class-label", "0"]
    for name in PICTURES[facts.starts[0]]:
        words += [f"--{name}", f"{name}.png"]
    if facts.takes_picture_prompt:
        words += ["--ip-image", "picture.png"]
    return (*words, *(("--control", "edges.png") * facts.controls))


def run_command(package: str, needed: tuple[str, ...], *more: str) -> str:
    """Return the line that draws a picture with a package; `needed` is of `needed_options`."""
    return shlex.join(("edgegen", "run", package, *needed, *more, "-o", "picture.png"))
