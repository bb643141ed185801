"""Prompts to embeddings, as diffusers' ``encode_prompt`` makes them, or the web UI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..package import Component, read_json_object
from ..request import Request
from ..residency import Components
from ..tokenizers import Encoded, Tokenizer, load_tokenizer
from .emphasis import beyond_empty, emphasized, final_norm
from .reading import PromptReader, Reading, Weights

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


class TextEncoder:
    """A text encoder and the tokenizer that belongs to it, of a kind of `TOKENIZERS`."""

    def __init__(self, components: Components, component: Component, kind: str = "clip") -> None:
        self._components = components
        self._component = component
        self._name = component.name
        tokenizer_folder = component.name.replace("text_encoder", "tokenizer")
        tokenizer = _load_tokenizer(kind, components.package.folder / tokenizer_folder)
        # The tokenizer's own may be more than the encoder has positions.
        length = components.package.generation.text_length or tokenizer.model_max_length
        if length is None:
            raise RunnerFailure(
                "bad-package",
                f"{tokenizer_folder}/tokenizer_config.json sets no model_max_length.",
                "Add the number of tokens that the text encoder takes.",
            )
        self._reader = PromptReader(tokenizer, length)

    def read(self, prompt: str, syntax: str = "plain") -> Reading:
        """Return a prompt in tokens; raises what `PromptReader.read` raises."""
        return self._reader.read(prompt, syntax)

    def padded(self, reading: Reading, chunks: int) -> Reading:
        """Return a prompt with empty chunks behind it, as many as another one has."""
        return self._reader.padded(reading, chunks)

    def masked(self, prompt: str) -> tuple[Array, Array, str]:
        """Return the last hidden state, the attention mask, (1, sequence), and the cut end."""
        reading = self.read(prompt)
        encoded = reading.chunks[0].encoded
        values = self._run(encoded, ["last_hidden_state"])
        mask = np.array([encoded.mask], dtype=np.int64)
        return values["last_hidden_state"], mask, reading.cut

    def last(self, prompt: str) -> tuple[Array, Array, str]:
        """Return the states behind the last layer, the pooled text, (1, width), and the cut end.

        The states are those before the final norm.
        """
        reading = self.read(prompt)
        name = self._state(0)
        values = self._run(reading.chunks[0].encoded, [name, "pooler_output"])
        return values[name], values["pooler_output"], reading.cut

    def final(self, reading: Reading, clip_skip: int = 0) -> Array:
        """Return the last hidden states, (1, chunks * sequence, width), behind the final norm.

        With ``clip_skip`` they are those before as many of the last layers, behind the same norm.
        """
        last = "last_hidden_state"
        names = [last] if not clip_skip else [self._state(clip_skip), self._state(0), last]

        def state_of(encoded: Encoded) -> Array:
            values = self._run(encoded, names)
            if not clip_skip:
                return values[last]
            epsilon = float(read_json_object(self._config).get("layer_norm_eps", 1e-5))
            return final_norm(values[names[1]], values[last], epsilon)(values[names[0]])

        return self._states(reading, state_of)

    def penultimate(self, reading: Reading, clip_skip: int = 0) -> tuple[Array, Optional[Array]]:
        """Return the hidden states before the last layer, and the pooled text of the first chunk.

        With ``clip_skip`` they are those before as many layers more. The pooled text,
        (1, projection), is None where the encoder has no projection.
        """
        name = self._state(clip_skip + 1)
        names = [name] + (["text_embeds"] if "text_embeds" in self._component.outputs else [])
        pooled: dict[Encoded, Optional[Array]] = {}

        def state_of(encoded: Encoded) -> Array:
            values = self._run(encoded, names)
            pooled[encoded] = values.get("text_embeds")
            return values[name]

        states = self._states(reading, state_of)
        of = reading.pooled or reading.chunks[0].encoded
        if of not in pooled:
            state_of(of)
        return states, pooled[of]

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

    def _states(self, reading: Reading, state_of: Callable[[Encoded], Array]) -> Array:
        """Return the weighted states of all chunks: (1, chunks * sequence, width)."""
        empty: Optional[Array] = None
        if reading.from_empty and any(
            chunk.weights is not None or chunk.weight != 1 for chunk in reading.chunks
        ):
            empty = state_of(self._reader.empty.encoded)

        def weighted(encoded: Encoded, weights: Weights) -> Array:
            states = state_of(encoded)
            if empty is not None:
                return beyond_empty(states, weights, empty)
            return states if reading.from_empty else emphasized(states, weights)

        joined = []
        for chunk in reading.chunks:
            states = weighted(chunk.encoded, chunk.weights)
            total = 1.0 + sum(share for _, _, share in chunk.less)
            mixed: Array = states * np.float32(1 / total) if chunk.less else states
            for encoded, weights, share in chunk.less:
                mixed = mixed + weighted(encoded, weights) * np.float32(share / total)
            if empty is not None and chunk.weight != 1:
                mixed = empty + (mixed - empty) * np.float32(chunk.weight)
            joined.append(mixed)
        return np.concatenate(joined, axis=1)

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
    length = len(readings[0][0].chunks[0].encoded.ids)
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


def _load_tokenizer(kind: str, folder: Path) -> Tokenizer:
    try:
        return load_tokenizer(kind, folder)
    except (OSError, ValueError) as error:
        raise RunnerFailure(
            "bad-package", f"The tokenizer cannot be read: {error}", "Copy the package again."
        ) from error
