"""The layers of a network that can be cut, and how a whole network becomes a pruned one.

Three kinds of layers have inner channels that nothing outside sees: attentions (heads),
feed-forward layers, and resnets (between their convolutions, in groups of the inner norm, so that
what the norm computes for the groups that stay doesn't change). Blocks whose result is added to
their input can be dropped: what remains of one is its shortcut.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from edgegen.core.errors import SourceError
from edgegen.networks.pruned import KEY, KINDS, Block, Cuts, Layer, Slice


class SkippedResnet(nn.Module):
    """What is left of a resnet: its shortcut, (batch, in, h, w) to (batch, out, h, w)."""

    def __init__(self, resnet: Any) -> None:
        super().__init__()
        self.conv_shortcut = resnet.conv_shortcut
        self._scale = resnet.output_scale_factor

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return the shortcut's states; the timestep changes nothing."""
        if self.conv_shortcut is not None:
            hidden_states = self.conv_shortcut(hidden_states)
        return hidden_states if self._scale == 1 else hidden_states / self._scale


class SkippedTransformer(nn.Module):
    """What is left of a Transformer2DModel: nothing."""

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor]:
        """Return the states as they are, as the only one of the outputs."""
        return (hidden_states,)


class SkippedBlock(nn.Module):
    """What is left of a transformer's block: nothing."""

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return the states as they are."""
        return hidden_states


def layers_of(network: nn.Module) -> dict[str, Layer]:
    """Return the layers of a network that can be cut, by path; of one unit, nothing can be."""
    found = {}
    for path, module in network.named_modules():
        layer = _LAYERS.get(type(module).__name__, _no_layer)(path, module)
        if layer is not None and layer.units > 1:
            found[path] = layer
    return found


def blocks_of(network: nn.Module) -> dict[str, Block]:
    """Return the blocks of a network that can be dropped, by path."""
    found = {}
    for path, module in network.named_modules():
        name = type(module).__name__
        if name == "ResnetBlock2D" and not (module.up or module.down):
            left = () if module.conv_shortcut is None else _parameters(module, "conv_shortcut")
            found[path] = _block(path, _parameters(module, "conv2"), left)
        elif name == "Transformer2DModel" and len(module.transformer_blocks) == 1:
            found[path] = _block(path, _parameters(module, "proj_out"))
        elif name == "BasicTransformerBlock" and not _is_all_of_its_transformer(network, path):
            ends = ("attn1.to_out.0", "attn2.to_out.0", "ff.net.2")
            found[path] = _block(path, tuple(it for end in ends for it in _parameters(module, end)))
    return found


def narrow(network: nn.Module, cuts: Cuts, source: str) -> None:
    """Make of a whole network the one that `cuts` left; the numbers of its parameters are lost.

    Raises SourceError where the network has no such layer or block, or fewer units.
    """
    blocks = blocks_of(network)
    for path in cuts.dropped:
        if path not in blocks:
            raise _unknown(source, path, "block that can be dropped")
        network.set_submodule(path, _skipped(network.get_submodule(path)))
    layers = layers_of(network)
    for kind in KINDS:
        for path, kept in cuts.kept(kind).items():
            layer = layers.get(path)
            if layer is None or layer.kind != kind:
                raise _unknown(source, path, f"layer with {kind}")
            if kept > layer.units:
                raise SourceError(
                    f"{source}: '{KEY}' keeps {kept} {kind} of '{path}', which has {layer.units}.",
                    hint="Take the config.json that was written with these weights.",
                )
            narrow_layer(network, layer, kept)


def narrow_layer(network: nn.Module, layer: Layer, kept: int) -> None:
    """Leave `kept` units of a layer; the numbers of its parameters are lost."""
    for slice_ in layer.slices:
        path, _, attribute = slice_.parameter.rpartition(".")
        module = network.get_submodule(path)
        parameter = getattr(module, attribute)
        shape = list(parameter.shape)
        shape[slice_.axis] = shape[slice_.axis] // layer.units * kept
        narrowed = torch.empty(shape, dtype=parameter.dtype, device=parameter.device)
        setattr(module, attribute, nn.Parameter(narrowed, requires_grad=parameter.requires_grad))
        if attribute == "weight":
            _tell_sizes(module, layer, kept)
    if layer.kind == "heads":
        attention: Any = network.get_submodule(layer.path)
        width = attention.inner_dim // layer.units * kept
        attention.heads = attention.sliceable_head_dim = kept
        attention.inner_dim = attention.inner_kv_dim = width


def _tell_sizes(module: Any, layer: Layer, kept: int) -> None:
    """Let a module know how wide its weight is now."""
    shape = module.weight.shape
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape
    elif isinstance(module, nn.Conv2d):
        module.out_channels, module.in_channels = shape[:2]
    elif isinstance(module, nn.GroupNorm):
        module.num_groups, module.num_channels = kept, shape[0]


def _no_layer(_path: str, _module: Any) -> Layer | None:
    return None


def _attention(path: str, module: Any) -> Layer | None:
    is_plain = (
        module.add_k_proj is None
        and module.norm_q is None
        and module.norm_k is None
        and module.to_out is not None
        and module.inner_dim == module.inner_kv_dim
        and module.inner_dim % module.heads == 0
    )
    if not is_plain:
        return None
    rows = _rows(path, module, ("to_q", "to_k", "to_v"))
    out = f"{path}.to_out.0.weight"
    return Layer(
        path=path, kind="heads", units=module.heads, slices=(*rows, Slice(out, 1)), out=out
    )


def _feed_forward(path: str, module: Any) -> Layer | None:
    first, last = module.net[0], module.net[2]
    if not hasattr(first, "proj") or not isinstance(last, nn.Linear):
        return None
    parts = first.proj.weight.shape[0] // last.in_features  # a gate has as many rows again
    rows = _rows(path, module, ("net.0.proj",), parts)
    out = f"{path}.net.2.weight"
    units = last.in_features
    return Layer(
        path=path, kind="feed_forward", units=units, slices=(*rows, Slice(out, 1)), out=out
    )


def _resnet(path: str, module: Any) -> Layer | None:
    rows = list(_rows(path, module, ("conv1", "norm2")))
    if module.time_emb_proj is not None:
        parts = 2 if module.time_embedding_norm == "scale_shift" else 1
        rows += _rows(path, module, ("time_emb_proj",), parts)
    out = f"{path}.conv2.weight"
    units = module.norm2.num_groups
    return Layer(path=path, kind="groups", units=units, slices=(*rows, Slice(out, 1)), out=out)


_LAYERS: Mapping[str, Callable[[str, Any], Layer | None]] = {
    "Attention": _attention,
    "FeedForward": _feed_forward,
    "ResnetBlock2D": _resnet,
}


def _rows(path: str, module: Any, names: tuple[str, ...], parts: int = 1) -> Iterator[Slice]:
    """Yield the first axes of the parameters of submodules."""
    for name in names:
        for attribute, _ in module.get_submodule(name).named_parameters(recurse=False):
            yield Slice(f"{path}.{name}.{attribute}", 0, parts)


def _block(path: str, ends: tuple[str, ...], left: tuple[str, ...] = ()) -> Block:
    return Block(
        path=path,
        ends=tuple(f"{path}.{name}" for name in ends),
        left=tuple(f"{path}.{name}" for name in left),
    )


def _parameters(module: Any, name: str) -> tuple[str, ...]:
    """Return the parameters of a submodule, from the module on; none where there is no such."""
    try:
        found = module.get_submodule(name)
    except AttributeError:
        return ()
    return tuple(f"{name}.{it}" for it, _ in found.named_parameters(recurse=False))


def _is_all_of_its_transformer(network: nn.Module, path: str) -> bool:
    """Return whether a block is the only one of a Transformer2DModel, which is dropped instead."""
    owner, _, rest = path.rpartition(".transformer_blocks.")
    if not owner or not rest.isdigit():
        return False
    blocks: Any = network.get_submodule(f"{owner}.transformer_blocks")
    return len(blocks) == 1


def _skipped(module: nn.Module) -> nn.Module:
    match type(module).__name__:
        case "ResnetBlock2D":
            return SkippedResnet(module)
        case "Transformer2DModel":
            return SkippedTransformer()
        case _:
            return SkippedBlock()


def _unknown(source: str, path: str, what: str) -> SourceError:
    return SourceError(
        f"{source}: '{KEY}' names '{path:.80}', which is no {what} of this network.",
        hint="Take the config.json that was written with these weights.",
    )
