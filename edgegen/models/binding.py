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

Which of these a network has, its `KeyRules` say. What a wrapper put into keys, `wrapped_keys` takes
out of them before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgegen.core.errors import SourceError
from edgegen.models.weight_source import WeightEntry, WeightSource
from edgegen.networks.base import KeyRules

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundTensor:
    """A parameter and the tensor that fills it.

    `shape` is the parameter's: `entry.shape`, or that with two axes of one more or less.
    """

    parameter: str
    key: str
    entry: WeightEntry
    shape: tuple[int, ...]


def bind(
    weights: WeightSource, expected: Mapping[str, tuple[int, ...]], rules: KeyRules
) -> Mapping[str, BoundTensor]:
    """Find the tensor of each parameter in `expected` (name → shape), in that order.

    `rules` are those of the network. Keys that match no parameter are left out; `unused_keys` says
    which. Raises SourceError that names parameters that have no key, and shapes that disagree.
    """
    keys = {name: name for name in expected if name in weights.entries}
    used = set(keys)
    unknown = []
    for key in weights.entries:
        if key in used or is_ignored(key, rules):
            continue
        parameter = next((name for name in rules.newer(key) if name in expected), None)
        if parameter is not None and parameter not in keys:
            keys[parameter] = key
        else:
            unknown.append(key)
    for name, twin in rules.tied.items():
        if name in expected and name not in keys and twin in keys:
            keys[name] = keys[twin]
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
    if weights.takes_all_keys:
        _refuse_left_over(weights, unknown, keys, rules)
    return bound


def _refuse_left_over(
    weights: WeightSource, unknown: Sequence[str], keys: Mapping[str, str], rules: KeyRules
) -> None:
    """Refuse keys that match nothing, where whoever mapped them said that all of them do."""
    layers = [number for name in keys if (number := _layer(name, rules)) is not None]
    left = [
        f"'{key}'"
        for key in unknown
        if not is_left_out_layer(key, max(layers, default=-1) + 1, rules)
    ]
    if left:
        raise SourceError(
            f"{weights.name} has what its network does not: "
            f"{_listed(left, 'key matches nothing', 'keys match nothing')}.",
            hint="It was mixed with another model, or --config is that of another one.",
        )


def unused_keys(
    weights: WeightSource, bound: Mapping[str, BoundTensor], rules: KeyRules
) -> tuple[str, ...]:
    """Return the keys that no parameter has, but those of which it is known why."""
    used = {tensor.key for tensor in bound.values()}
    layers = [number for name in bound if (number := _layer(name, rules)) is not None]
    return tuple(
        key
        for key in weights.entries
        if key not in used
        and not is_ignored(key, rules)
        and not is_left_out_layer(key, max(layers, default=-1) + 1, rules)
    )


def is_left_out_layer(key: str, layers: int, rules: KeyRules) -> bool:
    """Return whether a key is of a layer after the `layers` that the config names.

    Clip skip is made permanent by a lowered `num_hidden_layers`; transformers then reads no more.
    """
    number = _layer(key, rules)
    return number is not None and number >= layers


def _layer(name: str, rules: KeyRules) -> int | None:
    match = None if rules.layer is None else rules.layer.fullmatch(name)
    return None if match is None else int(match[1])


def is_ignored(key: str, rules: KeyRules) -> bool:
    """Return whether a key is known to be no parameter of its network.

    Whether a parameter has its name all the same is looked up first, by `bind`.
    """
    return _is_position_ids(key) or key.startswith(rules.ignored)


def _is_position_ids(name: str) -> bool:
    return name.rpartition(".")[2] == "position_ids"


def _fits(stored: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if stored == wanted:
        return True
    short, long = sorted((stored, wanted), key=len)
    return len(short) == 2 and long == (*short, 1, 1)


def _mismatch(
    weights: WeightSource, unknown: list[str], missing: list[str], wrong: list[BoundTensor]
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
        f"The weights in {weights.name} are not those that its config.json describes: "
        f"{'; '.join(parts)}.",
        hint="Take config.json and the weights from the same version of the model; a LoRA or a "
        "ControlNet must be merged first.",
    )


def _listed(names: list[str], one: str, many: str) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    what = one if len(names) == 1 else f"{len(names):,} {many}"
    return f"{what}: {', '.join(names[:_SHOWN])}{more}"
