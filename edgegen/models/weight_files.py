"""Which files of a component's folder are its weights: those that diffusers would load.

diffusion_pytorch_model.safetensors                        model.fp16.safetensors
diffusion_pytorch_model-00001-of-00002.safetensors         model.fp16-00001-of-00002.safetensors
diffusion_pytorch_model.safetensors.index.json             model.safetensors.index.fp16.json

| what lies in the folder | what is taken |
|---|---|
| the plain files, and others of a variant | the plain ones; with `--variant`, the variant's |
| a variant that other components of the pipeline have, and this one lacks | the plain ones |
| one file, and shards with an index | diffusers: the shards; transformers: the one file |
| files named as diffusers names them, and as transformers does | those of the component's library |
| plain pickles, and safetensors of a variant | neither: diffusers would take the pickles |
| one variant, fp16 or bf16, and nothing plain | it; diffusers wants it to be asked for |

(diffusers 0.42, `ModelMixin.from_pretrained` and `_identify_model_variants`; transformers 5,
`_get_resolved_checkpoint_files`.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgegen.core.errors import SourceError, nearest
from edgegen.families import slot_library

PRECISION_VARIANTS = ("fp16", "bf16", "fp32")
"""Variants that hold the same model in another type; the rest (`non_ema`) are other models."""

PICKLE_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")

_STEM = r"(?P<stem>(?:diffusion_pytorch_)?model)"
_VARIANT = r"(?:\.(?P<variant>[\w.-]+?))?"
_SINGLE = re.compile(_STEM + _VARIANT + r"\.safetensors")
_SHARD = re.compile(_STEM + _VARIANT + r"-\d{5}-of-\d{5}(?:\.(?P<legacy>\w+))?\.safetensors")
_INDEX = re.compile(
    _STEM + r"\.safetensors\.(?:(?P<legacy>\w+)\.)?index(?:\.(?P<variant>[\w.-]+))?\.json"
)
_PICKLE = re.compile(
    r"(?P<stem>(?:diffusion_)?pytorch_model)" + _VARIANT + r"(?:-\d{5}-of-\d{5})?\.bin"
)
_PICKLE_STEMS = {"pytorch_model": "model", "diffusion_pytorch_model": "diffusion_pytorch_model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """The files of one variant: one file, or shards and the index that lists them."""

    variant: str | None
    index: str | None
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVariants:
    """What a component's folder has: the weights of each variant (None is the plain one).

    `pickled` are the variants that are there only as pickles, which diffusers would open.
    """

    folder: str
    names: tuple[str, ...]
    found: Mapping[str | None, WeightFiles]
    pickled: frozenset[str | None]

    @classmethod
    def of(cls, folder: str, names: Iterable[str]) -> StoredVariants:
        """Group the names in a component's folder by variant."""
        names = tuple(sorted(names))
        own, other = "diffusion_pytorch_model", "model"
        is_transformers = slot_library(re.split(r"[/\\]", folder)[-1]) == "transformers"
        if is_transformers:
            own, other = other, own
        for stem in (own, other):
            found = _group(names, stem, shards_first=not is_transformers)
            pickled = frozenset(
                match["variant"]
                for name in names
                if (match := _PICKLE.fullmatch(name)) and _PICKLE_STEMS[match["stem"]] == stem
            )
            if found or pickled:
                break
        return cls(folder=folder, names=names, found=found, pickled=pickled - set(found))

    def choose(self, variant: str | None) -> WeightFiles:
        """Choose the weights to use; `variant` is what the user asked of the whole pipeline.

        Raises SourceError where diffusers would take a pickle or nothing at all, and where shards
        have no index.
        """
        if variant is not None and variant in self.pickled:
            raise _only_pickled(self, variant)
        chosen = self.found.get(variant) or self.found.get(None)
        if chosen is None and (None in self.pickled or not self.found):
            raise no_weights(self)
        if chosen is None and variant is None and len(self.found) == 1:
            (only,) = self.found.values()
            chosen = only if only.variant in PRECISION_VARIANTS else None
        if chosen is None:
            raise SourceError(
                f"{self.folder} has no weights without a variant; it has "
                f"{', '.join(self.variants)}.",
                hint=f"Choose one: --variant {self.variants[0]}.",
            )
        if chosen.index is None and _SHARD.fullmatch(chosen.files[0]):
            raise SourceError(
                f"{self.folder}/{chosen.files[0]} is one of several shards, but their index is "
                "missing.",
                hint="Download the file that ends in '.safetensors.index.json' as well.",
            )
        return chosen

    @property
    def variants(self) -> tuple[str, ...]:
        """Return the names of the variants that can be read, the plain one aside."""
        return tuple(sorted(name for name in self.found if name is not None))


def is_shard(name: str) -> bool:
    """Return whether `name` is the plain name of a shard, in no other folder."""
    return _SHARD.fullmatch(name) is not None


def is_checkpoint_name(name: str) -> bool:
    """Return whether a file may hold a whole model: it isn't named as a component's weights are."""
    plain = name.rpartition("/")[2]
    is_component = _SINGLE.fullmatch(plain) or _SHARD.fullmatch(plain)
    return plain.lower().endswith((".safetensors", ".gguf")) and not is_component


def check_variant(variant: str | None, components: Iterable[StoredVariants], *, model: str) -> None:
    """Refuse a variant that none of a pipeline's components has. Raises SourceError."""
    known = {name for stored in components for name in stored.variants}
    if variant is not None and variant not in known:
        there = nearest(variant, known) if known else "It has plain weights only: leave it out."
        raise SourceError(f"{model} has no weights of the variant '{variant}'.", hint=there)


def no_weights(stored: StoredVariants) -> SourceError:
    """Explain that a folder has no weights that edgegen opens."""
    pickles = [name for name in stored.names if name.endswith(PICKLE_SUFFIXES)]
    if pickles and stored.found:
        return _only_pickled(stored, None)
    if pickles:
        return SourceError(
            f"{stored.folder} only has pickled weights ({', '.join(pickles[:3])}), which can run "
            "any program when they are loaded; edgegen never opens them.",
            hint="Take a safetensors version of this model. Or, on a machine that you can lose, "
            "load it with diffusers and write it with "
            "pipeline.save_pretrained(FOLDER, safe_serialization=True).",
        )
    return SourceError(
        f"{stored.folder} has no weights: 'diffusion_pytorch_model.safetensors' or "
        "'model.safetensors' is missing.",
        hint="Download the model again; the folder holds "
        f"{', '.join(stored.names[:6]) or 'nothing'}.",
    )


def _only_pickled(stored: StoredVariants, variant: str | None) -> SourceError:
    which = "without a variant" if variant is None else f"of the variant '{variant}'"
    others = ["leave --variant out"] if None in stored.found else []
    others += [f"--variant {name}" for name in stored.variants]
    return SourceError(
        f"{stored.folder}: the weights {which}, which diffusers would load, are pickled; edgegen "
        "never opens pickles, as they can run any program.",
        hint=f"Other weights are there as safetensors: {' or '.join(others)}. They may draw "
        "other pictures.",
    )


def _group(names: Iterable[str], stem: str, *, shards_first: bool) -> dict[str | None, WeightFiles]:
    single: dict[str | None, str] = {}
    shards: dict[str | None, list[str]] = {}
    indexes: dict[str | None, str] = {}
    for name in names:
        if (match := _INDEX.fullmatch(name)) and match["stem"] == stem:
            indexes[match["variant"] or match["legacy"]] = name
        elif (match := _SHARD.fullmatch(name)) and match["stem"] == stem:
            shards.setdefault(match["variant"] or match["legacy"], []).append(name)
        elif (match := _SINGLE.fullmatch(name)) and match["stem"] == stem:
            single[match["variant"]] = name
    found = {}
    for variant in {**single, **indexes, **shards}:
        files, index = shards.get(variant, []), indexes.get(variant)
        if variant in single and not (shards_first and index):
            files, index = [single[variant]], None
        found[variant] = WeightFiles(variant=variant, index=index, files=tuple(files))
    return found
