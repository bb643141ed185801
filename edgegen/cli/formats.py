"""How weights and drawing are said in a few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgegen.core.model import Adapter, PipelineSpec


def format_variants(variants: Mapping[str, str | None]) -> str:
    """Name the weights that were taken, by component: `fp16 of unet, plain of vae`.

    >>> format_variants({"unet": None, "vae": None})
    'the plain files'
    """
    of: dict[str, list[str]] = {}
    for component, variant in variants.items():
        of.setdefault(variant or "plain", []).append(component)
    if list(of) == ["plain"]:
        return "the plain files"
    return ", ".join(f"{variant} of {' and '.join(names)}" for variant, names in of.items())


def format_adapters(adapters: Sequence[Adapter]) -> str:
    """Name what was added to a model: `watercolour at 0.8`, `toy as <toy>`."""
    return ", ".join(
        f"{it.name} as {it.tokens[0]}" if it.scale is None else f"{it.name} at {it.scale:g}"
        for it in adapters
    )


def format_drawing(spec: PipelineSpec) -> str:
    """Return in how many steps, and with which guidance, a pipeline is drawn by default."""
    generation = spec.generation
    steps = f"{generation.steps} step{'s' if generation.steps > 1 else ''}"
    if spec.facts.guidance == "none":
        return steps
    masked = generation.inpaint_guidance
    behind = "" if masked is None else f", {masked:g} behind a mask"
    return f"{steps}, guidance {generation.guidance:g}{behind}"
