"""Pruned models of a model, made once: each in a folder of the cache, by all that it is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgegen import __version__
from edgegen.core.codec import encode
from edgegen.core.errors import ConfigError
from edgegen.core.files import sha256_of
from edgegen.core.folders import cache_folder
from edgegen.core.progress import Progress
from edgegen.models.model_folder import ModelFolder
from edgegen.models.origin import MADE_PLACE, ORIGIN_NAME, read_origin
from edgegen.models.source import resolve
from edgegen.pruning.run import PrunePlan, plan_pruning, prune
from edgegen.pruning.write import TEXTS

_DIGITS = 16
_CODE = ("run.py", "select.py", "write.py")


def variants_of(
    model: ModelFolder,
    shares: Sequence[float],
    progress: Progress,
    *,
    with_sensitivity: bool = False,
) -> tuple[ModelFolder, ...]:
    """Return pruned models that keep at most these shares (0…1) of the denoiser's weights.

    Their sources are words: `builtin:scenes pruned to 50 %`. There are none of a model that was
    pruned itself. `with_sensitivity` is as `measure_scores`
    takes it. Raises what `plan_pruning` raises, ConfigError for a share with which more would have
    to stay, and ResourceError where the cache cannot hold them.
    """
    if read_origin(model.path) is not None:
        return ()
    return tuple(_variant(model, share, progress, with_sensitivity) for share in shares)


def _variant(
    model: ModelFolder, share: float, progress: Progress, with_sensitivity: bool
) -> ModelFolder:
    try:
        plan = plan_pruning(model, share, progress=progress, with_sensitivity=with_sensitivity)
    except ConfigError as error:
        raise ConfigError(
            f"{model.source} cannot be pruned to {share:g}: {error.message}",
            hint="Give larger shares with --prune.",
        ) from error
    folder = cache_folder() / MADE_PLACE / _key(plan) / f"{model.name}-{share:g}"
    if not (folder / ORIGIN_NAME).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with progress.step(f"pruning {model.source} to {share:g}"):
            prune(plan, folder, force=True, progress=progress)
    made = resolve(str(folder), variant=model.variant, progress=progress)
    return replace(made, source=f"{model.source} pruned to {100 * share:g} %")


def _key(plan: PrunePlan) -> str:
    """Return a hash of what a pruned model is made of: weights, small files, what stays, code."""
    folder, here = plan.model.path, Path(__file__)
    texts = sorted(it for it in folder.rglob("*") if it.suffix in TEXTS and it.is_file())
    about = {
        "origin": encode(plan.origin),
        "kept": encode(plan.kept),
        "files": {it.relative_to(folder).as_posix(): sha256_of(it) for it in texts},
        "made_by": {name: sha256_of(here.with_name(name)) for name in _CODE},
        "edgegen": __version__,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:_DIGITS]
