"""Finds the weight that each module of an adapter changes, from headers alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from edgegen.core.errors import SourceError
from edgegen.models.adapters.adapter_file import AdapterFile
from edgegen.models.adapters.deltas import Shape, ShapeError, Shapes, check_magnitude, shape_of
from edgegen.models.adapters.module_names import Target, read_name

Changes = Mapping[str, Mapping[str, str]]
"""Folder of a component → key of its weight → module of the adapter."""

_SHOWN = 3
_READS_TEXT = re.compile(r".*attn2[._](?:processor[._])?to_[kv]")
_TEXT_WIDTHS: Mapping[int, str] = {
    768: "Stable Diffusion 1",
    1024: "Stable Diffusion 2",
    1280: "SDXL's refiner",
    2048: "SDXL",
    1152: "PixArt",
}
"""How wide the text is that a denoiser's cross attention reads, and whose that is."""
_OTHERS: Mapping[str, re.Pattern[str]] = {
    "FLUX": re.compile(r".*(?:double_blocks|single_blocks|single_transformer_blocks)[._]\d.*"),
    "Stable Diffusion 3": re.compile(r".*(?:joint_blocks[._]\d|attn[._]add_[qkv]_proj).*"),
    "a video model": re.compile(r".*(?:temporal_|motion_modules|self_attn[._]norm_k).*"),
}


def match(adapter: AdapterFile, targets: Sequence[Target], model: str) -> Changes:
    """Return what an adapter changes in a model of these components.

    Raises SourceError that names what matches nothing, what doesn't fit, and which model the
    adapter seems to be of.
    """
    found: dict[str, dict[str, str]] = {target.folder: {} for target in targets}
    lost, wrong = [], []
    for module in adapter.modules:
        shapes = adapter.shapes(module)
        try:
            fitting = list(_places(module, shapes, targets))
        except ShapeError as error:
            wrong.append(f"'{module}': {error}")
            continue
        if not fitting:
            lost.append(module)
            continue
        good = [place for place, why in fitting if why is None]
        if len(good) > 1:
            raise SourceError(
                f"{adapter.path}: '{module}' is in {' and in '.join(it.folder for it, _ in good)}.",
                hint="Save the adapter with its component before each key, as "
                "pipeline.save_lora_weights of diffusers does.",
            )
        if not good:
            wrong.append(f"'{module}': {fitting[0][1]}")
            continue
        target, stem = good[0]
        for key in _keys(stem, shapes):
            if key in found[target.folder]:
                other = found[target.folder][key]
                raise SourceError(
                    f"{adapter.path}: '{module}' and '{other}' change the same weight.",
                    hint="Save the adapter again: two were written into one file.",
                )
            found[target.folder][key] = module
    if lost or wrong:
        raise _mismatch(adapter, targets, model, lost, wrong)
    return {folder: changes for folder, changes in found.items() if changes}


def _places(
    module: str, shapes: Shapes, targets: Sequence[Target]
) -> Iterator[tuple[tuple[Target, str], str | None]]:
    """Yield the weights that a name may mean, each with why it doesn't fit, if it doesn't."""
    named = read_name(module)
    for target in targets:
        if named.may_be_in(target):
            stem = next((target.stems[it] for it in named.names if it in target.stems), None)
            if stem is not None:
                yield (target, stem), _problem(shapes, target, stem)


def _keys(stem: str, shapes: Shapes) -> Iterator[str]:
    if "diff_b" not in shapes or shapes.keys() - {"diff_b", "alpha"}:
        yield f"{stem}.weight"
    if "diff_b" in shapes:
        yield f"{stem}.bias"


def _problem(shapes: Shapes, target: Target, stem: str) -> str | None:
    for key in _keys(stem, shapes):
        shape = target.shapes.get(key)
        if shape is None:
            return f"the model has no {key}"
        made = shapes["diff_b"] if key.endswith(".bias") else shape_of(shapes)
        if not fits(made, shape):
            return f"it adds {made} to a weight of {shape}"
        if not key.endswith(".bias"):
            check_magnitude(shapes, shape)
    return None


def fits(made: Shape, weight: Shape) -> bool:
    """Return whether a sum is that of two arrays of the same layout.

    1×1 convolutions are linear, and a kernel's axes may be folded into the inputs.
    """
    if _trimmed(made) == _trimmed(weight):
        return True
    return len(made) == 2 and made[:1] == weight[:1] and math.prod(made) == math.prod(weight)


def _trimmed(shape: Shape) -> Shape:
    return shape[:-2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


def _mismatch(
    adapter: AdapterFile, targets: Sequence[Target], model: str, lost: list[str], wrong: list[str]
) -> SourceError:
    parts = []
    if lost:
        parts.append(_listed([f"'{it}'" for it in lost], "matches nothing", "match nothing"))
    if wrong:
        parts.append(_listed(wrong, "doesn't fit", "don't fit"))
    return SourceError(
        f"{adapter.path} is no adapter of {model}: of its {len(adapter.modules):,} modules, "
        f"{'; '.join(parts)}.{_made_for(adapter, targets)}",
        hint="Take the adapter that was trained on this model's base, or the base that it was "
        "trained on: its page names it.",
    )


def _listed(names: list[str], one: str, many: str) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    what = f"one {one}" if len(names) == 1 else f"{len(names):,} {many}"
    return f"{what}: {', '.join(names[:_SHOWN])}{more}"


def _made_for(adapter: AdapterFile, targets: Sequence[Target]) -> str:
    """Return which model an adapter seems to be of, in a sentence; "" where nothing says so."""
    for name, pattern in _OTHERS.items():
        if any(pattern.fullmatch(module) for module in adapter.modules):
            return f" It seems to be of {name}."
    width, own = _text_width(adapter), _own_text_width(targets)
    if width is None or own is None or width == own:
        return ""
    whose = f", as {_TEXT_WIDTHS[width]} does" if width in _TEXT_WIDTHS else ""
    ours = f" (as {_TEXT_WIDTHS[own]})" if own in _TEXT_WIDTHS else ""
    return f" It is of a model that reads text {width:,} wide{whose}; this one reads {own:,}{ours}."


def _text_width(adapter: AdapterFile) -> int | None:
    for module in adapter.modules:
        if _READS_TEXT.fullmatch(module):
            try:
                return shape_of(adapter.shapes(module))[1]
            except (ShapeError, IndexError):
                continue
    return None


def _own_text_width(targets: Sequence[Target]) -> int | None:
    for target in targets:
        for key, shape in target.shapes.items():
            if _READS_TEXT.fullmatch(key.removesuffix(".weight")) and len(shape) > 1:
                return shape[1]
    return None
