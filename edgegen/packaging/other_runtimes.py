"""What else draws from packages, and what of a model it cannot draw.

edgegen's own runner draws all that a package holds. Others read the same files, and leave out what
they do not know, without a word: so `package` says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgegen.core.model import PipelineSpec
from edgegen.core.target import TargetSpec
from edgegen.tokenizers import tokenizers_in

_SHOWN = 3


def lost_elsewhere(spec: PipelineSpec, model: Path, target: TargetSpec) -> Iterator[str]:
    """Say what of the model in a folder is lost on what else draws from a target's packages."""
    other = target.other_runner
    if other is None:
        return
    added = (tokenizer.added_tokens(folder) for folder, tokenizer in tokenizers_in(model))
    tokens = list(dict.fromkeys(token for each in added for token in each))
    if tokens and not other.knows_added_tokens:
        more = f" and {len(tokens) - _SHOWN:,} more" if len(tokens) > _SHOWN else ""
        yield (
            f"The tokenizer has added tokens ({', '.join(tokens[:_SHOWN])}{more}). edgegen's own "
            f"runner knows them; {other.name} does not, and cannot draw what they stand for."
        )
    if spec.generation.decode_tile is not None:
        yield (
            "The picture is decoded in tiles (--decode-tile). edgegen's own runner does so; "
            f"{other.name} does not."
        )
    if spec.generation.latents_mean is not None:
        yield (
            "The autoencoder normalizes latents by channel ('latents_mean'). edgegen's own runner "
            f"does so; {other.name} does not, and draws other colours."
        )
