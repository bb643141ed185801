"""Cuts a graph into parts that are compiled and loaded one by one.

Where, `edgegen/exporters/cutting.py` chooses. What crosses is a graph's own value in its own type,
by its name: 16-bit floats, or the integers that stand for an activation. What makes floats of those
integers again, or of a weight's, is repeated in each part that uses them, for an NPU computes in
integers only where it finds both ends of an operator in them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from edgegen.core.errors import ExportError
from edgegen.core.units import format_bytes
from edgegen.exporters.cutting import Step, choose_cuts, lives_of

_CROSSING = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.UINT8, ir.DataType.UINT16}
)
_NEVER = 1 << 40
"""What it costs that a value of another type crosses, in bytes: more than all others together."""


def part_path(graph: Path, number: int) -> Path:
    """Return the file of a part; parts are numbered from 1.

    >>> part_path(Path("model.onnx"), 2).name
    'model.2.onnx'
    """
    return graph if number == 1 else graph.with_name(f"{graph.stem}.{number}{graph.suffix}")


def split(model: ir.Model, limit_bytes: int) -> list[ir.Model]:
    """Cut a model with fixed shapes into parts whose weights take at most `limit_bytes`.

    The parts are in the order to run them in. A part's inputs are those of the whole, by their
    names, and what earlier parts give out. A model that fits stays whole. Raises ExportError where
    the weights of one operator are beyond the limit.
    """
    if _stored_bytes(model) <= limit_bytes:
        return [model]
    model = ShapeInferencePass()(model).model
    steps = _steps(model.graph)
    lives = lives_of(steps)
    values = {str(it.name): it for node in model.graph for it in node.outputs}
    cuts = choose_cuts(
        steps,
        lives,
        limit_bytes,
        size_of=lambda name: _size_bytes(values[name]),
        refuse=lambda step: _too_large(step, limit_bytes),
    )
    if len(cuts) == 1:
        return [model]
    part_of = [number for number, (start, end) in enumerate(cuts) for _ in range(start, end)]
    inputs, outputs = [str(it.name) for it in model.graph.inputs], model.graph.outputs
    unused = set(inputs).difference(*(step.takes for step in steps))
    parts = []
    for number, (start, end) in enumerate(cuts):
        run = steps[start:end]
        made = {name for step in run for name in step.makes}
        taken = {name for step in run for name in step.takes} - made
        given = [it for it in inputs if it in taken or (number == 0 and it in unused)]
        given += [it for it in values if it in taken]
        results = [str(it.name) for it in outputs if it.name in made]
        handed = [it for it in values if it in made and part_of[lives[it].last] > number]
        results += [it for it in handed if it not in results]
        graph = ir.convenience.extract(model.graph, given, results)
        graph.name = f"{model.graph.name}.{number + 1}"
        parts.append(
            ir.Model(graph, ir_version=model.ir_version, producer_name=model.producer_name)
        )
    return parts


def _steps(graph: ir.Graph) -> list[Step[str]]:
    """Return a step for each node but those that are repeated where they are used."""
    stored: dict[str, Mapping[Hashable, int]] = {
        name: {name: it.const_value.nbytes}
        for name, it in graph.initializers.items()
        if it.const_value is not None
    }
    instead: dict[str, tuple[str, ...]] = {}  # the computed values that a repeated node takes
    results = {it.name for it in graph.outputs}
    steps = []
    for place, node in enumerate(graph):
        names = [str(it.name) for it in node.inputs if it is not None]
        data = {key: size for name in names for key, size in stored.get(name, {}).items()}
        takes = tuple(
            dict.fromkeys(
                taken
                for name in names
                if name not in graph.initializers
                for taken in instead.get(name, (name,))
            )
        )
        makes = tuple(str(it.name) for it in node.outputs)
        repeated = not takes or node.op_type == "DequantizeLinear"
        if repeated and results.isdisjoint(makes):
            instead |= dict.fromkeys(makes, takes)
            stored |= dict.fromkeys(makes, data)
        else:
            steps.append(Step(place=place, makes=makes, takes=takes, stored=data))
    return steps


def _stored_bytes(model: ir.Model) -> int:
    tensors = (it.const_value for it in model.graph.initializers.values())
    return sum(it.nbytes for it in tensors if it is not None)


def _size_bytes(value: ir.Value) -> int:
    if value.dtype not in _CROSSING or value.shape is None or not value.shape.is_static():
        return _NEVER
    return int(value.dtype.itemsize * math.prod(value.shape.numpy()))


def _too_large(step: Step[str], limit_bytes: int) -> ExportError:
    return ExportError(
        f"{step.makes[0]} has weights of {format_bytes(step.size_bytes)}, and a context takes "
        f"{format_bytes(limit_bytes)}: an operator cannot be cut.",
        hint="Take a recipe with smaller weights (int8-static-a16), or a larger --part-size.",
    )
