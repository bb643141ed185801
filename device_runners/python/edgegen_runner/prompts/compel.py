"""Weights in prompts, as compel reads them: ``fox++``, ``(red fox)1.3``, ``("a", "b").and()``.

Source: compel 2.5.1, ``compel/prompt_parser.py``, whose grammar this follows rule by rule; what
matches nothing of it is a word as it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from .syntax import PromptError, Span

_STRONGER, _WEAKER = 1.1, 0.9  # what each + and each - multiplies by
_DEEPEST = 32

_BLANKS = re.compile(r"[ \n\t\r]*")
_WORD = re.compile(r'(?:\\[()",.+\-=]|[-+](?![\s()",.+\-=]|\Z)|-?[0-9]+|[^\s()",.+\-=])+', re.ASCII)
_FREE_WORD = re.compile(r"\S+", re.ASCII)
_SIGNS = re.compile(r"\++|-+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)|-?[0-9]+")
_QUOTED = re.compile(r'"((?:\\"|[^"\n\r])*)"')
_AND = re.compile(r"\.(?:and|add)[ \n\t\r]*\(([^()]*)\)")
_OTHER_MEANS = (
    (re.compile(r"\.blend\s*\("), "mixes prompts"),
    (re.compile(r"\.swap\s*\("), "swaps words while the image is drawn"),
    (re.compile(r"\b(?:use|with)Lora\s*\("), "names a LoRA, which is added when one packages"),
)

Found = Optional[tuple[list[Span], int]]
"""Spans, and where what follows them begins; None where nothing was found."""


@dataclass(frozen=True)
class Part:
    """One prompt of a conjunction, and how much it counts."""

    spans: tuple[Span, ...]
    weight: float = 1.0


def read_compel(prompt: str) -> tuple[Part, ...]:
    r"""Return the parts of a prompt, at least one, in spans that differ from their neighbours.

    ``fox++`` counts 1.1² times, ``fox-`` 0.9 times, ``(red fox)1.3`` 1.3 times; weights inside of
    one another multiply. ``("a fox", "a hill").and(1, 0.5)`` has two parts. ``\(`` is a bracket.

    Raises:
        PromptError: The prompt asks for what is not supported, or nests too deeply.

    >>> read_compel("a fox++ here")[0].spans[1].text
    'fox'
    """
    for pattern, why in _OTHER_MEANS:
        found = pattern.search(prompt)
        if found:
            raise PromptError(f"{found.group()!r} {why}, which is not supported. Leave it out.")
    reader = _Reader(re.sub(r",(\S)", r", \1", prompt))
    return reader.conjunction() or (Part(_joined(reader.prompt())),)


class _Reader:
    """Reads one text; each method tries a rule at a place."""

    def __init__(self, text: str, depth: int = 0) -> None:
        if depth > _DEEPEST:
            raise PromptError(f"The prompt nests deeper than {_DEEPEST} brackets.")
        self._text = text
        self._depth = depth
        self._brackets: dict[int, Found] = {}

    def conjunction(self) -> Optional[tuple[Part, ...]]:
        """Read ``(…, …).and(…)``."""
        at = self._literal("(", 0)
        prompts: list[list[Span]] = []
        while at is not None:
            found = self._target(at) or self._quoted_prompt(at)
            if found is None:
                return None
            prompts.append(found[0])
            comma = self._literal(",", found[1])
            if comma is None:
                at = self._literal(")", found[1])
                break
            at = comma
        match = None if at is None else _AND.match(self._text, self._blanks(at))
        if match is None:
            return None
        if self._text[match.end() :].strip():
            raise PromptError("Nothing may follow .and(…): write it into one of the prompts.")
        return _parts(prompts, match.group(1))

    def prompt(self) -> list[Span]:
        """Read all of the text; what no rule takes is a word."""
        spans: list[Span] = []
        at = self._blanks(0)
        while at < len(self._text):
            found = self._attention(at) or self._quoted(at) or self._bracket(at)
            if found is None:
                word = _FREE_WORD.match(self._text, at)
                if word is None:  # a blank of another kind
                    at = self._blanks(at + 1)
                    continue
                found = [_span(word.group())], word.end()
            spans += found[0]
            at = self._blanks(found[1])
        return spans

    def fragment(self, at: int, end: str) -> Found:
        """Read rules one after the other up to ``end``, which is empty for the text's own end."""
        spans: list[Span] = []
        while True:
            at = self._blanks(at)
            found = self._attention(at) or self._bracket(at) or self._quoted(at) or self._word(at)
            if found is None and self._text[at : at + 1] in (",", "."):
                found = [Span(self._text[at])], at + 1
            if found is None:
                break
            spans += found[0]
            at = found[1]
        if end:
            closed = self._literal(end, at)
            return None if closed is None else (spans, closed)
        return (spans, at) if at == len(self._text) else None

    def _attention(self, at: int) -> Found:
        target = self._target(at)
        if target is None:
            return None
        spans, behind = target
        asked = self._literal(".attend", behind)
        opened = None if asked is None else self._literal("(", asked)
        if opened is not None:
            operator = self._operator(self._blanks(opened))
            closed = None if operator is None else self._literal(")", operator[1])
            if operator is not None and closed is not None:
                return _weighted(spans, operator[0]), closed
        is_word = self._text[at] not in '("'
        operator = self._signs(behind) if is_word else self._operator(behind)
        return None if operator is None else (_weighted(spans, operator[0]), operator[1])

    def _target(self, at: int) -> Found:
        at = self._blanks(at)
        return self._quoted(at) or self._bracket(at) or self._word(at)

    def _bracket(self, at: int) -> Found:
        if self._text[at : at + 1] != "(":
            return None
        if at not in self._brackets:  # each is asked for by several rules
            if self._depth > _DEEPEST:
                raise PromptError(f"The prompt nests deeper than {_DEEPEST} brackets.")
            self._depth += 1
            self._brackets[at] = self.fragment(at + 1, ")")
            self._depth -= 1
        return self._brackets[at]

    def _quoted(self, at: int) -> Found:
        match = _QUOTED.match(self._text, at)
        if match is None:
            return None
        inner = match.group(1)
        if not inner.strip():
            return [Span("")], match.end()
        found = _Reader(inner, self._depth + 1).fragment(0, "")
        return None if found is None else (found[0], match.end())

    def _quoted_prompt(self, at: int) -> Found:
        match = _QUOTED.match(self._text, self._blanks(at))
        if match is None:
            return None
        return _Reader(match.group(1), self._depth + 1).prompt(), match.end()

    def _word(self, at: int) -> Found:
        match = _WORD.match(self._text, at)
        return None if match is None else ([_span(match.group())], match.end())

    def _operator(self, at: int) -> Optional[tuple[float, int]]:
        signs = self._signs(at)
        if signs is not None:
            return signs
        match = _NUMBER.match(self._text, at)
        return None if match is None else (float(match.group()), match.end())

    def _signs(self, at: int) -> Optional[tuple[float, int]]:
        match = _SIGNS.match(self._text, at)
        if match is None:
            return None
        base = _STRONGER if match.group()[0] == "+" else _WEAKER
        return base ** len(match.group()), match.end()

    def _literal(self, literal: str, at: int) -> Optional[int]:
        at = self._blanks(at)
        return at + len(literal) if self._text.startswith(literal, at) else None

    def _blanks(self, at: int) -> int:
        match = _BLANKS.match(self._text, at)
        assert match is not None
        return match.end()


def _span(text: str) -> Span:
    for _ in range(2):  # compel does so once when it reads, and once more when it flattens
        text = text.replace("\\(", "(").replace("\\)", ")").replace('\\"', '"')
    return Span(text)


def _weighted(spans: list[Span], weight: float) -> list[Span]:
    return [Span(span.text, span.weight * weight) for span in spans]


def _joined(spans: list[Span]) -> tuple[Span, ...]:
    """Return spans with neighbours of one weight joined, at least one."""
    joined: list[Span] = []
    for span in spans:
        if joined and joined[-1].weight == span.weight:
            joined[-1] = Span(f"{joined[-1].text} {span.text}", span.weight)
        else:
            joined.append(span)
    return tuple(joined or [Span("")])


def _parts(prompts: list[list[Span]], written: str) -> tuple[Part, ...]:
    texts = [text.strip() for text in written.split(",")] if written.strip() else []
    try:
        weights = [float(text) for text in texts] or [1.0] * len(prompts)
    except ValueError:
        raise PromptError(f".and({written}) takes numbers, one a prompt.") from None
    if len(weights) != len(prompts):
        raise PromptError(f".and({written}) has {len(weights)} numbers for {len(prompts)} prompts.")
    return tuple(Part(_joined(spans), weight) for spans, weight in zip(prompts, weights))
