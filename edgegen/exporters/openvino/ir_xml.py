"""Writes a graph as OpenVINO IR, version 11: the XML beside the file of weights.

Shapes are written for inputs and constants alone: OpenVINO infers all others when it reads the
graph. The form is that of `openvino.save_model` (docs.openvino.ai, "OpenVINO IR format").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import quoteattr

from edgegen.exporters.openvino.graph import Constant, ElementType, Graph, Layer

IR_VERSION = 11

_PRECISIONS: Mapping[ElementType, str] = {
    "f32": "FP32",
    "f16": "FP16",
    "i64": "I64",
    "i32": "I32",
    "i8": "I8",
    "i4": "I4",
    "u4": "U4",
    "boolean": "BOOL",
}


def ir_xml(graph: Graph, offsets: Mapping[int, int]) -> str:
    """Return the XML of a graph; `offsets` is where each constant (by its `id`) begins."""
    return "\n".join(_lines(graph, offsets)) + "\n"


def _lines(graph: Graph, offsets: Mapping[int, int]) -> Iterator[str]:
    numbers = {id(layer): number for number, layer in enumerate(graph.layers)}
    yield '<?xml version="1.0"?>'
    yield f"<net name={quoteattr(graph.name)} version={quoteattr(str(IR_VERSION))}>"
    yield "<layers>"
    for number, layer in enumerate(graph.layers):
        yield from _layer(number, layer, offsets)
    yield "</layers>"
    yield "<edges>"
    for number, layer in enumerate(graph.layers):
        for port, value in enumerate(layer.inputs):
            source = numbers[id(value.layer)]
            source_port = len(value.layer.inputs) + value.index
            yield (
                f'<edge from-layer="{source}" from-port="{source_port}"'
                f' to-layer="{number}" to-port="{port}"/>'
            )
    yield "</edges>"
    yield "<rt_info/>"
    yield "</net>"


def _layer(number: int, layer: Layer, offsets: Mapping[int, int]) -> Iterator[str]:
    yield (
        f'<layer id="{number}" name={quoteattr(layer.name)} type={quoteattr(layer.type)}'
        f" version={quoteattr(layer.opset)}>"
    )
    attributes = dict(layer.attributes)
    if layer.constant is not None:
        attributes = _constant(layer.constant, offsets)
    if attributes:
        pairs = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
        yield f"<data {pairs}/>"
    if layer.is_decompression:
        yield '<rt_info><attribute name="decompression" version="0"/></rt_info>'
    if layer.inputs:
        ports = (
            f'<port id="{port}" precision="{_PRECISIONS[value.dtype]}"/>'
            for port, value in enumerate(layer.inputs)
        )
        yield f"<input>{''.join(ports)}</input>"
    if layer.outputs:
        yield f"<output>{''.join(_output_ports(layer))}</output>"
    yield "</layer>"


def _output_ports(layer: Layer) -> Iterator[str]:
    for value in layer.outputs:
        names = f" names={quoteattr(_escape_name(value.name))}" if value.name else ""
        port = len(layer.inputs) + value.index
        yield f'<port id="{port}" precision="{_PRECISIONS[value.dtype]}"{names}/>'


def _escape_name(name: str) -> str:
    """Protect the comma, which separates the names of one port."""
    return name.replace(",", "\\,")


def _constant(constant: Constant, offsets: Mapping[int, int]) -> dict[str, str]:
    return {
        "element_type": constant.dtype,
        "shape": ", ".join(map(str, constant.shape)),
        "offset": str(offsets[id(constant)]),
        "size": str(constant.size_bytes),
    }
