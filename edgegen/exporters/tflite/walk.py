"""Walks through a graph: its tensors in order, and whether everything in it hangs together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgegen.core.errors import ExportError
from edgegen.exporters.tflite.graph import BlockScales, Graph, Operator, Tensor, Weight
from edgegen.exporters.tflite.storage import STORED

DEFECT_HINT = "This is a defect of edgegen: please report it, with the name of the model."


def tensors_of(graph: Graph) -> tuple[Tensor, ...]:
    """Return each tensor once: the graph's inputs, then in the order in which operators run."""
    found: dict[Tensor, None] = dict.fromkeys(graph.inputs.values())
    for operator in graph.operators:
        found.update(dict.fromkeys(used_by(operator)))
        found.update(dict.fromkeys(operator.outputs))
    found.update(dict.fromkeys(graph.outputs.values()))
    return tuple(found)


def used_by(operator: Operator) -> Iterable[Tensor]:
    """Yield the inputs that an operator has, and the scales of blocks behind their weights.

    Optional inputs that are missing are left out.
    """
    for tensor in operator.inputs:
        if tensor is not None:
            yield tensor
            if tensor.block_scales is not None:
                yield tensor.block_scales


def check_graph(graph: Graph) -> None:
    """Refuse a graph that is cut short or contradicts itself.

    Raises ExportError where a tensor is used before it is made, made twice or never, or where a
    constant's data is not of the tensor's type and shape.
    """
    tensors = tensors_of(graph)
    for tensor in tensors:
        _check_data(tensor)
        _check_quantization(tensor)
    known = {tensor for tensor in tensors if tensor.data is not None}
    for name, tensor in graph.inputs.items():
        if tensor in known:
            raise _broken(f"The input '{name}' of {graph.name} is a constant or there twice.")
        known.add(tensor)
    for operator in graph.operators:
        for tensor in used_by(operator):
            if tensor not in known:
                raise _broken(f"{operator.code} uses '{tensor.name}' before anything makes it.")
        for tensor in operator.outputs:
            if tensor in known:
                raise _broken(f"{operator.code} makes '{tensor.name}', which is there already.")
            known.add(tensor)
    for name, tensor in graph.outputs.items():
        if tensor not in known:
            raise _broken(f"Nothing makes the output '{name}' of {graph.name}.")


def _check_data(tensor: Tensor) -> None:
    data = tensor.data
    if isinstance(data, Weight):
        parameter = data.form.parameter
        if data.form.shape != tensor.shape:
            raise _broken(
                f"'{tensor.name}' has the shape {tensor.shape}, but its weight "
                f"'{parameter}' {data.form.shape}."
            )
        stored = STORED[data.storage]
        if tensor.dtype != stored.dtype:
            raise _broken(
                f"The weight '{parameter}' is stored as {stored.dtype}, not as {tensor.dtype}."
            )
        if stored.is_scaled and tensor.quantization is not None:
            raise _broken(f"'{parameter}' gets its scales when it is streamed, and has others.")
        if stored.in_blocks != (tensor.block_scales is not None):
            raise _broken(f"'{parameter}' is stored in blocks and has no scales, or the reverse.")
    elif isinstance(data, BlockScales):
        if tensor.dtype != "float16":
            raise _broken(f"'{tensor.name}' is {tensor.dtype}, and scales of blocks are float16.")
    elif data is not None and (data.dtype != np.dtype(tensor.dtype) or data.shape != tensor.shape):
        raise _broken(
            f"'{tensor.name}' is {tensor.dtype} {tensor.shape}, "
            f"but its data {data.dtype} {data.shape}."
        )


def _check_quantization(tensor: Tensor) -> None:
    quantization = tensor.quantization
    if quantization is None:
        return
    count = len(quantization.scales)
    axis = quantization.axis
    allowed = {1, tensor.shape[axis]} if axis < len(tensor.shape) else {1}
    if count != len(quantization.zero_points) or count not in allowed:
        raise _broken(
            f"'{tensor.name}' of shape {tensor.shape} has {count} scales and "
            f"{len(quantization.zero_points)} zero points along axis {axis}."
        )


def _broken(message: str) -> ExportError:
    return ExportError(message, hint=DEFECT_HINT)
