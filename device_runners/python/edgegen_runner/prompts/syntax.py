"""Weights in prompts, as AUTOMATIC1111's web UI reads them.

Source: stable-diffusion-webui, ``modules/prompt_parser.py`` (``parse_prompt_attention``). Read in
one pass here, with BREAK taken wherever it stands; there one inside of brackets becomes a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

_STRONGER = 1.1  # what a pair of round brackets multiplies by, and of square ones divides by
_TOKENS = re.compile(
    r"\\[()\[\]\\]"  # an escaped bracket
    r"|\\"
    r"|[(\[]"
    r"|:(?P<weight>[+-]?[.\d]+)\)"
    r"|[)\]]"
    r"|[^\\()\[\]:]+"
    r"|:"
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_EDIT = re.compile(r"\[[^\[\]()]*:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\]")
_ALTERNATION = re.compile(r"\[[^\[\]()]*\|[^\[\]()]*\]")
_EXTRA_NETWORK = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>")
_AND = re.compile(r"\bAND\b")


class PromptError(ValueError):
    """Say what in a prompt cannot be read, and what to write instead."""


@dataclass(frozen=True)
class Span:
    """A piece of a prompt, and how much it counts: 1 as it is, below 0 against."""

    text: str
    weight: float = 1.0


def read_a1111(prompt: str) -> tuple[tuple[Span, ...], ...]:
    r"""Return the spans of a prompt, in the parts that BREAK makes of it.

    ``(fox)`` counts 1.1 times, ``[fox]`` 1 / 1.1 times, ``(fox:1.3)`` 1.3 times; nested ones
    multiply, and one that is not closed lasts to the end. ``\(`` is a bracket.

    Raises:
        PromptError: A weight is not a number, or the prompt asks for another of the web UI's
            means: one that changes with the steps, several prompts at once, or a LoRA.

    >>> read_a1111("an (important) word")[0][1]
    Span(text='important', weight=1.1)
    """
    _refuse_other_means(prompt)
    pieces: list[Optional[Span]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(bracket: str, factor: float) -> None:
        start = opened[bracket].pop()
        for place, piece in enumerate(pieces[start:], start):
            if piece is not None:
                pieces[place] = Span(piece.text, piece.weight * factor)

    for match in _TOKENS.finditer(prompt):
        text, weight = match.group(), match.group("weight")
        if text.startswith("\\"):
            pieces.append(Span(text[1:]))
        elif text in opened:
            opened[text].append(len(pieces))
        elif weight is not None and opened["("]:
            multiply("(", _number(weight))
        elif text == ")" and opened["("]:
            multiply("(", _STRONGER)
        elif text == "]" and opened["["]:
            multiply("[", 1 / _STRONGER)
        else:
            first, *others = _BREAK.split(text)
            pieces.append(Span(first))
            for other in others:
                pieces += [None, Span(other)]
    for bracket, factor in (("(", _STRONGER), ("[", 1 / _STRONGER)):
        while opened[bracket]:
            multiply(bracket, factor)
    return _parts(pieces)


def _parts(pieces: list[Optional[Span]]) -> tuple[tuple[Span, ...], ...]:
    """Return the spans between breaks (None), with neighbours of one weight joined."""
    parts: list[list[Span]] = [[]]
    for piece in pieces:
        if piece is None:
            parts.append([])
        elif parts[-1] and parts[-1][-1].weight == piece.weight:
            parts[-1][-1] = Span(parts[-1][-1].text + piece.text, piece.weight)
        else:
            parts[-1].append(piece)
    return tuple(map(tuple, parts))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise PromptError(
            f"The weight {text!r} is not a number. Write it as in (fox:1.3)."
        ) from None


def _refuse_other_means(prompt: str) -> None:
    bare = re.sub(r"\\.", "", prompt)
    for pattern, why in (
        (_EDIT, "changes with the steps, which is not supported"),
        (_ALTERNATION, "changes with the steps, which is not supported"),
        (
            _EXTRA_NETWORK,
            "names a network, and those are fused into the model before it is packaged",
        ),
        (_AND, "joins several prompts, where one is drawn"),
    ):
        found = pattern.search(bare)
        if found:
            raise PromptError(
                f"{found.group()!r} {why}. Leave it out; a bracket that is meant is written \\[."
            )
