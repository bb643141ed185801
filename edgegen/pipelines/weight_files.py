"""Which files of a component's folder are its weights, told by their names.

diffusion_pytorch_model.safetensors                        model.fp16.safetensors
diffusion_pytorch_model-00001-of-00002.safetensors         model.fp16-00001-of-00002.safetensors
diffusion_pytorch_model.safetensors.index.json             model.safetensors.index.fp16.json
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgegen.core.errors import SourceError, nearest

PRECISION_VARIANTS = ("fp16", "bf16", "fp32")
"""Variants that hold the same model in another type; the rest (`non_ema`) are other models."""

PICKLE_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")

_STEM = r"(?:diffusion_pytorch_)?model"
_SINGLE = re.compile(_STEM + r"(?:\.(?P<variant>\w+))?\.safetensors")
_SHARD = re.compile(
    _STEM + r"(?:\.(?P<variant>\w+))?-\d{5}-of-\d{5}(?:\.(?P<legacy>\w+))?\.safetensors"
)
_INDEX = re.compile(
    _STEM + r"\.safetensors\.(?:(?P<legacy>\w+)\.)?index(?:\.(?P<variant>\w+))?\.json"
)
_NEARLY = 1.02


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """The files of one variant: one file, or shards and the index that lists them."""

    variant: str | None
    index: str | None
    files: tuple[str, ...]


def is_shard(name: str) -> bool:
    """Say whether `name` is the plain name of a shard, in no other folder."""
    return _SHARD.fullmatch(name) is not None


def weight_files(names: Iterable[str], *, folder: str) -> dict[str | None, WeightFiles]:
    """Group the names in a component's folder by variant; None is the plain one.

    A single file is preferred to shards of the same variant. Raises SourceError where shards have
    no index; `folder` is for its message.
    """
    single: dict[str | None, str] = {}
    shards: dict[str | None, list[str]] = {}
    indexes: dict[str | None, str] = {}
    for name in sorted(names):
        if match := _INDEX.fullmatch(name):
            indexes[match["variant"] or match["legacy"]] = name
        elif match := _SHARD.fullmatch(name):
            shards.setdefault(match["variant"] or match["legacy"], []).append(name)
        elif match := _SINGLE.fullmatch(name):
            single[match["variant"]] = name
    found = {}
    for variant in {**single, **indexes, **shards}:
        files, index = shards.get(variant, []), indexes.get(variant)
        if variant in single:
            files, index = [single[variant]], None
        elif index is None:
            raise SourceError(
                f"{folder}/{files[0]} is one of several shards, but their index is missing.",
                hint="Download the file that ends in '.safetensors.index.json' as well.",
            )
        found[variant] = WeightFiles(variant=variant, index=index, files=tuple(files))
    return found


def choose(
    found: Mapping[str | None, WeightFiles],
    variant: str | None,
    sizes: Mapping[str, int],
    *,
    folder: str,
) -> WeightFiles:
    """Choose the weights to use; `sizes` are those of the files, in bytes.

    Without `variant`, and where the folder holds the same weights in several types, the smallest
    files are taken: they are what a package stores. Of files as large as each other, fp16 comes
    before bf16, which is coarser. A variant that is another model, such as `non_ema`, is only
    taken when asked for. Raises SourceError.
    """
    if variant is not None:
        if variant not in found:
            raise SourceError(
                f"{folder} has no weights of the variant '{variant}'.",
                hint=nearest(variant, [name or "(none)" for name in found]),
            )
        return found[variant]
    same = [found[name] for name in (*PRECISION_VARIANTS, None) if name in found]
    if not same:
        raise SourceError(
            f"{folder} only has weights of a variant that edgegen does not take unasked.",
            hint=f"It has {', '.join(sorted(map(str, found)))}; save the one you want without a "
            "variant.",
        )
    totals = [sum(sizes.get(name, 0) for name in it.files) for it in same]
    return next(
        it for it, total in zip(same, totals, strict=True) if total <= _NEARLY * min(totals)
    )


def no_weights(folder: str, names: Iterable[str]) -> SourceError:
    """Explain that a folder with these names has no weights that edgegen opens."""
    names = sorted(names)
    pickles = [name for name in names if name.endswith(PICKLE_SUFFIXES)]
    if pickles:
        return SourceError(
            f"{folder} only has pickled weights ({', '.join(pickles[:3])}), which can run any "
            "program when they are loaded; edgegen never opens them.",
            hint="Take a safetensors version of this model. Or, on a machine that you can lose, "
            "load it with diffusers and write it with "
            "pipeline.save_pretrained(FOLDER, safe_serialization=True).",
        )
    return SourceError(
        f"{folder} has no weights: 'diffusion_pytorch_model.safetensors' or 'model.safetensors' "
        "is missing.",
        hint=f"Download the model again; the folder holds {', '.join(names[:6]) or 'nothing'}.",
    )
