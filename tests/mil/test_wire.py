"""The protobuf codec and the messages, held against coremltools' own."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import IntegrityError
from edgegen.mil import schema
from edgegen.mil.wire import Field, decode, encode

ct_proto = pytest.importorskip("coremltools.proto")

MESSAGES = {
    "CoreML.Specification.Model": schema.Model,
    "CoreML.Specification.ModelDescription": schema.ModelDescription,
    "CoreML.Specification.Metadata": schema.Metadata,
    "CoreML.Specification.FeatureDescription": schema.FeatureDescription,
    "CoreML.Specification.FeatureType": schema.FeatureType,
    "CoreML.Specification.ArrayFeatureType": schema.ArrayFeatureType,
    "CoreML.Specification.MILSpec.Program": schema.Program,
    "CoreML.Specification.MILSpec.Function": schema.Function,
    "CoreML.Specification.MILSpec.Block": schema.Block,
    "CoreML.Specification.MILSpec.Operation": schema.Operation,
    "CoreML.Specification.MILSpec.Argument": schema.Argument,
    "CoreML.Specification.MILSpec.Argument.Binding": schema.Binding,
    "CoreML.Specification.MILSpec.NamedValueType": schema.NamedValueType,
    "CoreML.Specification.MILSpec.ValueType": schema.ValueType,
    "CoreML.Specification.MILSpec.TensorType": schema.TensorType,
    "CoreML.Specification.MILSpec.TupleType": schema.TupleType,
    "CoreML.Specification.MILSpec.ListType": schema.ListType,
    "CoreML.Specification.MILSpec.Dimension": schema.Dimension,
    "CoreML.Specification.MILSpec.Dimension.ConstantDimension": schema.ConstantDimension,
    "CoreML.Specification.MILSpec.Dimension.UnknownDimension": schema.UnknownDimension,
    "CoreML.Specification.MILSpec.Value": schema.Value,
    "CoreML.Specification.MILSpec.Value.ImmediateValue": schema.ImmediateValue,
    "CoreML.Specification.MILSpec.Value.BlobFileValue": schema.BlobFileValue,
    "CoreML.Specification.MILSpec.TensorValue": schema.TensorValue,
    "CoreML.Specification.MILSpec.TensorValue.RepeatedFloats": schema.Floats,
    "CoreML.Specification.MILSpec.TensorValue.RepeatedInts": schema.Ints,
    "CoreML.Specification.MILSpec.TensorValue.RepeatedBools": schema.Bools,
    "CoreML.Specification.MILSpec.TensorValue.RepeatedStrings": schema.Strings,
    "CoreML.Specification.MILSpec.TensorValue.RepeatedLongInts": schema.LongInts,
    "CoreML.Specification.MILSpec.TensorValue.RepeatedDoubles": schema.Doubles,
    "CoreML.Specification.MILSpec.TensorValue.RepeatedBytes": schema.RawBytes,
    "CoreML.Specification.MILSpec.TupleValue": schema.TupleValue,
    "CoreML.Specification.MILSpec.ListValue": schema.ListValue,
}
"""Apple's name of a message -> ours."""

OTHER_NAMES = {
    "data_type": "dataType",
    "tensor": "tensor",
    "immediate": "immediateValue",
    "blob_file": "blobFileValue",
    "file_name": "fileName",
    "long_ints": "longInts",
    "short_description": "shortDescription",
    "version": "version",
    "licence": "license",
    "multi_array": "multiArrayType",
    "specification_version": "specificationVersion",
    "program": "mlProgram",
}
KINDS = {
    "int": {"TYPE_INT32", "TYPE_INT64", "TYPE_UINT64", "TYPE_ENUM"},
    "bool": {"TYPE_BOOL"},
    "float": {"TYPE_FLOAT"},
    "double": {"TYPE_DOUBLE"},
    "string": {"TYPE_STRING"},
    "bytes": {"TYPE_BYTES"},
    "message": {"TYPE_MESSAGE"},
}


def descriptors() -> dict[str, Any]:
    from coremltools.proto import MIL_pb2, Model_pb2

    found = {}
    for module in (MIL_pb2, Model_pb2, Model_pb2.FeatureTypes__pb2):
        stack = list(module.DESCRIPTOR.message_types_by_name.values())
        while stack:
            one = stack.pop()
            found[one.full_name] = one
            stack.extend(one.nested_types)
    return found


@pytest.mark.parametrize("name", MESSAGES)
def test_every_number_and_kind_is_apples(name: str) -> None:
    theirs = {field.number: field for field in descriptors()[name].fields}
    for declared in dataclasses.fields(MESSAGES[name]):
        field: Field = declared.metadata["field"]
        other = theirs[field.number]
        kind = next(
            key
            for key in dir(type(other))
            if key.startswith("TYPE_") and getattr(other, key) == other.type
        )
        assert kind in KINDS[field.kind], (name, declared.name)
        assert other.is_repeated == (field.repeated != "no"), (name, declared.name)
        if field.repeated == "packed":
            assert kind not in KINDS["string"] | KINDS["bytes"] | KINDS["message"]
        if field.repeated == "map":
            assert other.message_type.GetOptions().map_entry
        if field.message is not None:
            entry = other.message_type
            if field.repeated == "map":
                entry = entry.fields_by_name["value"].message_type
            assert MESSAGES[entry.full_name] is field.message(), (name, declared.name)


def small_model() -> schema.Model:
    kind = schema.ValueType(
        tensor=schema.TensorType(
            data_type=11,
            rank=2,
            dimensions=[
                schema.Dimension(constant=schema.ConstantDimension(size=300)),
                schema.Dimension(constant=schema.ConstantDimension(size=1)),
            ],
        )
    )
    value = schema.Value(
        type=kind,
        immediate=schema.ImmediateValue(
            tensor=schema.TensorValue(floats=schema.Floats(values=[1.5, -2.0]))
        ),
    )
    operation = schema.Operation(
        type="const",
        outputs=[schema.NamedValueType(name="ü", type=kind)],
        attributes={"val": value},
        inputs={"x": schema.Argument(arguments=[schema.Binding(name="y")])},
    )
    block = schema.Block(outputs=["ü"], operations=[operation])
    function = schema.Function(opset="CoreML6", block_specializations={"CoreML6": block})
    return schema.Model(
        specification_version=7,
        description=schema.ModelDescription(
            input=[
                schema.FeatureDescription(
                    name="y",
                    type=schema.FeatureType(
                        multi_array=schema.ArrayFeatureType(shape=[2, 300], data_type=65568)
                    ),
                )
            ]
        ),
        program=schema.Program(version=1, functions={"main": function}),
    )


def test_a_model_comes_back_as_it_went() -> None:
    model = small_model()
    assert decode(schema.Model, encode(model)) == model


def test_apples_reader_reads_what_we_write_and_writes_what_we_read() -> None:
    from coremltools.proto import Model_pb2

    model = small_model()
    theirs = Model_pb2.Model()
    theirs.ParseFromString(encode(model))
    block = theirs.mlProgram.functions["main"].block_specializations["CoreML6"]
    assert block.operations[0].outputs[0].name == "ü"
    values = block.operations[0].attributes["val"].immediateValue.tensor.floats.values
    assert list(values) == [1.5, -2.0]
    assert list(theirs.description.input[0].type.multiArrayType.shape) == [2, 300]
    assert decode(schema.Model, theirs.SerializeToString()) == model


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_numbers_of_any_size_come_back(numbers: list[int]) -> None:
    assert decode(schema.LongInts, encode(schema.LongInts(values=numbers))).values == numbers


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_read_never_a_crash(data: bytes) -> None:
    with contextlib.suppress(IntegrityError):
        decode(schema.Model, data)


@given(st.integers(1, 10**6))
def test_a_model_that_is_cut_off_is_refused_or_shorter(length: int) -> None:
    data = encode(small_model())
    length %= len(data)
    with contextlib.suppress(IntegrityError):
        assert decode(schema.Model, data[:length]) != small_model()


def test_messages_nested_without_end_are_refused() -> None:
    value = schema.Value()
    for _ in range(100):
        held = schema.ImmediateValue(list=schema.ListValue(values=[value]))
        value = schema.Value(immediate=held)
    with pytest.raises(IntegrityError, match="nested"):
        decode(schema.Value, encode(value))
