"""How many tokens a pipeline's text encoders read."""

from __future__ import annotations

from edgegen.core.configs import ComponentConfig
from edgegen.families.base import Slot
from edgegen.models.index import PipelineIndex
from edgegen.tokenizers import tokenizer_of

_CONFIG_NAME = "tokenizer_config.json"


def text_length(index: PipelineIndex, slot: Slot, positions: int | None) -> int | None:
    """Return the tokens of a prompt: the tokenizer's limit, and never more than the positions.

    None where neither has a limit. Raises SourceError where the tokenizer is missing, or is none of
    those that the slot takes.
    """
    name = slot.tokenizer or slot.name
    class_name = index.component(name, slot.tokenizer_classes)
    folder = index.folder / name
    tokenizer_of(class_name).check(folder)
    limits = (ComponentConfig.read(folder / _CONFIG_NAME).data.get("model_max_length"), positions)
    return min((it for it in limits if type(it) is int and it > 0), default=None)
