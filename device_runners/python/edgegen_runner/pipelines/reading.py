"""Prompts to chunks of tokens, as diffusers reads them, or the web UI, or compel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ..errors import RunnerFailure
from ..prompts import Chunk, PromptError, Span, chunks_of, read_a1111, read_compel
from ..tokenizers import Encoded, Tokenizer
from .emphasis import share_without

Weights = Optional[tuple[float, ...]]
"""One a token of a chunk; None where all count alike."""


@dataclass(frozen=True)
class TextChunk:
    """Tokens as a text encoder takes them, and how much each counts.

    ``less`` are the same without the words that count less than others, and how much each of
    these counts beside it. ``weight`` is that of the whole chunk.
    """

    encoded: Encoded
    weights: Weights = None
    less: tuple[tuple[Encoded, Weights, float], ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class Reading:
    """A prompt as a text encoder takes it: chunks of tokens, and the end that was cut.

    ``from_empty`` says what weights mean: how far from an empty prompt, as in compel, or a factor,
    as in the web UI. ``pooled`` is what the pooled text is of, where it isn't the first chunk.
    """

    chunks: tuple[TextChunk, ...]
    cut: str = ""
    from_empty: bool = False
    pooled: Optional[Encoded] = None


class PromptReader:
    """A tokenizer, and how many tokens a text encoder takes, with start and end."""

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        self._tokenizer = tokenizer
        self._length = length

    @property
    def empty(self) -> TextChunk:
        """Return a chunk without words."""
        return TextChunk(self._tokenizer("", self._length))

    def read(self, prompt: str, syntax: str = "plain") -> Reading:
        """Return a prompt in tokens: cut at the encoder's length, or in chunks as long as that.

        Raises RunnerFailure (bad-request) for what cannot be read.
        """
        try:
            if syntax == "plain":
                encoded = self._tokenizer(self._tokenizer.expand(prompt), self._length)
                return Reading((TextChunk(encoded),), encoded.truncated_text)
            return self._read_parts(prompt) if syntax == "compel" else self._read_in_chunks(prompt)
        except PromptError as error:
            raise RunnerFailure(
                "bad-request", str(error), "Or give --prompt-syntax plain."
            ) from error
        except ValueError as error:
            raise RunnerFailure("bad-request", f"The prompt cannot be read: {error}") from error

    def padded(self, reading: Reading, chunks: int) -> Reading:
        """Return a prompt with empty chunks behind it, as many as another one has."""
        missing = chunks - len(reading.chunks)
        if missing <= 0:
            return reading
        return replace(reading, chunks=(*reading.chunks, *[self.empty] * missing))

    def _read_in_chunks(self, prompt: str) -> Reading:
        tokenizer: Any = self._tokenizer
        commas = tokenizer.encode(",")
        chunks = chunks_of(
            read_a1111(prompt),
            self._ids,
            commas[0] if len(commas) == 1 else None,
            self._length - 2,
        )
        return Reading(tuple(self._framed(chunk) for chunk in chunks))

    def _read_parts(self, prompt: str) -> Reading:
        """Return what compel makes of a prompt: a chunk a part, cut at the encoder's length."""
        chunks, cuts = [], []
        for part in read_compel(prompt):
            whole, cut = self._spans(part.spans)
            taken, less = 0, []
            for place, span in enumerate(part.spans):
                if span.weight < 1 and taken < self._length - 2:
                    others, _ = self._spans((*part.spans[:place], *part.spans[place + 1 :]))
                    less.append((others.encoded, others.weights, share_without(span.weight)))
                taken += len(self._ids(span.text))
            chunks.append(replace(whole, less=tuple(less), weight=part.weight))
            cuts.append(cut)
        plain = self._tokenizer(self._tokenizer.expand(prompt), self._length)
        return Reading(tuple(chunks), " ".join(filter(None, cuts)), from_empty=True, pooled=plain)

    def _ids(self, text: str) -> Sequence[int]:
        tokenizer: Any = self._tokenizer
        ids: Sequence[int] = tokenizer.encode(tokenizer.expand(text))
        return ids

    def _spans(self, spans: Sequence[Span]) -> tuple[TextChunk, str]:
        """Return spans as one chunk, and the end that was cut."""
        counted = [(token, span.weight) for span in spans for token in self._ids(span.text)]
        kept, rest = counted[: self._length - 2], counted[self._length - 2 :]
        tokenizer: Any = self._tokenizer
        cut: str = tokenizer.decode([token for token, _ in rest])
        ids, weights = (tuple(each) for each in zip(*kept)) if kept else ((), ())
        return self._framed(Chunk(ids, weights)), cut

    def _framed(self, chunk: Chunk) -> TextChunk:
        tokenizer: Any = self._tokenizer
        encoded = tokenizer.framed(chunk.ids, self._length)
        return TextChunk(encoded, _framed_weights(chunk, self._length))


def _framed_weights(chunk: Chunk, length: int) -> Optional[tuple[float, ...]]:
    """Return the weights of a chunk with its start, end and padding, None where all are 1."""
    if all(weight == 1.0 for weight in chunk.weights):
        return None
    return (1.0, *chunk.weights, *[1.0] * (length - 1 - len(chunk.weights)))
