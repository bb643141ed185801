"""Sorts the keys of a file by what their prefixes say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

from edgegen.checkpoints.base import Shapes, listed
from edgegen.checkpoints.kinds import NAMES, kind_of
from edgegen.checkpoints.refused import refuse_others
from edgegen.core.errors import SourceError

DENOISER_PREFIX = "model.diffusion_model."
VAE_PREFIXES = ("first_stage_model.", "vae.")
_LEFT_OUT: Mapping[str, re.Pattern[str]] = {
    "averaged weights (EMA)": re.compile(r"model_ema\..*"),
    "noise schedule": re.compile(
        r"(?:betas|alphas_cumprod(?:_prev)?|(?:sqrt|log)_\w+|posterior_\w+|lvlb_weights|logvar"
        r"|denoiser\.(?:sigmas|log_sigmas)|scale_factor)"
    ),
    "state of training": re.compile(
        r"(?:global_step|epoch|optimizer.*|lr_schedulers.*|(?:first_stage_model|vae)\.loss\..*"
        r"|embedding_manager\..*)"
    ),
    "marks": re.compile(r"v_pred|ztsnr"),
    "positions of tokens": re.compile(r".*\.position_ids"),
}


def sorted_keys(
    shapes: Shapes, where: str
) -> tuple[dict[str, dict[str, tuple[int, ...]]], dict[str, int]]:
    """Return keys without their prefix, by it; and how many are left out, by the reason.

    A file without a denoiser's prefix is a denoiser as a whole, but for what has other prefixes.
    Raises SourceError for a file of another kind, and for keys with no prefix that is known.
    """
    prefixes = [DENOISER_PREFIX, *VAE_PREFIXES]
    prefixes += [text.prefix for name in NAMES for text in kind_of(name).text_encoders.values()]
    bare = not any(key.startswith(DENOISER_PREFIX) for key in shapes)
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    left_out: Counter[str] = Counter()
    unknown = []
    for key, shape in shapes.items():
        why = next((why for why, it in _LEFT_OUT.items() if it.fullmatch(key)), None)
        prefix = next((it for it in prefixes if key.startswith(it)), None)
        if why is not None:
            left_out[why] += 1
        elif prefix is not None:
            parts.setdefault(prefix, {})[key.removeprefix(prefix)] = shape
        elif bare:
            parts.setdefault(DENOISER_PREFIX, {})[key] = shape
        else:
            unknown.append(key)
    refuse_others([*unknown, *parts.get(DENOISER_PREFIX, ())], where)
    refuse_unknown(unknown, where)
    return parts, dict(left_out)


def refuse_unknown(unknown: Collection[str], where: str) -> None:
    """Raise SourceError where keys match nothing."""
    if unknown:
        count = "a key" if len(unknown) == 1 else f"{len(unknown):,} keys"
        raise SourceError(
            f"{where} has {count} that no network of its kind takes: {listed(unknown)}.",
            hint="It was mixed with another model, or is of a kind that edgegen does not know.",
        )
