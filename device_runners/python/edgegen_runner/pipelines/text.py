"""Prompts to embeddings, as diffusers' ``encode_prompt`` makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..package import Component, read_json_object
from ..residency import Components
from ..tokenizers import Tokenizer, load_tokenizer

Array = npt.NDArray[Any]


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

    def final(self, prompt: str) -> tuple[Array, str]:
        """Return the last hidden state, (1, sequence, width), and the end that was cut."""
        states, _, cut = self.masked(prompt)
        return states, cut

    def masked(self, prompt: str) -> tuple[Array, Array, str]:
        """Return the last hidden state, the attention mask, (1, sequence), and the cut end."""
        values, mask, cut = self._run(prompt, ["last_hidden_state"])
        return values["last_hidden_state"], mask, cut

    def penultimate(self, prompt: str) -> tuple[Array, Optional[Array], str]:
        """Return the hidden state before the last layer, the pooled text, and the cut end.

        The pooled text, (1, projection), is None where the encoder has no projection.
        """
        state = self._penultimate_name()
        names = [state] + (["text_embeds"] if "text_embeds" in self._component.outputs else [])
        values, _, cut = self._run(prompt, names)
        return values[state], values.get("text_embeds"), cut

    def _penultimate_name(self) -> str:
        """Return the output that holds the state before the last layer.

        Packages list the states of all layers; older ones leave out the last layer's.
        """
        config = read_json_object(self._components.package.folder / self._name / "config.json")
        layers = config.get("num_hidden_layers")
        name = f"hidden_states.{layers - 1}" if isinstance(layers, int) else "hidden_states"
        if name not in self._component.outputs:
            raise RunnerFailure(
                "bad-package",
                f"{self._name} has no output of the state before its last layer, which SDXL takes.",
                "Build the package again.",
            )
        return name

    def _run(self, prompt: str, outputs: list[str]) -> tuple[dict[str, Array], Array, str]:
        """Return outputs, (1, …), the attention mask and the end of the prompt that was cut."""
        try:
            encoded = self._tokenizer(self._tokenizer.expand(prompt), self._length)
        except ValueError as error:
            raise RunnerFailure("bad-request", f"The prompt cannot be read: {error}") from error
        ids = np.array([encoded.ids], dtype=np.int64)
        mask = np.array([encoded.mask], dtype=np.int64)
        fixed = self._component.inputs["input_ids"].shape[0]
        batch = fixed if isinstance(fixed, int) else 1
        inputs = {
            "input_ids": np.repeat(ids, batch, 0),
            "attention_mask": np.repeat(mask, batch, 0),
        }
        values = self._components.run(self._name, inputs, outputs)
        return {name: value[:1] for name, value in values.items()}, mask, encoded.truncated_text


def _load_tokenizer(kind: str, folder: Path) -> Tokenizer:
    try:
        return load_tokenizer(kind, folder)
    except (OSError, ValueError) as error:
        raise RunnerFailure(
            "bad-package", f"The tokenizer cannot be read: {error}", "Copy the package again."
        ) from error
