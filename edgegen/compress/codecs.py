"""The codecs: a type of storage, as recipes and targets name it, and what implements it."""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.compress.codec import Codec
from edgegen.compress.float16 import Float16
from edgegen.compress.float32 import Float32
from edgegen.compress.int4 import Int4
from edgegen.compress.int4_channel import Int4Channel
from edgegen.compress.int8 import Int8
from edgegen.compress.palettes import Palettes
from edgegen.compress.uint4 import Uint4

CODECS: Mapping[str, Codec] = {
    "float32": Float32(),
    "float16": Float16(),
    "int8": Int8(),
    "int4": Int4(),
    "int4-channel": Int4Channel(),
    "uint4": Uint4(),
    "palette8": Palettes(bits=8),
    "palette6": Palettes(bits=6),
    "palette4": Palettes(bits=4),
    "palette3": Palettes(bits=3),
    "palette2": Palettes(bits=2),
    "palette1": Palettes(bits=1),
}
"""A target lists those that its format holds in `target.toml`, and says how in
`exporters/<target>/storage.py`."""
