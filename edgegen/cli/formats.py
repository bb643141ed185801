"""How sizes, times and counts are written for people."""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.core.model import PipelineSpec


def format_bytes(size_bytes: float) -> str:
    """Write a size in decimal units, three digits: `1.72 GB`, `640 kB`, `12 bytes`."""
    if abs(size_bytes) < 1000:
        return f"{size_bytes:.0f} bytes"
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if abs(value) < 999.5 or unit == "TB":
            return f"{_three_digits(value)} {unit}"
    raise AssertionError("unreachable")


def format_seconds(seconds: float) -> str:
    """Write a duration: `8.1 ms`, `3.20 s`, `4 min 05 s`, `2 h 03 min`."""
    if seconds < 0.9995:
        return f"{_three_digits(seconds * 1000)} ms"
    if seconds < 119.5:
        return f"{_three_digits(seconds)} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def format_count(count: float) -> str:
    """Write a count of parameters: `859.5 M`, `2.57 B`, `512`."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= limit:
            return f"{_three_digits(count / limit)} {unit}"
    return f"{count:.0f}"


def format_amount(done: float, total: float | None, unit: str) -> str:
    """Write how much of a step is done: `0.77 of 1.72 GB`, `7 of 25 steps`, `40 s of 10 min`."""
    if unit in ("bytes", "seconds"):
        write = format_bytes if unit == "bytes" else format_seconds
        return write(done) + ("" if total is None else f" of {write(total)}")
    return f"{done:.0f}" + ("" if total is None else f" of {total:.0f}") + f" {unit}"


def format_rate(rate: float, unit: str) -> str:
    """Write a speed: `120 MB/s`, `3.10 steps/s`, `20.5 s a step`; nothing for time itself."""
    if unit == "seconds":
        return ""
    if unit == "bytes":
        return f"{format_bytes(rate)}/s"
    if 0 < rate < 0.5:
        return f"{format_seconds(1 / rate)} a {unit.removesuffix('s')}"
    return f"{_three_digits(rate)} {unit}/s"


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


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    digits = 2 if magnitude < 9.995 else 1 if magnitude < 99.95 else 0
    return f"{value:.{digits}f}"


def format_drawing(spec: PipelineSpec) -> str:
    """Return in how many steps, and with which guidance, a pipeline is drawn by default."""
    generation = spec.generation
    steps = f"{generation.steps} step{'s' if generation.steps > 1 else ''}"
    if spec.facts.guidance == "none":
        return steps
    masked = generation.inpaint_guidance
    behind = "" if masked is None else f", {masked:g} behind a mask"
    return f"{steps}, guidance {generation.guidance:g}{behind}"
