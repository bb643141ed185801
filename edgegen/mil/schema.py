"""The messages of a Core ML model file that a program needs, as Apple numbers them.

Source: coremltools, `mlmodel/format/Model.proto`, `FeatureTypes.proto` and `MIL.proto`. A test
holds every number and kind against the descriptors that coremltools ships. Members of a `oneof`
are fields of which at most one is set.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.mil.wire import flag, integer, many, mapping, one, packed, raw, text, texts

SPECIFICATION_VERSIONS = {15: 6, 16: 7, 17: 8, 18: 9}
"""iOS's version -> Core ML's specification."""

OPSETS = {15: "CoreML5", 16: "CoreML6", 17: "CoreML7", 18: "CoreML8"}
"""iOS's version -> the set of operations of a program."""


def newest_version(minimum_os: int) -> int:
    """Return the newest of these versions that systems from `minimum_os` on can read.

    A later system reads what is written for an earlier one.
    """
    return max(version for version in OPSETS if version <= minimum_os)


@dataclass(slots=True, kw_only=True)
class ConstantDimension:
    """An axis whose size is known."""

    size: int = integer(1)


@dataclass(slots=True, kw_only=True)
class UnknownDimension:
    """An axis whose size is not known."""

    variadic: bool = flag(1)


@dataclass(slots=True, kw_only=True)
class Dimension:
    """An axis of a tensor."""

    constant: ConstantDimension | None = one(1, lambda: ConstantDimension)
    unknown: UnknownDimension | None = one(2, lambda: UnknownDimension)


@dataclass(slots=True, kw_only=True)
class TensorType:
    """A tensor's type; `data_type` is a number of `edgegen.mil.types`."""

    data_type: int = integer(1)
    rank: int = integer(2)
    dimensions: list[Dimension] = many(3, lambda: Dimension)


@dataclass(slots=True, kw_only=True)
class ListType:
    """A list's type."""

    type: ValueType | None = one(1, lambda: ValueType)
    length: Dimension | None = one(2, lambda: Dimension)


@dataclass(slots=True, kw_only=True)
class TupleType:
    """A tuple's type."""

    types: list[ValueType] = many(1, lambda: ValueType)


@dataclass(slots=True, kw_only=True)
class ValueType:
    """The type of a value."""

    tensor: TensorType | None = one(1, lambda: TensorType)
    list: ListType | None = one(2, lambda: ListType)
    tuple: TupleType | None = one(3, lambda: TupleType)


@dataclass(slots=True, kw_only=True)
class Floats:
    """Numbers of float32."""

    values: list[float] = packed(1, "float")


@dataclass(slots=True, kw_only=True)
class Ints:
    """Numbers of int32."""

    values: list[int] = packed(1, "int")


@dataclass(slots=True, kw_only=True)
class Bools:
    """Truth values."""

    values: list[bool] = packed(1, "bool")


@dataclass(slots=True, kw_only=True)
class Strings:
    """Texts."""

    values: list[str] = texts(1)


@dataclass(slots=True, kw_only=True)
class LongInts:
    """Numbers of int64."""

    values: list[int] = packed(1, "int")


@dataclass(slots=True, kw_only=True)
class Doubles:
    """Numbers of float64."""

    values: list[float] = packed(1, "double")


@dataclass(slots=True, kw_only=True)
class RawBytes:
    """Numbers as they lie in memory, little-endian; those below a byte are packed."""

    values: bytes = raw(1)


@dataclass(slots=True, kw_only=True)
class TensorValue:
    """A tensor's numbers, in the member that its type calls for."""

    floats: Floats | None = one(1, lambda: Floats)
    ints: Ints | None = one(2, lambda: Ints)
    bools: Bools | None = one(3, lambda: Bools)
    strings: Strings | None = one(4, lambda: Strings)
    long_ints: LongInts | None = one(5, lambda: LongInts)
    doubles: Doubles | None = one(6, lambda: Doubles)
    bytes: RawBytes | None = one(7, lambda: RawBytes)


@dataclass(slots=True, kw_only=True)
class TupleValue:
    """Several values."""

    values: list[Value] = many(1, lambda: Value)


@dataclass(slots=True, kw_only=True)
class ListValue:
    """Several values of one type."""

    values: list[Value] = many(1, lambda: Value)


@dataclass(slots=True, kw_only=True)
class ImmediateValue:
    """A value that stands in the program."""

    tensor: TensorValue | None = one(1, lambda: TensorValue)
    tuple: TupleValue | None = one(2, lambda: TupleValue)
    list: ListValue | None = one(3, lambda: ListValue)


@dataclass(slots=True, kw_only=True)
class BlobFileValue:
    """A value that stands in a file of weights, where its entry begins at `offset`."""

    file_name: str = text(1)
    offset: int = integer(2)


@dataclass(slots=True, kw_only=True)
class Value:
    """A constant."""

    type: ValueType | None = one(2, lambda: ValueType)
    immediate: ImmediateValue | None = one(3, lambda: ImmediateValue)
    blob_file: BlobFileValue | None = one(5, lambda: BlobFileValue)


@dataclass(slots=True, kw_only=True)
class Binding:
    """What an argument is: a result by its name, or a constant."""

    name: str = text(1)
    value: Value | None = one(2, lambda: Value)


@dataclass(slots=True, kw_only=True)
class Argument:
    """An argument: one binding, or the several of a list."""

    arguments: list[Binding] = many(1, lambda: Binding)


@dataclass(slots=True, kw_only=True)
class NamedValueType:
    """A name and its type."""

    name: str = text(1)
    type: ValueType | None = one(2, lambda: ValueType)


@dataclass(slots=True, kw_only=True)
class Operation:
    """One operation."""

    type: str = text(1)
    inputs: dict[str, Argument] = mapping(2, lambda: Argument)
    outputs: list[NamedValueType] = many(3, lambda: NamedValueType)
    blocks: list[Block] = many(4, lambda: Block)
    attributes: dict[str, Value] = mapping(5, lambda: Value)


@dataclass(slots=True, kw_only=True)
class Block:
    """Operations in their order, and which of their results are the block's."""

    inputs: list[NamedValueType] = many(1, lambda: NamedValueType)
    outputs: list[str] = texts(2)
    operations: list[Operation] = many(3, lambda: Operation)


@dataclass(slots=True, kw_only=True)
class Function:
    """A function: its inputs, and a block for each set of operations that it is written in."""

    inputs: list[NamedValueType] = many(1, lambda: NamedValueType)
    opset: str = text(2)
    block_specializations: dict[str, Block] = mapping(3, lambda: Block)


@dataclass(slots=True, kw_only=True)
class Program:
    """A program; a model runs its function `main`."""

    version: int = integer(1)
    functions: dict[str, Function] = mapping(2, lambda: Function)


@dataclass(slots=True, kw_only=True)
class ArrayFeatureType:
    """The type of an array that goes in or comes out."""

    shape: list[int] = packed(1, "int")
    data_type: int = integer(2)


@dataclass(slots=True, kw_only=True)
class FeatureType:
    """The type of what goes in or comes out."""

    multi_array: ArrayFeatureType | None = one(5, lambda: ArrayFeatureType)


@dataclass(slots=True, kw_only=True)
class FeatureDescription:
    """An input or an output of a model."""

    name: str = text(1)
    short_description: str = text(2)
    type: FeatureType | None = one(3, lambda: FeatureType)


@dataclass(slots=True, kw_only=True)
class Metadata:
    """What a model says of itself."""

    short_description: str = text(1)
    version: str = text(2)
    author: str = text(3)
    licence: str = text(4)


@dataclass(slots=True, kw_only=True)
class ModelDescription:
    """A model's inputs and outputs."""

    input: list[FeatureDescription] = many(1, lambda: FeatureDescription)
    output: list[FeatureDescription] = many(10, lambda: FeatureDescription)
    metadata: Metadata | None = one(100, lambda: Metadata)


@dataclass(slots=True, kw_only=True)
class Model:
    """A Core ML model that is a program."""

    specification_version: int = integer(1)
    description: ModelDescription | None = one(2, lambda: ModelDescription)
    program: Program | None = one(502, lambda: Program)
