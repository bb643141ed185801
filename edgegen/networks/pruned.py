"""What was cut out of a network, as its config says it: the key that diffusers doesn't have.

A pruned network has layers of widths that no setting of its class can say. Its config has the
settings of the whole network, and under `edgegen_pruned` what is left of which layer. The network
is built whole, without memory, and narrowed (`reference/narrowing.py`): whoever builds it from its
config gets the pruned one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edgegen.core.codec import decode
from edgegen.core.errors import ConfigError, SourceError

KEY = "edgegen_pruned"
Kind = Literal["heads", "feed_forward", "groups"]
KINDS: tuple[Kind, ...] = ("heads", "feed_forward", "groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """What is left of the layers that were cut, by their paths in the network.

    `heads` are those that an attention keeps, `feed_forward` the inner channels that a feed-forward
    layer keeps, `groups` the groups (of the inner norm) of channels that a resnet keeps between its
    two convolutions. Of a `dropped` block only its shortcut is left.
    """

    heads: Mapping[str, int] = field(default_factory=dict)
    feed_forward: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    def kept(self, kind: Kind) -> Mapping[str, int]:
        """Return what the layers of a kind keep."""
        found: Mapping[str, int] = getattr(self, kind)
        return found


@dataclass(frozen=True, slots=True)
class Slice:
    """An axis of a parameter that has a layer's units, `parts` times one behind the other."""

    parameter: str
    axis: int
    parts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that can be cut: `units` of a kind along `slices`.

    What the units compute meets in `out`, one of the slices' parameters: without its columns of a
    unit, the unit has no effect.
    """

    path: str
    kind: Kind
    units: int
    slices: tuple[Slice, ...]
    out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block that can be dropped; without `ends`, parameters of it, it adds nothing to its input.

    `left` are the parameters of its shortcut.
    """

    path: str
    ends: tuple[str, ...]
    left: tuple[str, ...]


def kept_places(layer: Layer, slice_: Slice, size: int, units: Sequence[int]) -> list[int]:
    """Return which places of an axis of `size` belong to the given units of a layer."""
    part = size // slice_.parts
    width = part // layer.units
    return [
        start + unit * width + place
        for start in range(0, size, part)
        for unit in units
        for place in range(width)
    ]


def cuts_of(config: Mapping[str, Any], source: str) -> Cuts | None:
    """Return what a config says was cut; None for a network that is whole.

    `source` is what an error calls the config. Raises SourceError where it says no such thing.
    """
    if config.get(KEY) is None:
        return None
    try:
        cuts = decode(Cuts, config[KEY], source=source, at=KEY)
    except ConfigError as error:
        raise SourceError(error.message, hint=_AGAIN) from error
    for kind in KINDS:
        for path, kept in cuts.kept(kind).items():
            if kept < 1:
                raise SourceError(
                    f"{source}: '{KEY}' keeps {kept} of '{path:.80}'; at least one has to stay.",
                    hint=_AGAIN,
                )
    return cuts


_AGAIN = "Take the config.json that was written with these weights."
