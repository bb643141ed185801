"""The largest single tensor of a packaged graph, read from the file with the format's own library.

What `edgegen.predict` says of the largest buffer is held against it: it reads the trace instead.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """A tensor of a graph: what it takes, its name, and whether it is stored in the file."""

    size_bytes: int
    name: str
    stored: bool


def largest_buffer(target: str, files: Sequence[Path], inputs: Shapes) -> Buffer:
    """Return the largest tensor of a component's files where its inputs have these shapes.

    `files` are the graph, or its parts where it is cut. Inputs whose shapes a format fixes are not
    looked at.
    """
    found = (it for path in files for it in _READERS[target](path, inputs))
    return max(found, key=lambda it: it.size_bytes)


def _onnx(path: Path, inputs: Shapes) -> Iterator[Buffer]:
    """Yield an ONNX graph's tensors: onnxruntime's own script infers the shapes."""
    import onnx
    from onnx import helper
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    model = onnx.load(path, load_external_data=False)
    for each in model.graph.input:
        for axis, size in zip(each.type.tensor_type.shape.dim, inputs[each.name], strict=True):
            axis.dim_value = size
    for each in list(model.graph.initializer):
        item = helper.tensor_dtype_to_np_dtype(each.data_type).itemsize
        yield Buffer(size_bytes=math.prod(each.dims) * item, name=each.name, stored=True)
        if each.data_location == onnx.TensorProto.EXTERNAL:  # the script would read it
            port = helper.make_tensor_value_info(each.name, each.data_type, each.dims)
            model.graph.input.append(port)
            model.graph.initializer.remove(each)
    inferred = SymbolicShapeInference.infer_shapes(model, auto_merge=True)
    for each in inferred.graph.value_info:
        tensor = each.type.tensor_type
        shape = [axis.dim_value for axis in tensor.shape.dim if axis.HasField("dim_value")]
        if len(shape) < len(tensor.shape.dim):
            raise SystemExit(f"{path}: the shape of {each.name} is not known.")
        item = helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
        yield Buffer(size_bytes=math.prod(shape) * item, name=each.name, stored=False)


def _openvino(path: Path, inputs: Shapes) -> Iterator[Buffer]:
    """Yield an OpenVINO graph's tensors, as it is before the runtime compiles it."""
    import openvino

    model = openvino.Core().read_model(path)
    model.reshape({port: list(inputs[port.any_name]) for port in model.inputs})
    for operator in model.get_ordered_ops():
        for port in operator.outputs():
            yield Buffer(
                size_bytes=math.prod(port.shape) * port.element_type.bitwidth // 8,
                name=operator.friendly_name,
                stored=operator.get_type_name() == "Constant",
            )


def _tflite(path: Path, inputs: Shapes) -> Iterator[Buffer]:
    """Yield a TFLite graph's tensors; the shapes are fixed in the file."""
    from ai_edge_litert import schema_py_generated as schema

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        model = schema.Model.GetRootAs(data, 0)
        for position in range(model.SubgraphsLength()):
            graph = model.Subgraphs(position)
            for number in range(graph.TensorsLength()):
                tensor = graph.Tensors(number)
                buffer = model.Buffers(tensor.Buffer())
                elements = math.prod(tensor.Shape(it) for it in range(tensor.ShapeLength()))
                yield Buffer(
                    size_bytes=elements * _TFLITE_BITS[tensor.Type()] // 8,
                    name=tensor.Name().decode(),
                    stored=buffer.DataLength() > 0 or buffer.Offset() > 1,
                )


_TFLITE_BITS = {0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 9: 8, 17: 4}
"""By the numbers of TensorType in TensorFlow's schema.fbs."""

_READERS = {"onnx": _onnx, "openvino": _openvino, "tflite": _tflite}
