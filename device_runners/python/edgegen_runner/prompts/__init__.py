"""Prompts with weights, in chunks as long as a text encoder takes."""

from __future__ import annotations

from .chunks import Chunk, chunks_of
from .compel import Part, read_compel
from .syntax import PromptError, Span, read_a1111

__all__ = [
    "Chunk",
    "Part",
    "PromptError",
    "Span",
    "chunks_of",
    "read_a1111",
    "read_compel",
]
