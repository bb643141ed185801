"""What each runtime does with weights and activations: measured facts, one row a runtime.

`benchmarks/predictions.py` holds them against measurements, and
docs/decisions/0049-predicting-memory.md says how they were found and in which versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from edgegen.core.errors import ConfigError, nearest
from edgegen.core.measurement import MemoryMode
from edgegen.core.model import Role

MIB = 1 << 20

Kind = Literal["convolution", "linear", "embedding"]
"""How a weight is used: a table's rows are read where they are needed, and nothing else of it."""

Form = Literal["float32", "float16", "int8", "int8 arithmetic", "int16 arithmetic", "int4", "other"]
"""How a weight is stored, and whether a runtime computes with what is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a number of a weight takes, in bytes, while its component is loaded.

    `copied` is memory of the runtime's own, `loading` what it takes besides until it is loaded.
    With `mapped` the pages of the file count as well, for they are read.
    """

    copied: float = 0.0
    loading: float = 0.0
    mapped: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeMemory:
    """What a runtime takes beside and for a component.

    `base_bytes` is the interpreter, numpy and the runtime, once one component has run;
    `operator_bytes` what each operator of a trace takes as a node of a graph and as kernels.
    `weights` are by use and form; what is not listed is as `others`. `live` multiplies the highest
    sum of the results that are alive, by role: no runtime reuses memory as well as it could.

    Without `keeps_activations` they are given back after each run, so that the next component finds
    room. Blocks below `returned_from_bytes` come from the C library's heap, which has gaps: it
    takes `heap` times the sum that is alive. With `indirection` each convolution keeps
    a table of pointers, one for each output pixel and entry of its kernel. `scores_bytes` is how
    much of attention's scores is in memory at once: all up to that, else of one head. With
    `widens` a weight in fewer bits is widened for the operator that reads it, and then forgotten.
    Without `dynamic_convolutions` those compute in floats where linear layers quantize their input
    as it comes.
    """

    base_bytes: int
    operator_bytes: int
    weights: Mapping[tuple[Kind, Form], Held] = field(default_factory=dict)
    others: Held = Held()
    live: Mapping[Role, float] = field(default_factory=dict)
    keeps_activations: bool = True
    returned_from_bytes: int = 0
    heap: float = 1.0
    indirection: bool = False
    scores_bytes: int = 0
    widens: bool = False
    dynamic_convolutions: bool = True
    unmeasured: bool = False

    def held(self, kind: Kind, form: Form) -> Held:
        """Return what a number of a weight takes."""
        return self.weights.get((kind, form), self.others)


def _both(form: Form, held: Held) -> dict[tuple[Kind, Form], Held]:
    return {("convolution", form): held, ("linear", form): held}


_ROWS_ONLY = Held(mapped=False)
_ROWS: dict[tuple[Kind, Form], Held] = {("embedding", form): _ROWS_ONLY for form in get_args(Form)}

ONNX_RUNTIME_FAST = RuntimeMemory(
    base_bytes=60 * MIB,
    dynamic_convolutions=False,
    operator_bytes=4_000,
    weights={
        **_both("float32", Held(copied=4.0, mapped=False)),
        **_both("float16", Held(copied=5.5, loading=1.8, mapped=False)),
        ("convolution", "int8"): Held(copied=8.0, loading=1.0, mapped=False),
        ("linear", "int8"): Held(copied=4.1, loading=1.0, mapped=False),
        ("linear", "int8 arithmetic"): Held(copied=1.1, loading=0.5, mapped=False),
        ("convolution", "int8 arithmetic"): Held(copied=1.2, loading=0.2, mapped=False),
        **_both("int16 arithmetic", Held(copied=1.2)),
        ("linear", "int4"): Held(copied=0.6, loading=0.5, mapped=False),
    },
    others=Held(copied=4.0, mapped=False),
    live={"denoiser": 2.3, "decoder": 2.2, "text_encoder": 2.3},
)
"""Optimized and repacked: float16 is widened while it is loaded, and a part of it stays. So is
int8 where the arithmetic is in floats, and most of it stays beside a convolution, whose scales are
multiplied into another copy."""

ONNX_RUNTIME_LEAN = RuntimeMemory(
    base_bytes=60 * MIB,
    dynamic_convolutions=False,
    operator_bytes=6_000,
    weights=_ROWS,
    keeps_activations=False,
    returned_from_bytes=MIB,
    heap=3.5,
    widens=True,
)
"""Weights stay in the mapped file. There is no arena: activations are the C library's blocks, which
the runner has it map from 1 MiB on."""

OPENVINO = RuntimeMemory(
    base_bytes=99 * MIB,
    operator_bytes=58_000,
    weights={
        **_ROWS,
        **_both("float32", Held(copied=4.0)),
        **_both("float16", Held(copied=4.2)),
        ("embedding", "float16"): Held(copied=4.0, mapped=False),
        ("convolution", "int8"): Held(copied=7.7, mapped=False),
        ("linear", "int8"): Held(copied=1.05),
        ("linear", "int4"): Held(copied=0.95),
        ("linear", "int8 arithmetic"): Held(copied=1.0),
        ("convolution", "int8 arithmetic"): Held(copied=3.0),
    },
    others=Held(copied=4.0),
    live={"denoiser": 2.25, "decoder": 1.37, "text_encoder": 1.5},
)
"""Kernels are compiled for each operator. int8 convolutions are folded to float32, then repacked;
matrices of int8 and int4, and kernels beside activations in 8 bits, are computed with
(docs/decisions/0011-memory-of-openvino.md, docs/decisions/0066-openvino-in-8-and-4-bits.md)."""

OPENVINO_LEAN = replace(
    OPENVINO,
    weights={use: replace(held, mapped=False) for use, held in OPENVINO.weights.items()} | _ROWS,
    others=replace(OPENVINO.others, mapped=False),
)
"""The runner takes the pages of a large graph's file back while it is compiled and first runs. A
token table in 16 bits stays in the file (docs/decisions/0099-kernels-of-integers-for-openvino.md).
"""

LITERT = RuntimeMemory(
    base_bytes=47 * MIB,
    operator_bytes=4_500,
    weights={
        **_ROWS,
        **_both("float32", Held(copied=4.0)),
        **_both("float16", Held(copied=4.0)),
        **_both("int8", Held(copied=8.0)),
        **_both("int8 arithmetic", Held(copied=1.0)),
        **_both("int16 arithmetic", Held()),
        ("linear", "int4"): Held(copied=0.61),
        ("convolution", "int4"): Held(copied=0.3),
        ("embedding", "float16"): Held(copied=6.3),
    },
    others=Held(copied=4.0),
    live={"denoiser": 1.0, "decoder": 1.0, "text_encoder": 1.0},
    indirection=True,
    scores_bytes=64 * MIB,
)
"""XNNPACK repacks weights, and its convolutions read through tables of pointers. It has nothing
for activations in 16 bits: LiteRT's own kernels read those weights where they lie. They compute
4-bit convolutions too, and unpack one at a time: 0.75 bytes a number of a network of one, and 0.3
of whole ones."""

CORE_ML = RuntimeMemory(
    base_bytes=60 * MIB,
    operator_bytes=4_500,
    weights=_ROWS,
    live={"denoiser": 2.0, "decoder": 2.0, "text_encoder": 2.0},
    unmeasured=True,
)
"""Weights as they are stored, twice the activations: an assumption."""

SMALL_BYTES = 64 * MIB
"""Up to this size the runner's backends copy and repack a component, and leave pages where they
are, under the memory mode `auto`; the threshold is the runner's `backends.SMALL_BYTES`."""

_LEAN: Mapping[str, RuntimeMemory] = {
    "onnxruntime": ONNX_RUNTIME_LEAN,
    "openvino": OPENVINO_LEAN,
}
"""Runtimes that hold large components otherwise."""


RUNTIMES: Mapping[str, RuntimeMemory] = {
    "onnxruntime": ONNX_RUNTIME_FAST,
    "openvino": OPENVINO,
    "ai_edge_litert": LITERT,
    "tflite_runtime": replace(LITERT, unmeasured=True),
    "coreml": CORE_ML,
    "onnxruntime_qnn": replace(ONNX_RUNTIME_LEAN, unmeasured=True),
}
"""By the names of `edgegen_runner.runtimes`, each of which has a row."""

MEASURED_ON: Mapping[str, str] = {
    "onnxruntime": "CPUExecutionProvider",
    "openvino": "CPU",
    "ai_edge_litert": "XNNPACK",
}
"""The provider with which a runtime was measured: its processor, which it takes unasked."""


def runtime_memory(
    backend: str, mode: MemoryMode, stored_bytes: int, providers: Sequence[str] = ()
) -> RuntimeMemory:
    """Return what a runtime does with a component whose files take `stored_bytes`.

    `backend` is a name of `edgegen_runner.runtimes`. It is unmeasured where the first of the
    `providers` is another one than was measured. Raises ConfigError for an unknown name.
    """
    row = RUNTIMES.get(backend)
    if row is None:
        raise ConfigError(
            f"The memory of the runtime '{backend}' cannot be predicted: nobody described it.",
            hint=nearest(backend, list(RUNTIMES)),
        )
    if mode == "lean" or (mode == "auto" and stored_bytes > SMALL_BYTES):
        row = _LEAN.get(backend, row)
    if providers and providers[0] != MEASURED_ON.get(backend):
        return replace(row, unmeasured=True)
    return row
