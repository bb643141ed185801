"""Finds the module of a model that an adapter's name means, whoever wrote it.

Names are compared with `.` and `_` taken for the same, as kohya writes all of them with `_`.

| in the file | means |
|---|---|
| `lora_unet_…`, `unet.…`, `transformer.…`, `diffusion_model.…` | the denoiser |
| `lora_te_…`, `lora_te1_…`, `text_encoder.…`; `lora_te2_…`, `text_encoder_2.…` | a text encoder |
| `base_model.model.…`, `lycoris_…`, no prefix | whichever component has the module |
| `input_blocks_4_1_…` | what the network's `elsewhere` calls so (`networks/ldm_names.py`) |
| `….attn1.processor.to_q`, `….self_attn.to_q` | diffusers' attention until 0.20 |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgegen.core.model import Role
from edgegen.networks.base import KeyRules

_DENOISER = re.compile(
    r"(?:lora_(?:unet|transformer)[._]|(?:unet|transformer)\.|(?:model\.)?diffusion_model\.)(.+)"
)
_TEXT = re.compile(r"(?:lora_te(\d?)[._]|text_encoder(?:_(\d))?\.)(.+)")
_PEFT = re.compile(r"(?:base_model[._]model|lycoris)[._]")
_OLD_ATTENTION = {
    "_self_attn_to_q": "_self_attn_q_proj",
    "_self_attn_to_k": "_self_attn_k_proj",
    "_self_attn_to_v": "_self_attn_v_proj",
    "_self_attn_to_out": "_self_attn_out_proj",
    "_to_out": "_to_out_0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A component that an adapter may change: the modules that have weights, by flat names.

    `shapes` are those of its weights, by key; `stems` maps what a module may be called to its
    weight's key, without `.weight`.
    """

    folder: str
    role: Role
    shapes: Mapping[str, tuple[int, ...]]
    stems: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What an adapter's name says: the component where it says one, and the module's flat names."""

    role: Role | None
    number: str
    names: tuple[str, ...]

    def may_be_in(self, target: Target) -> bool:
        """Return whether the name may be that of a module in a component."""
        if self.role is None:
            return True
        if self.role != target.role:
            return False
        if self.role == "denoiser":
            return True
        if self.number in ("", "1"):
            return not target.folder[-1].isdigit()
        return target.folder.endswith(f"_{self.number}")


def target_of(
    folder: str, role: Role, shapes: Mapping[str, tuple[int, ...]], rules: KeyRules
) -> Target:
    """Return a component's modules by all names that they may have, from its weights' shapes."""
    stems: dict[str, str] = {}
    plain = {}
    for key in shapes:
        if key.endswith(".weight"):
            stem = key.removesuffix(".weight")
            for name in (key, *rules.newer(key)):
                stems.setdefault(_flat(name.removesuffix(".weight")), stem)
                plain[name.removesuffix(".weight")] = stem
    for name, other in rules.elsewhere(plain).items():
        stems.setdefault(_flat(other), plain[name])
    return Target(folder=folder, role=role, shapes=shapes, stems=stems)


def read_name(module: str) -> Named:
    """Take an adapter's name of a module apart."""
    role: Role | None = None
    number = ""
    if match := _DENOISER.fullmatch(module):
        role, module = "denoiser", match[1]
    elif match := _TEXT.fullmatch(module):
        role, number, module = "text_encoder", match[1] or match[2] or "", match[3]
    module = _PEFT.sub("", module, count=1) if _PEFT.match(module) else module
    return Named(role=role, number=number, names=tuple(_spellings(module)))


def _spellings(module: str) -> Iterator[str]:
    flat = _flat(module.replace(".processor.", "."))
    yield flat
    for old, new in _OLD_ATTENTION.items():
        if flat.endswith(old):
            yield flat.removesuffix(old) + new


def _flat(name: str) -> str:
    return name.replace(".", "_")
