"""Takes out of keys what the wrapper of a module put in before it was saved.

| in the key | put there by |
|---|---|
| `_orig_mod.` anywhere | `torch.compile` |
| `module.` before all keys | `DataParallel`, `DistributedDataParallel` |
| `_fsdp_wrapped_module.`, `_checkpoint_wrapped_module.` anywhere | FSDP, activation checkpointing |
| `base_model.model.` before all keys | `PeftModel` |
| `.base_layer.` | PEFT's layers, around the one that they change |

What PEFT's own layers learned would be lost with them: weights with a LoRA that was not merged are
refused, as diffusers would draw without it or with random weights.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from edgegen.core.errors import SourceError

T = TypeVar("T")

_ANYWHERE = re.compile(
    r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|base_layer)\."
)
_BEFORE_ALL = ("module.", "base_model.model.")
_LEARNED = re.compile(
    r".*\.(?:lora_\w+|modules_to_save|original_module|hada_\w+|lokr_\w+|oft_\w+|ia3_l)(?:\..*)?"
)


def unwrapped(entries: Mapping[str, T], folder: Path) -> dict[str, T]:
    """Return entries by the keys that they have in the module itself.

    Raises SourceError where PEFT's layers are not merged, and where two keys become one.
    """
    learned = [key for key in entries if _LEARNED.fullmatch(key)]
    if learned and (
        any(".base_layer." in key for key in entries) or "modules_to_save" in learned[0]
    ):
        raise SourceError(
            f"The weights in {folder} were saved with an adapter that is not merged into them "
            f"('{learned[0]}').",
            hint="Load the pipeline with diffusers, call pipeline.fuse_lora() and "
            "pipeline.unload_lora_weights(), and save it again.",
        )
    plain = {key: _ANYWHERE.sub("", key) for key in entries}
    while prefix := _common(plain.values()):
        plain = {key: name.removeprefix(prefix) for key, name in plain.items()}
    found = {plain[key]: entry for key, entry in entries.items()}
    if len(found) < len(entries):
        twice = next(name for name, count in Counter(plain.values()).items() if count > 1)
        raise SourceError(
            f"The weights in {folder} have '{twice}' more than once, by other keys.",
            hint="Save the model again, without the wrapper around it.",
        )
    return found


def _common(keys: Collection[str]) -> str:
    """Return the wrapper's prefix that all keys have, or "" where there is none."""
    of_all = (it for it in _BEFORE_ALL if keys and all(key.startswith(it) for key in keys))
    return next(of_all, "")
