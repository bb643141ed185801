"""A prompt's tokens in chunks as long as a text encoder takes, each with its weight.

Source: stable-diffusion-webui, ``modules/sd_hijack_clip.py`` (``tokenize_line``), with its default
of 20 tokens that may move to the next chunk so that it begins behind a comma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, Optional

from .syntax import Span

_FARTHEST_COMMA = 20


@dataclass(frozen=True)
class Chunk:
    """Tokens without start, end and padding, and how much each counts."""

    ids: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()


def chunks_of(
    parts: Sequence[Sequence[Span]],
    encode: Callable[[str], Sequence[int]],
    comma_id: Optional[int],
    room: int,
) -> list[Chunk]:
    """Return the chunks of a prompt, at least one; every part begins a new one.

    Args:
        parts: The spans between breaks.
        encode: Returns the token ids of a text.
        comma_id: The token of a comma, None where the vocabulary has none.
        room: How many tokens fit into a chunk.
    """
    chunks = []
    for part in parts:
        ids: list[int] = []
        weights: list[float] = []
        last_comma = -1
        for span in part:
            for token in encode(span.text):
                near = last_comma != -1 and len(ids) - last_comma <= _FARTHEST_COMMA
                if token == comma_id:
                    last_comma = len(ids)
                elif len(ids) == room and near:
                    behind = last_comma + 1
                    chunks.append(Chunk(tuple(ids[:behind]), tuple(weights[:behind])))
                    ids, weights, last_comma = ids[behind:], weights[behind:], -1
                if len(ids) == room:
                    chunks.append(Chunk(tuple(ids), tuple(weights)))
                    ids, weights, last_comma = [], [], -1
                ids.append(token)
                weights.append(span.weight)
        chunks.append(Chunk(tuple(ids), tuple(weights)))
    if len(chunks) > 1 and not chunks[-1].ids:
        chunks.pop()
    return chunks
