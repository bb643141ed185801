"""An adapter's file: its modules by name, and their tensors, read one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegen.core.errors import SourceError
from edgegen.models.adapters.deltas import Shapes, rank_of
from edgegen.models.adapters.layouts import Parts, modules_of
from edgegen.models.adapters.peft_config import (
    CONFIG_NAME,
    PeftConfig,
    metadata_configs,
    read_config,
)
from edgegen.models.safetensors import SafetensorsFile, TensorEntry, read_tensor
from edgegen.models.weights import check_finite, to_numpy

NAMES = (
    "adapter_model.safetensors",
    "pytorch_lora_weights.safetensors",
    "learned_embeds.safetensors",
)
"""What PEFT's and diffusers' `save_pretrained` write into a folder."""
_PICKLES = (".bin", ".ckpt", ".pt", ".pth")
_LARGEST_ALPHA = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFile:
    """An adapter whose header is sound; `configs` is what PEFT keeps beside it, by component.

    The name "" stands for all components.
    """

    path: Path
    entries: Mapping[str, TensorEntry]
    modules: Mapping[str, Parts]
    configs: Mapping[str, PeftConfig] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> AdapterFile:
        """Read the header of an adapter. Raises SourceError for what is none."""
        file = SafetensorsFile.open(path)
        configs = dict(metadata_configs(str(path), file.metadata))
        beside = read_config(path.with_name(CONFIG_NAME)) if path.name == NAMES[0] else None
        if beside is not None:
            configs[""] = beside
        return cls(
            path=path,
            entries=file.entries,
            modules=modules_of(str(path), file.entries),
            configs=configs,
        )

    def shapes(self, module: str) -> Shapes:
        """Return the shapes of a module's parts."""
        return {part: self.entries[key].shape for part, key in self.modules[module].items()}

    def read(self, module: str, part: str, *, again: bool = False) -> NDArray[np.float32]:
        """Read a part of a module as float32. Raises SourceError where it is not finite."""
        entry = self.entries[self.modules[module][part]]
        array = to_numpy(entry, read_tensor(entry, again=again), np.float32)
        check_finite(f"{self.path.name}: {self.modules[module][part]}", array)
        return array

    def factor(self, module: str) -> float:
        """Return what a module is multiplied with, beside the user's scale. Raises SourceError."""
        parts, rank = self.modules[module], rank_of(self.shapes(module))
        if "alpha" in parts:
            if rank is None:
                return 1.0  # LyCORIS: both factors are whole, and alpha says nothing
            alpha = self.read(module, "alpha").reshape(-1)
            if alpha.size != 1 or not abs(float(alpha[0])) <= _LARGEST_ALPHA:
                raise SourceError(
                    f"{self.path}: '{parts['alpha']}' is no number that could be an alpha.",
                    hint="Download the adapter again.",
                )
            return float(alpha[0]) / rank
        if rank is None and not any(part.startswith("lokr") for part in parts):
            return 1.0
        component, _, rest = module.partition(".")
        if component in self.configs:
            return self.configs[component].factor(rest, rank)
        return self.configs[""].factor(module, rank) if "" in self.configs else 1.0


def find_file(text: str) -> Path:
    """Return the absolute path of an adapter: a file, or the one in a folder.

    Raises SourceError where there is none, and for a pickle.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        path = _in_folder(path)
    if path.suffix in _PICKLES:
        raise SourceError(
            f"{path} is a pickle, which can run any program when it is loaded.",
            hint="edgegen never opens one. Take a safetensors version of this adapter.",
        )
    if not path.is_file():
        raise SourceError(
            f"There is no adapter {path}.", hint="Give the path of a .safetensors file."
        )
    return path.absolute()


def _in_folder(folder: Path) -> Path:
    known = [folder / name for name in NAMES if (folder / name).is_file()]
    found = known or sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise SourceError(
            f"{folder} holds no adapter: it has no .safetensors file.",
            hint="Give the file itself.",
        )
    shown = ", ".join(path.name for path in found[:4])
    raise SourceError(f"{folder} holds several adapters: {shown}.", hint="Give one of the files.")
