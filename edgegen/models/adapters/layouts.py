"""The keys of adapter files: which tensors belong together, and what each of them is.

| written by | keys of one module |
|---|---|
| kohya, LyCORIS | `NAME.lora_down.weight`, `.lora_up.weight`, `.lora_mid.weight`, `.alpha` |
| LyCORIS | `NAME.hada_w1_a` … (LoHa), `NAME.lokr_w1` … (LoKr), `.diff`, `.w_norm`, `.dora_scale` |
| diffusers to 0.20 | `NAME.processor.to_q_lora.down.weight`, `NAME.lora_linear_layer.up.weight` |
| diffusers, PEFT | `NAME.lora_A.weight`, `.lora_B.weight`, `.lora_magnitude_vector` (DoRA) |

`NAME` is what `module_names` finds the module by.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from edgegen.core.errors import SourceError

_ADAPTER = r"(?:\.[A-Za-z][\w-]*)?"  # PEFT's name of the adapter: lora_A.default.weight
_PARTS: Mapping[str, str] = {
    "down": rf"\.lora_down\.weight|\.lora_A{_ADAPTER}\.weight"
    r"|[._]lora\.down\.weight|\.lora_linear_layer\.down\.weight",
    "up": rf"\.lora_up\.weight|\.lora_B{_ADAPTER}\.weight"
    r"|[._]lora\.up\.weight|\.lora_linear_layer\.up\.weight",
    "mid": r"\.lora_mid\.weight",
    "alpha": r"(?:[._]lora|\.lora_linear_layer)?\.alpha",
    "magnitude": rf"[._]lora_magnitude_vector{_ADAPTER}(?:\.weight)?",
    "dora_scale": r"\.dora_scale",
    **{
        name: rf"\.{name}{_ADAPTER}"
        for name in (
            *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
            *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
        )
    },
    "diff": r"\.diff|\.w_norm",
    "diff_b": r"\.diff_b|\.b_norm",
}
"""Part of a module → how its key ends."""
_END = re.compile("|".join(f"(?P<{part}>{ends})" for part, ends in _PARTS.items()))
_ENDS = re.compile(rf"(?P<module>[^\0]+?)(?:{_END.pattern})")
_REFUSED: Mapping[str, re.Pattern[str]] = {
    "OFT": re.compile(r".*\.(?:oft_\w+|boft_\w+)(?:\..*)?"),
    "IA3": re.compile(r".*\.(?:on_input|ia3_l)(?:\..*)?"),
    "GLoRA": re.compile(r".*\.[ab][12]\.weight"),
    "VeRA": re.compile(r".*\.?vera_\w+(?:\..*)?"),
    "a LoRA with biases": re.compile(r".*\.lora_B(?:\.[\w-]+)?\.bias"),
    "a ControlNet's LoRA": re.compile(r"lora_controlnet"),
}

Parts = Mapping[str, str]
"""Part of a module → its key in the file."""


def modules_of(file: str, keys: Iterable[str]) -> Mapping[str, Parts]:
    """Group an adapter's keys by the modules that they change: name → part → key.

    Raises SourceError that names the keys which are no part of an adapter, and for a form that
    edgegen does not add.
    """
    found: dict[str, dict[str, str]] = {}
    unknown = []
    for key in keys:
        match = _ENDS.fullmatch(key)
        if match is None:
            unknown.append(key)
            continue
        part = next(name for name in _PARTS if match[name] is not None)
        if part in found.setdefault(match["module"], {}):
            raise SourceError(
                f"{file} has '{found[match['module']][part]}' and '{key}', which are the same.",
                hint="Save the adapter again: two were written into one file.",
            )
        found[match["module"]][part] = key
    if unknown:
        raise _unknown(file, unknown)
    if not found:
        raise SourceError(f"{file} holds no tensor.", hint="Download the adapter again.")
    return found


def _unknown(file: str, keys: list[str]) -> SourceError:
    for form, pattern in _REFUSED.items():
        key = next((key for key in keys if pattern.fullmatch(key)), None)
        if key is not None:
            return SourceError(
                f"{file} is {form} ('{key}'), which edgegen does not add.",
                hint="LoRA, LoCon, LoHa, LoKr and DoRA are added. Merge this one into the model "
                "with the tool that made it, and package the result.",
            )
    shown = ", ".join(f"'{key}'" for key in keys[:3])
    more = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
    return SourceError(
        f"{file} is no adapter: it has keys that are no part of one: {shown}{more}.",
        hint="--lora takes files of LoRA, LoCon, LoHa, LoKr and DoRA; a textual inversion goes to "
        "--embedding, a whole model is MODEL.",
    )
