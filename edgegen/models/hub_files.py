"""Which files of a hub's repository a pipeline needs: what it is not asked for is not fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgegen.core.errors import SourceError
from edgegen.families import scheduler_entries, slot_folders
from edgegen.models.index import INDEX_NAME
from edgegen.models.weight_files import StoredVariants, check_variant
from edgegen.tokenizers import FILES, FOLDERS

_TOP = re.compile(r"model_index\.json|README\.md|(?i:licen[cs]e|notice|copying)[\w.-]*")
_TOKENIZERS = {f"{folder}/{name}" for folder in FOLDERS for name in FILES}
_SCHEDULERS = {f"{entry}/scheduler_config.json" for entry in scheduler_entries()}


def is_weight_file(name: str) -> bool:
    """Return whether a chosen file holds weights."""
    return name.endswith(".safetensors")


def choose_files(
    sizes: Mapping[str, int], variant: str | None, *, repository: str
) -> tuple[str, ...]:
    """Choose from a repository's files (name → bytes) those that edgegen reads.

    Of each component one set of weights is chosen, as `Weights.open` chooses among files that are
    here. Pickles are never chosen. Raises SourceError where this is no diffusers pipeline, or one
    without safetensors, or without the `variant` that the user asked for.
    """
    if INDEX_NAME not in sizes:
        raise _not_a_pipeline(sizes, repository)
    chosen = [
        name for name in sizes if _TOP.fullmatch(name) or name in _TOKENIZERS or name in _SCHEDULERS
    ]
    variants = []
    for component in slot_folders({name.partition("/")[0] for name in sizes if "/" in name}):
        inside = {
            name.removeprefix(f"{component}/")
            for name in sizes
            if name.startswith(f"{component}/") and name.count("/") == 1
        }
        if not inside:
            continue
        stored = StoredVariants.of(f"{repository}/{component}", inside)
        variants.append(stored)
        weights = stored.choose(variant)
        names = [*weights.files] if weights.index is None else [*weights.files, weights.index]
        names += [name for name in inside if name == "config.json"]
        chosen += [f"{component}/{name}" for name in names]
    check_variant(variant, variants, model=repository)
    return tuple(sorted(chosen, key=lambda name: (is_weight_file(name), name)))


def _not_a_pipeline(sizes: Mapping[str, int], repository: str) -> SourceError:
    hint = "Give the id of a diffusers pipeline, or make a folder of it with save_pretrained."
    singles = sorted(name for name in sizes if "/" not in name and is_weight_file(name))
    if singles:
        hint = (
            f"It has {singles[0]}. Where that is a whole model, write "
            f"{repository}:{singles[0]}; where it is a LoRA, download it, and give its base: "
            "edgegen package BASE --lora FILE"
        )
    return SourceError(
        f"{repository} is not a diffusers pipeline: it has no {INDEX_NAME}.", hint=hint
    )
