"""Prompts to embeddings, as diffusers' ``encode_prompt`` makes them, or the web UI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..package import Component, read_json_object
from ..prompts import Chunk, PromptError, chunks_of, read_a1111
from ..request import Request
from ..residency import Components
from ..tokenizers import Encoded, Tokenizer, load_tokenizer
from .emphasis import emphasized, final_norm

Array = npt.NDArray[Any]

_UNNAMED = "hidden_states"  # of an encoder whose configuration does not count its layers


@dataclass(frozen=True)
class TextSettings:
    """How prompts are read: their syntax, and how many of CLIP's last layers are left out.

    diffusers leaves layers out for the prompt alone, the web UI for the negative prompt, too.
    """

    syntax: str = "plain"
    clip_skip: int = 0

    @classmethod
    def of(cls, request: Request) -> TextSettings:
        """Return what a request asks for."""
        return cls(request.prompt_syntax or "plain", request.clip_skip or 0)

    def for_negative(self) -> TextSettings:
        """Return how a negative prompt is read."""
        return TextSettings(self.syntax, self.clip_skip if self.syntax != "plain" else 0)


@dataclass(frozen=True)
class Reading:
    """A prompt as a text encoder takes it: chunks of tokens, and the end that was cut.

    ``weights`` are those of the tokens of each chunk, None where all count alike.
    """

    chunks: tuple[Encoded, ...]
    weights: tuple[Optional[tuple[float, ...]], ...]
    cut: str = ""


class TextEncoder:
    """A text encoder and the tokenizer that belongs to it, of a kind of `TOKENIZERS`."""

    def __init__(self, components: Components, component: Component, kind: str = "clip") -> None:
        self._components = components
        self._component = component
        self._name = component.name
        tokenizer_folder = component.name.replace("text_encoder", "tokenizer")
        self._tokenizer = _load_tokenizer(kind, components.package.folder / tokenizer_folder)
        # The tokenizer's own may be more than the encoder has positions.
        self._length = components.package.generation.text_length or self._tokenizer.model_max_length
        if self._length is None:
            raise RunnerFailure(
                "bad-package",
                f"{tokenizer_folder}/tokenizer_config.json sets no model_max_length.",
                "Add the number of tokens that the text encoder takes.",
            )

    def read(self, prompt: str, syntax: str = "plain") -> Reading:
        """Return a prompt in tokens: cut at the encoder's length, or in chunks as long as that.

        Raises RunnerFailure (bad-request) for what cannot be read.
        """
        try:
            if syntax == "plain":
                encoded = self._tokenizer(self._tokenizer.expand(prompt), self._length)
                return Reading((encoded,), (None,), encoded.truncated_text)
            return self._read_in_chunks(prompt)
        except PromptError as error:
            raise RunnerFailure(
                "bad-request", str(error), "Or give --prompt-syntax plain."
            ) from error
        except ValueError as error:
            raise RunnerFailure("bad-request", f"The prompt cannot be read: {error}") from error

    def masked(self, prompt: str) -> tuple[Array, Array, str]:
        """Return the last hidden state, the attention mask, (1, sequence), and the cut end."""
        reading = self.read(prompt)
        values = self._run(reading.chunks[0], ["last_hidden_state"])
        mask = np.array([reading.chunks[0].mask], dtype=np.int64)
        return values["last_hidden_state"], mask, reading.cut

    def final(self, reading: Reading, clip_skip: int = 0) -> Array:
        """Return the last hidden states, (1, chunks * sequence, width), behind the final norm.

        With ``clip_skip`` they are those before as many of the last layers, behind the same norm.
        """
        last = "last_hidden_state"
        names = [last] if not clip_skip else [self._state(clip_skip), self._state(0), last]
        states = []
        for encoded, weights in zip(reading.chunks, reading.weights):
            values = self._run(encoded, names)
            state = values[last]
            if clip_skip:
                config = read_json_object(self._config)
                epsilon = float(config.get("layer_norm_eps", 1e-5))
                norm = final_norm(values[names[1]], state, epsilon)
                state = norm(values[names[0]])
            states.append(emphasized(state, weights))
        return np.concatenate(states, axis=1)

    def penultimate(self, reading: Reading, clip_skip: int = 0) -> tuple[Array, Optional[Array]]:
        """Return the hidden states before the last layer, and the pooled text of the first chunk.

        With ``clip_skip`` they are those before as many layers more. The pooled text,
        (1, projection), is None where the encoder has no projection.
        """
        name = self._state(clip_skip + 1)
        names = [name] + (["text_embeds"] if "text_embeds" in self._component.outputs else [])
        states, pooled = [], None
        for encoded, weights in zip(reading.chunks, reading.weights):
            values = self._run(encoded, names)
            states.append(emphasized(values[name], weights))
            pooled = values.get("text_embeds") if pooled is None else pooled
        return np.concatenate(states, axis=1), pooled

    def padded(self, reading: Reading, chunks: int) -> Reading:
        """Return a prompt with empty chunks behind it, as many as another one has."""
        missing = chunks - len(reading.chunks)
        if missing <= 0:
            return reading
        empty = self._tokenizer("", self._length)
        more: tuple[Optional[tuple[float, ...]], ...] = (None,) * missing
        return Reading(
            (*reading.chunks, *[empty] * missing), (*reading.weights, *more), reading.cut
        )

    @property
    def _config(self) -> Path:
        return self._components.package.folder / self._name / "config.json"

    def _state(self, before_last: int) -> str:
        """Return the output that holds the state before so many of the last layers.

        Packages list the states of all layers; older ones leave out the last layer's, and targets
        that keep what their pipelines read the others.
        """
        layers = read_json_object(self._config).get("num_hidden_layers")
        name = f"hidden_states.{layers - before_last}" if isinstance(layers, int) else _UNNAMED
        if isinstance(layers, int) and before_last > layers:
            raise RunnerFailure(
                "bad-request",
                f"{self._name} has {layers} layers; clip skip leaves out fewer.",
                "Give a smaller --clip-skip.",
            )
        if name not in self._component.outputs:
            raise RunnerFailure(
                "bad-package",
                f"{self._name} of this package has no output {name}, which is read here.",
                "Leave --clip-skip out, or package for onnx, openvino or tflite, which keep all.",
            )
        return name

    def _read_in_chunks(self, prompt: str) -> Reading:
        tokenizer: Any = self._tokenizer
        assert self._length is not None
        commas = tokenizer.encode(",")
        chunks = chunks_of(
            read_a1111(prompt),
            lambda text: tokenizer.encode(tokenizer.expand(text)),
            commas[0] if len(commas) == 1 else None,
            self._length - 2,
        )
        return Reading(
            tuple(tokenizer.framed(chunk.ids, self._length) for chunk in chunks),
            tuple(_framed_weights(chunk, self._length) for chunk in chunks),
        )

    def _run(self, encoded: Encoded, outputs: Sequence[str]) -> dict[str, Array]:
        """Return outputs, (1, …), of one chunk."""
        fixed = self._component.inputs["input_ids"].shape[0]
        batch = fixed if isinstance(fixed, int) else 1
        inputs = {
            "input_ids": np.repeat(np.array([encoded.ids], dtype=np.int64), batch, 0),
            "attention_mask": np.repeat(np.array([encoded.mask], dtype=np.int64), batch, 0),
        }
        values = self._components.run(self._name, inputs, list(outputs))
        return {name: value[:1] for name, value in values.items()}


def as_long_as_each_other(
    texts: Sequence[TextEncoder], readings: Sequence[Sequence[Reading]], room: object
) -> list[list[Reading]]:
    """Return prompts of as many chunks each, one list an encoder.

    Args:
        texts: The encoders.
        readings: Of each encoder, what it reads of each prompt.
        room: The denoiser's axis of tokens; a number where the package fixes it.

    Raises RunnerFailure (bad-request) where they are more than the denoiser takes.
    """
    most = max(len(reading.chunks) for own in readings for reading in own)
    length = len(readings[0][0].chunks[0].ids)
    if most > 1 and isinstance(room, int) and room != most * length:
        raise RunnerFailure(
            "bad-request",
            f"This prompt takes {most} chunks of {length} tokens, and the package's denoiser takes "
            f"{room} tokens: its shapes are fixed.",
            "Shorten the prompt, leave BREAK out, or package the model with open shapes.",
        )
    return [[text.padded(reading, most) for reading in own] for text, own in zip(texts, readings)]


def check_plain(request: Request, family: str) -> None:
    """Raise RunnerFailure (bad-request) for a syntax, or for layers to leave out.

    Args:
        request: What is asked for.
        family: Who has no CLIP, for the message.
    """
    for value, option in (
        (request.prompt_syntax not in (None, "plain"), "--prompt-syntax"),
        (bool(request.clip_skip), "--clip-skip"),
    ):
        if value:
            raise RunnerFailure(
                "bad-request",
                f"{option} is for CLIP's text encoders, and {family} has none.",
                f"Leave {option} out.",
            )


def _framed_weights(chunk: Chunk, length: int) -> Optional[tuple[float, ...]]:
    """Return the weights of a chunk with its start, end and padding, None where all are 1."""
    if all(weight == 1.0 for weight in chunk.weights):
        return None
    return (1.0, *chunk.weights, *[1.0] * (length - 1 - len(chunk.weights)))


def _load_tokenizer(kind: str, folder: Path) -> Tokenizer:
    try:
        return load_tokenizer(kind, folder)
    except (OSError, ValueError) as error:
        raise RunnerFailure(
            "bad-package", f"The tokenizer cannot be read: {error}", "Copy the package again."
        ) from error
