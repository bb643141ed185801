"""A graph as the messages of a model package."""

from __future__ import annotations

from collections.abc import Callable

from edgegen.exporters.coreml.graph import Graph, Operation, Value
from edgegen.mil import schema
from edgegen.mil.types import FEATURE_TYPES
from edgegen.mil.values import named, string

MAIN = "main"


def model_of(
    graph: Graph, minimum_os: int, write_constant: Callable[[Operation], schema.Operation]
) -> schema.Model:
    """Return the model of a graph, for iOS's version `minimum_os` and later.

    `write_constant` is called for each constant, in the order of the program.
    """
    operations = [
        write_constant(item) if item.type == "const" else _operation(item)
        for item in graph.operations
    ]
    opset = schema.OPSETS[minimum_os]
    block = schema.Block(outputs=[value.name for value in graph.outputs], operations=operations)
    function = schema.Function(
        inputs=[named(value.name, value.kind, value.stored_shape) for value in graph.inputs],
        opset=opset,
        block_specializations={opset: block},
    )
    return schema.Model(
        specification_version=schema.SPECIFICATION_VERSIONS[minimum_os],
        description=schema.ModelDescription(
            input=[_feature(value) for value in graph.inputs],
            output=[_feature(value) for value in graph.outputs],
        ),
        program=schema.Program(version=1, functions={MAIN: function}),
    )


def _operation(operation: Operation) -> schema.Operation:
    inputs = {}
    for name, argument in operation.inputs.items():
        values = [argument] if isinstance(argument, Value) else argument
        inputs[name] = schema.Argument(
            arguments=[schema.Binding(name=value.name) for value in values]
        )
    return schema.Operation(
        type=operation.type,
        inputs=inputs,
        outputs=[named(value.name, value.kind, value.stored_shape) for value in operation.outputs],
        attributes={"name": string(operation.outputs[0].name)},
    )


def _feature(value: Value) -> schema.FeatureDescription:
    array = schema.ArrayFeatureType(
        shape=list(value.stored_shape), data_type=FEATURE_TYPES[value.kind]
    )
    return schema.FeatureDescription(name=value.name, type=schema.FeatureType(multi_array=array))
