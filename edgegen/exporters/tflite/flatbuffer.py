"""Writes a graph as a `.tflite` file: a small flatbuffer, and the data of its weights behind it.

The flatbuffer is built without its data, whose place and size are known beforehand. The two forms
of a file differ in how it points there:

- *plain*: the `data` field of each `Buffer` is an offset forward, to a vector that lies behind all
  tables. To a reader that is any flatbuffer, below 2 GiB, of whatever age the reader is.
- *external*: `Buffer.offset` and `Buffer.size` are places in the file, as the schema has it for
  models above 2 GiB. tflite-runtime 2.14 is the oldest that was seen to read them.

The schema is tensorflow/compiler/mlir/lite/schema/schema.fbs (version 3).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgegen.core.errors import ExportError, nearest
from edgegen.core.files import translate_disk_errors
from edgegen.exporters.data_file import write_all
from edgegen.exporters.tflite.graph import Graph, Operator, Tensor, Weight
from edgegen.exporters.tflite.walk import DEFECT_HINT, check_graph, tensors_of
from edgegen.exporters.tflite.weights import (
    LENGTH_BYTES,
    Buffers,
    collect_buffers,
    lay_out,
    scale_count,
    stream_buffers,
)
from edgegen.models.binding import BoundTensor
from edgegen.models.weight_source import WeightSource

SCHEMA_VERSION = 3
SIGNATURE = "serving_default"
PLAIN_LIMIT_BYTES = (1 << 31) - 1  # FLATBUFFERS_MAX_BUFFER_SIZE, which no reader goes beyond
_LAST_OLD_CODE = 127  # a newer operator stands in a field that readers before 2020 do not know
_IDENTIFIER = b"TFL3"
_DATA_FIELD = 4  # where a Buffer's table of fields has `data`, its first

Scales = Mapping[int, NDArray[np.float32]]


def write_model(
    graph: Graph,
    path: Path,
    *,
    bound: Mapping[str, BoundTensor],
    weights: WeightSource,
    progress: Callable[[int], None],
    external: bool,
) -> int:
    """Write a graph and its weights to `path`; return the bytes written.

    With `external` the file may be of any size, but old runtimes do not read it; see above.
    `progress` gets the bytes of each buffer; they add up to `data_bytes(graph)`. The file depends
    on the graph and the weights alone. Raises ExportError for a graph that TFLite cannot hold, or
    that is too large, before anything is written; SourceError and ExportError for a weight that
    cannot be stored.
    """
    check_graph(graph)
    tensors = tensors_of(graph)
    buffers = collect_buffers(tensors)
    # The scales of int8 weights are known when these are streamed, their number is known now.
    head_bytes = len(_build(graph, tensors, buffers, {}, None, external=external))
    offsets, total_bytes = lay_out(head_bytes, buffers.all)
    if not external and total_bytes > PLAIN_LIMIT_BYTES:
        raise ExportError(
            f"{graph.name} needs {total_bytes:,} bytes, and a plain TFLite file holds "
            f"{PLAIN_LIMIT_BYTES:,}.",
            hint="Take a recipe with smaller weights (fp16 or int8), or cut the model into parts.",
        )
    with translate_disk_errors(path.parent), path.open("wb", buffering=0) as file:
        write_all(file, bytes(head_bytes))
        scales = stream_buffers(file, buffers.all, offsets, bound, weights, progress)
        head = _build(graph, tensors, buffers, scales, offsets, external=external)
        assert len(head) == head_bytes
        file.seek(0)
        write_all(file, head)
    return total_bytes


def _build(
    graph: Graph,
    tensors: Sequence[Tensor],
    buffers: Buffers,
    scales: Scales,
    offsets: Sequence[int] | None,
    *,
    external: bool,
) -> bytearray:
    """Return the flatbuffer. Without offsets or scales it has the same length, for a measure."""
    index = {tensor: number for number, tensor in enumerate(tensors)}
    codes: dict[tuple[str, int], int] = {}
    operators = [_operator(operator, index, codes) for operator in graph.operators]
    subgraph = schema.SubGraphT(
        tensors=[_tensor(tensor, index, buffers, scales) for tensor in tensors],
        inputs=[index[tensor] for tensor in graph.inputs.values()],
        outputs=[index[tensor] for tensor in graph.outputs.values()],
        operators=operators,
        name=graph.name,
    )
    places = offsets if offsets is not None else [2] * len(buffers.all)  # 0 and 1 mean "not there"
    if external:
        filled = [
            schema.BufferT(offset=place, size=buffer.size_bytes)
            for place, buffer in zip(places, buffers.all, strict=True)
        ]
    else:
        filled = [schema.BufferT(data=b"") for _ in buffers.all]
    model = schema.ModelT(
        version=SCHEMA_VERSION,
        operatorCodes=[_operator_code(name, version) for name, version in codes],
        subgraphs=[subgraph],
        buffers=[schema.BufferT(), *filled],  # the first is empty: that of whatever is computed
        signatureDefs=[
            schema.SignatureDefT(
                inputs=_names(graph.inputs, index),
                outputs=_names(graph.outputs, index),
                signatureKey=SIGNATURE,
            )
        ],
    )
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    head = bytearray(builder.Output())
    if offsets is not None and not external:
        _point_to_data(head, offsets)
    return head


def _point_to_data(head: bytearray, offsets: Sequence[int]) -> None:
    """Turn the `data` of each buffer, now an empty vector, into the one behind the flatbuffer.

    A field holds the distance from itself to the vector's length (flatbuffers' internals,
    "tables"), so that it may lie anywhere later in the file.
    """
    model = schema.Model.GetRootAs(head, 0)
    for number, offset in enumerate(offsets, start=1):
        table = model.Buffers(number)._tab
        field = table.Pos + table.Offset(_DATA_FIELD)
        struct.pack_into("<I", head, field, offset - LENGTH_BYTES - field)


def _tensor(tensor: Tensor, index: Mapping[Tensor, int], buffers: Buffers, scales: Scales) -> Any:
    place = buffers.index.get(tensor)
    if tensor.block_scales is None:
        quantization = _quantization(tensor, None if place is None else scales.get(place))
    else:
        quantization = _blocks(tensor, tensor.block_scales, index)
    return schema.TensorT(
        shape=list(tensor.shape),
        type=getattr(schema.TensorType, tensor.dtype.upper()),
        buffer=0 if place is None else place + 1,
        name=tensor.name,
        quantization=quantization,
        hasRank=True,
    )


def _blocks(tensor: Tensor, scales: Tensor, index: Mapping[Tensor, int]) -> Any:
    """Return what says that rows are cut into blocks whose scales are a tensor."""
    return schema.QuantizationParametersT(
        detailsType=schema.QuantizationDetails.BlockwiseQuantization,
        details=schema.BlockwiseQuantizationT(
            scales=index[scales],
            zeroPoints=-1,  # there is no such tensor
            blockSize=tensor.shape[1] // scales.shape[1],
        ),
    )


def _quantization(tensor: Tensor, scales: NDArray[np.float32] | None) -> Any:
    given = tensor.quantization
    if given is not None:
        return schema.QuantizationParametersT(
            scale=np.array(given.scales, np.float32),
            zeroPoint=np.array(given.zero_points, np.int64),
            quantizedDimension=given.axis,
        )
    if not isinstance(tensor.data, Weight) or not (count := scale_count(tensor.data)):
        return None
    granularity = tensor.data.granularity
    return schema.QuantizationParametersT(
        scale=np.zeros(count, np.float32) if scales is None else scales,
        zeroPoint=np.zeros(count, np.int64),
        quantizedDimension=granularity.axis if granularity.per_channel else 0,
    )


def _operator(
    operator: Operator, index: Mapping[Tensor, int], codes: dict[tuple[str, int], int]
) -> Any:
    code = codes.setdefault((operator.code, operator.version), len(codes))
    made = schema.OperatorT(
        opcodeIndex=code,
        inputs=[-1 if tensor is None else index[tensor] for tensor in operator.inputs],
        outputs=[index[tensor] for tensor in operator.outputs],
    )
    name = operator.options_type
    if hasattr(schema.BuiltinOptions, name):
        made.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        made.builtinOptions = _options(operator)
    elif hasattr(schema.BuiltinOptions2, name):
        made.builtinOptions2Type = getattr(schema.BuiltinOptions2, name)
        made.builtinOptions2 = _options(operator)
    elif name or operator.options:
        raise ExportError(
            f"TFLite has no options '{name}', which {operator.code} has here.",
            hint=f"{nearest(name, _names_in(schema.BuiltinOptions))} {DEFECT_HINT}",
        )
    return made


def _options(operator: Operator) -> Any:
    table = getattr(schema, f"{operator.options_type}T")()
    for field, value in operator.options.items():
        if field not in vars(table):
            raise ExportError(
                f"{operator.options_type} has no field '{field}', which {operator.code} sets.",
                hint=f"{nearest(field, vars(table))} {DEFECT_HINT}",
            )
        setattr(table, field, value)
    return table


def _operator_code(name: str, version: int) -> Any:
    known = _names_in(schema.BuiltinOperator)
    if name not in known:
        raise ExportError(
            f"TFLite has no operator '{name}'.", hint=f"{nearest(name, known)} {DEFECT_HINT}"
        )
    code = getattr(schema.BuiltinOperator, name)
    return schema.OperatorCodeT(
        deprecatedBuiltinCode=min(code, _LAST_OLD_CODE), builtinCode=code, version=version
    )


def _names(tensors: Mapping[str, Tensor], index: Mapping[Tensor, int]) -> list[Any]:
    return [
        schema.TensorMapT(name=name, tensorIndex=index[tensor]) for name, tensor in tensors.items()
    ]


def _names_in(enumeration: type) -> list[str]:
    return [name for name in vars(enumeration) if not name.startswith("_")]
