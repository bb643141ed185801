"""Matches the parameters of a model with the keys of its weights, of whatever age they are.

| in the file | in the model | why |
|---|---|---|
| `text_model.encoder…` | `encoder…`, or the other way round | transformers 5 dropped the prefix |
| `…position_ids` | not a parameter | saved before transformers 4.31 |
| `logit_scale`, `vision_model.…` | not in a text encoder | all of CLIP was saved |
| `text_projection.weight` | not in CLIPTextModel | saved with its projection |
| `query`, `key`, `value` (attention) | `to_q`, `to_k`, `to_v` | saved before diffusers 0.14 |
| `proj_attn` (attention) | `to_out.0` | saved before diffusers 0.14 |
| a 1×1 convolution (A, B, 1, 1) | linear (A, B), or the other way round | CompVis's autoencoder |
| `encoder.layers.11.…` | left out: `num_hidden_layers` is 11 | clip skip, made permanent |
| any other key | left out, and said; so do diffusers and transformers | whatever was saved along |

What a wrapper put into keys is taken out of them before, by `wrapped_keys`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgegen.core.errors import SourceError
from edgegen.models.safetensors import TensorEntry
from edgegen.models.weights import Weights

_PREFIX = "text_model."
_OLD_ATTENTION = re.compile(
    r"(?P<block>(?:.*\.)?attentions\.\d+\.)(?P<layer>query|key|value|proj_attn)"
    r"(?P<kind>\.weight|\.bias)"
)
_NEW_LAYERS = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_TOKEN_EMBEDDING = "embeddings.token_embedding.weight"  # noqa: S105  a parameter's name
_NOT_IN_A_TEXT_ENCODER = ("logit_scale", "vision_model.", "visual_projection.", "text_projection.")
_LAYER = re.compile(r"(?:text_model\.)?encoder\.layers\.(\d{1,6})\..*")
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundTensor:
    """A parameter and the tensor that fills it.

    `shape` is the parameter's: `entry.shape`, or that with two axes of one more or less.
    """

    parameter: str
    key: str
    entry: TensorEntry
    shape: tuple[int, ...]


def bind(
    weights: Weights,
    expected: Mapping[str, tuple[int, ...]],
) -> Mapping[str, BoundTensor]:
    """Find the tensor of each parameter in `expected` (name → shape), in that order.

    Keys that match no parameter are left out; `unused_keys` says which. Raises SourceError that
    names parameters that have no key, and shapes that disagree.
    """
    keys = {name: name for name in expected if name in weights.entries}
    used = set(keys)
    unknown = []
    is_text_encoder = any(name.endswith(_TOKEN_EMBEDDING) for name in expected)
    for key in weights.entries:
        if key in used or is_ignored(key, text_encoder=is_text_encoder):
            continue
        parameter = next((name for name in _newer_names(key) if name in expected), None)
        if parameter is not None and parameter not in keys:
            keys[parameter] = key
        else:
            unknown.append(key)
    missing = [name for name in expected if name not in keys and not _is_position_ids(name)]
    bound = {
        name: BoundTensor(
            parameter=name, key=keys[name], entry=weights.entries[keys[name]], shape=tuple(shape)
        )
        for name, shape in expected.items()
        if name in keys
    }
    wrong = [tensor for tensor in bound.values() if not _fits(tensor.entry.shape, tensor.shape)]
    if missing or wrong:
        raise _mismatch(weights, unknown, missing, wrong)
    return bound


def unused_keys(weights: Weights, bound: Mapping[str, BoundTensor]) -> tuple[str, ...]:
    """Return the keys that no parameter has, but those of which it is known why."""
    used = {tensor.key for tensor in bound.values()}
    is_text_encoder = any(name.endswith(_TOKEN_EMBEDDING) for name in bound)
    layers = [int(match[1]) for name in bound if (match := _LAYER.fullmatch(name))]
    return tuple(
        key
        for key in weights.entries
        if key not in used
        and not is_ignored(key, text_encoder=is_text_encoder)
        and not (is_text_encoder and is_left_out_layer(key, max(layers, default=-1) + 1))
    )


def is_left_out_layer(key: str, layers: int) -> bool:
    """Return whether a text encoder's key is of a layer after the `layers` that its config names.

    Clip skip is made permanent by a lowered `num_hidden_layers`; transformers then reads no more.
    """
    match = _LAYER.fullmatch(key)
    return match is not None and int(match[1]) >= layers


def is_ignored(key: str, *, text_encoder: bool) -> bool:
    """Return whether a key is known to be no parameter of its component.

    `text_encoder` is true for a CLIP text encoder. A `text_projection` counts as ignored here
    only when no parameter has its name: `bind` looks there first.
    """
    return _is_position_ids(key) or (text_encoder and key.startswith(_NOT_IN_A_TEXT_ENCODER))


def _is_position_ids(name: str) -> bool:
    return name.rpartition(".")[2] == "position_ids"


def _newer_names(key: str) -> Iterator[str]:
    yield key.removeprefix(_PREFIX) if key.startswith(_PREFIX) else _PREFIX + key
    if match := _OLD_ATTENTION.fullmatch(key):
        yield match["block"] + _NEW_LAYERS[match["layer"]] + match["kind"]


def _fits(stored: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if stored == wanted:
        return True
    short, long = sorted((stored, wanted), key=len)
    return len(short) == 2 and long == (*short, 1, 1)


def _mismatch(
    weights: Weights, unknown: list[str], missing: list[str], wrong: list[BoundTensor]
) -> SourceError:
    parts = []
    if wrong:
        shapes = [f"'{it.key}' has {it.entry.shape}, not {it.shape}" for it in wrong]
        parts.append(_listed(shapes, "shape disagrees", "shapes disagree"))
    if missing:
        names = [f"'{name}'" for name in missing]
        parts.append(_listed(names, "parameter has no key", "parameters have no key"))
    if unknown:
        names = [repr(name) for name in unknown]
        parts.append(_listed(names, "key matches nothing", "keys match nothing"))
    return SourceError(
        f"The weights in {weights.folder} are not those that its config.json describes: "
        f"{'; '.join(parts)}.",
        hint="Take config.json and the weights from the same version of the model; a LoRA or a "
        "ControlNet must be merged first.",
    )


def _listed(names: list[str], one: str, many: str) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    what = one if len(names) == 1 else f"{len(names):,} {many}"
    return f"{what}: {', '.join(names[:_SHOWN])}{more}"
