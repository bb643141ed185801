"""The file of an IP-Adapter: what it adds to a UNet, and what its tensors are called there.

Names are those of diffusers' loader (loaders/unet.py, `_convert_ip_adapter_*_to_diffusers`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegen.core.errors import SourceError
from edgegen.models.adapters.applied import Placed
from edgegen.models.safetensors import SafetensorsFile, TensorEntry, read_tensor
from edgegen.models.weights import check_finite, to_numpy
from edgegen.networks.image_prompt import LAYERS, PROJECTION, ImagePrompt

_TOKENS_OF_AN_EMBEDDING = 4
_HEAD_WIDTH = 64
_PLACE = f"{PROJECTION}image_projection_layers.0."
_ATTENTION = re.compile(
    r"(?P<part>down_blocks|up_blocks|mid_block)\.(?:(?P<block>\d+)\.)?attentions\.(?P<layer>\d+)"
    r"\.transformer_blocks\.(?P<inner>\d+)\.attn2\.to_k\.weight"
)
_PARTS = ("down_blocks", "up_blocks", "mid_block")
"""In the order in which diffusers numbers attentions."""
_RESAMPLER: Mapping[str, str] = {
    r"layers\.(\d)\.0\.norm1\.(weight|bias)": r"layers.\1.ln0.\2",
    r"layers\.(\d)\.0\.norm2\.(weight|bias)": r"layers.\1.ln1.\2",
    r"layers\.(\d)\.0\.to_q\.weight": r"layers.\1.attn.to_q.weight",
    r"layers\.(\d)\.0\.to_kv\.weight": r"layers.\1.attn.to_kv.weight",
    r"layers\.(\d)\.0\.to_out\.weight": r"layers.\1.attn.to_out.0.weight",
    r"layers\.(\d)\.1\.0\.(weight|bias)": r"layers.\1.ff.0.\2",
    r"layers\.(\d)\.1\.1\.weight": r"layers.\1.ff.1.net.0.proj.weight",
    r"layers\.(\d)\.1\.3\.weight": r"layers.\1.ff.1.net.2.weight",
    r"(latents|proj_in\.\w+|proj_out\.\w+|norm_out\.\w+)": r"\1",
}
_EMBEDDING: Mapping[str, str] = {
    r"proj\.(weight|bias)": r"image_embeds.\1",
    r"norm\.(weight|bias)": r"norm.\1",
}
_ALL_PATCHES: Mapping[str, str] = {
    r"proj\.0\.(weight|bias)": r"ff.net.0.proj.\1",
    r"proj\.2\.(weight|bias)": r"ff.net.2.\1",
    r"proj\.3\.(weight|bias)": r"norm.\1",
}
_AGAIN = "Take the adapter's .safetensors file from where it was published."


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePromptFile:
    """An IP-Adapter whose header is sound."""

    path: Path
    entries: Mapping[str, TensorEntry]
    prompt: ImagePrompt
    projection: Mapping[str, Placed]

    @classmethod
    def open(cls, path: Path) -> ImagePromptFile:
        """Read the header of an IP-Adapter. Raises SourceError for what is none."""
        entries = SafetensorsFile.open(path).entries
        own = {key.removeprefix("image_proj.") for key in entries if key.startswith("image_proj.")}
        if not own or not any(key.startswith("ip_adapter.") for key in entries):
            raise SourceError(
                f"{path} is no IP-Adapter: it has no tensors 'image_proj.…' and 'ip_adapter.…'.",
                hint="A LoRA is given with --lora.",
            )
        if {"perceiver_resampler.proj_in.weight", "norm.weight"} & own and "proj.0.weight" in own:
            raise SourceError(
                f"{path} is an IP-Adapter FaceID, which reads what a network for faces makes of a "
                "picture (insightface), and edgegen has none.",
                hint="Take an IP-Adapter, or an IP-Adapter Plus, that reads CLIP.",
            )
        prompt, names = _kind(path, entries, own)
        return cls(
            path=path,
            entries=entries,
            prompt=prompt,
            projection=_placed(path, own, names),
        )

    def placed(self, keys: Collection[str], where: str) -> dict[str, Placed]:
        """Return its tensors by the parameters of a UNet with such `keys`. Raises SourceError."""
        attentions = sorted(filter(None, map(_ATTENTION.fullmatch, keys)), key=_order)
        placed = dict(self.projection)
        wanted = {key for key in self.entries if key.startswith("ip_adapter.")}
        for number, match in enumerate(attentions):
            path = match.string.removesuffix("to_k.weight")
            for name in ("to_k_ip", "to_v_ip"):
                key = f"ip_adapter.{2 * number + 1}.{name}.weight"
                placed[f"{path}processor.{name}.0.weight"] = Placed(key=key)
                wanted.discard(key)
                if key not in self.entries:
                    raise self._of_another(where, len(attentions))
        if wanted:
            raise self._of_another(where, len(attentions))
        return placed

    def shape(self, placed: Placed) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        shape = self.entries[placed.key].shape
        return shape if placed.half is None else (shape[0] // 2, *shape[1:])

    def read(self, placed: Placed, *, again: bool = False) -> NDArray[np.float32]:
        """Read a tensor as float32. Raises SourceError where it is not finite."""
        entry = self.entries[placed.key]
        array: NDArray[np.float32] = to_numpy(entry, read_tensor(entry, again=again), np.float32)
        check_finite(f"{self.path.name}: {placed.key}", array)
        return array if placed.half is None else np.split(array, 2)[placed.half]

    def _of_another(self, where: str, count: int) -> SourceError:
        own = sum(key.endswith("to_k_ip.weight") for key in self.entries)
        return SourceError(
            f"{self.path} is for a UNet with {own} cross-attentions, and that of {where} has "
            f"{count}.",
            hint="Those of Stable Diffusion 1.5 and XL differ.",
        )


def _kind(
    path: Path, entries: Mapping[str, TensorEntry], own: Collection[str]
) -> tuple[ImagePrompt, Mapping[str, str]]:
    def shape(name: str, rank: int) -> tuple[int, ...]:
        entry = entries.get(f"image_proj.{name}")
        if entry is None or len(entry.shape) != rank or 0 in entry.shape:
            raise SourceError(f"{path} has no 'image_proj.{name}' as it should be.", hint=_AGAIN)
        return entry.shape

    if "proj.weight" in own:
        rows, features = shape("proj.weight", 2)
        prompt = ImagePrompt(
            kind="embedding",
            tokens=_TOKENS_OF_AN_EMBEDDING,
            features=features,
            width=rows // _TOKENS_OF_AN_EMBEDDING,
        )
        return prompt, _EMBEDDING
    if "proj.3.weight" in own:
        features, width = shape("proj.0.weight", 2)[0], shape("proj.3.weight", 1)[0]
        return ImagePrompt(kind="all patches", tokens=0, features=features, width=width), (
            _ALL_PATCHES
        )
    _, tokens, hidden = shape("latents", 3)
    layers = {key.split(".")[1] for key in own if key.startswith("layers.")}
    if len(layers) != LAYERS:
        raise SourceError(
            f"{path} has a resampler of {len(layers)} layers, and diffusers builds {LAYERS}.",
            hint=_AGAIN,
        )
    prompt = ImagePrompt(
        kind="patches",
        tokens=tokens,
        features=shape("proj_in.weight", 2)[1],
        width=shape("proj_out.weight", 2)[0],
        hidden=hidden,
        heads=shape("layers.0.0.to_q.weight", 2)[0] // _HEAD_WIDTH,
    )
    return prompt, _RESAMPLER


def _placed(path: Path, own: Collection[str], names: Mapping[str, str]) -> dict[str, Placed]:
    """Return the tensors of the projection, by the UNet's parameters. Raises SourceError."""
    placed: dict[str, Placed] = {}
    for key in own:
        found = [
            re.sub(pattern, name, key)
            for pattern, name in names.items()
            if re.fullmatch(pattern, key)
        ]
        if not found:
            raise SourceError(
                f"{path} has a tensor 'image_proj.{key:.80}' that no IP-Adapter has.", hint=_AGAIN
            )
        full = f"image_proj.{key}"
        if "to_kv" in found[0]:
            for half, name in enumerate(("to_k", "to_v")):
                new = found[0].replace("to_kv", name)
                placed[_PLACE + new] = Placed(key=full, half=half)
        else:
            placed[_PLACE + found[0]] = Placed(key=full)
    return placed


def _order(match: re.Match[str]) -> tuple[int, ...]:
    numbers = (int(match[name] or 0) for name in ("block", "layer", "inner"))
    return (_PARTS.index(match["part"]), *numbers)
