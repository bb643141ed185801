"""A model package that is loaded, and how it is run."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgegen.core.errors import IntegrityError, RunnerError
from edgegen.core.files import inside
from edgegen.mil.executor.arguments import Arguments, as_tensor
from edgegen.mil.executor.decompression import DECOMPRESSIONS
from edgegen.mil.executor.operators import MAY_RETURN_ITS_ARGUMENT, MOVES, OPERATORS
from edgegen.mil.mlpackage import load_model
from edgegen.mil.schema import Argument, Block, Function, Operation
from edgegen.mil.types import TypeName
from edgegen.mil.values import read_value, shape_of
from edgegen.mil.weight_file import WeightFile

MAIN = "main"
KEPT_BYTES = 256 << 20
"""A program whose weights take no more, in float32, keeps them between two runs."""

LARGEST_RESULT_BYTES = 4 << 30
"""What one result may take, in float32: the scores of attention at 1024 × 1024 pixels do."""

_MODEL_PATH = "@model_path/"

_MISFITS = (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError)
"""What torch and numpy raise for arguments that do not fit together."""


class MilProgram:
    """A Core ML program, run operation by operation.

    Arithmetic is float32's; with `rounds` each result is then rounded to the type that the program
    declares for it, as a device that computes in float16 would at least. Weights are read from the
    mapped file, and decompressed, when an operation wants them; those of a small program are kept
    for the next run. `inputs` and `outputs` are the program's tensors: name → type and shape.

    Raises IntegrityError where the package is damaged, RunnerError (with their names) for
    operations that this executor does not know.
    """

    def __init__(self, package: Path, *, rounds: bool = True) -> None:
        model, self._folder = load_model(package)
        self._package = package
        self._rounds = rounds
        self._files: dict[str, WeightFile] = {}
        function = None if model.program is None else model.program.functions.get(MAIN)
        block = None if function is None else function.block_specializations.get(function.opset)
        if function is None or block is None:
            raise self._broken("it holds no program")
        _refuse_unknown(package, block)
        self.inputs = {item.name: shape_of(item.type) for item in function.inputs}
        self._outputs = block.outputs
        types = {
            output.name: output.type
            for operation in block.operations
            for output in operation.outputs
        }
        self._check_bindings(function, block)
        self.outputs = {name: shape_of(types.get(name)) for name in block.outputs}
        if any(kind == "string" for kind, _ in (*self.inputs.values(), *self.outputs.values())):
            raise self._broken("it takes or gives texts")
        self._operations = block.operations
        self._last_use = _last_uses(self._operations, self._outputs)
        self._to_keep = _operands_of_the_file(block)
        if sum(4 * prod(shape_of(types[name])[1]) for name in self._to_keep) > KEPT_BYTES:
            self._to_keep = frozenset()
        self._kept: dict[str, Any] = {}
        self._checked: set[int] = set()
        self._types: dict[int, tuple[tuple[str, TypeName, tuple[int, ...]], ...]] = {}

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute the outputs from arrays in the types and shapes that `inputs` says.

        Raises IntegrityError where an input, or an operation's result, is not of the shape that is
        declared.
        """
        for name, array in inputs.items():
            if name in self.inputs and array.shape != self.inputs[name][1]:
                raise self._broken(
                    f"it takes {name!r} of the shape {self.inputs[name][1]}, not {array.shape}"
                )
        values = {**self._kept, **{name: as_tensor(array) for name, array in inputs.items()}}
        with torch.no_grad():
            for number, operation in enumerate(self._operations):
                self._step(operation, values)
                for name in self._last_use.get(number, ()):
                    del values[name]
        self._leave_out_what_is_kept()
        return {name: as_tensor(values[name]).numpy() for name in self._outputs}

    def _leave_out_what_is_kept(self) -> None:
        """Let the next run begin without the operations whose results are kept."""
        if self._to_keep:
            self._operations = _needed(self._operations, self._outputs, self._kept)
            self._last_use = _last_uses(self._operations, (*self._outputs, *self._kept))
            self._to_keep = frozenset()

    def _step(self, operation: Operation, values: dict[str, Any]) -> None:
        results = self._compute(operation, values)
        self._check_results(operation, results)
        for (name, kind, _), result in zip(self._declared(operation), results, strict=True):
            value = result
            if not isinstance(result, (str, list)):
                value = self._rounded(operation.type, result, kind)
            if name in self._to_keep:
                value = self._keep(name, value)
            values[name] = value

    def _declared(self, operation: Operation) -> tuple[tuple[str, TypeName, tuple[int, ...]], ...]:
        """Return names, types and shapes of an operation's results; each run asks for them."""
        if id(operation) not in self._types:
            self._types[id(operation)] = tuple(
                (output.name, *shape_of(output.type)) for output in operation.outputs
            )
        return self._types[id(operation)]

    def _check_results(self, operation: Operation, results: Sequence[Any]) -> None:
        """Refuse results whose shapes are not the declared ones, or too large."""
        if len(results) != len(operation.outputs):
            raise self._broken(f"{operation.type} has {len(results)} results")
        for (name, kind, shape), result in zip(self._declared(operation), results, strict=True):
            if isinstance(result, (str, list)):
                if kind != "string":
                    raise self._broken(f"{operation.type} gives {name!r} texts")
                continue
            if tuple(result.shape) != shape:
                raise self._broken(
                    f"{operation.type} gives {name!r} the shape {tuple(result.shape)}, "
                    f"and {shape} is declared"
                )
            if 4 * prod(shape) > LARGEST_RESULT_BYTES:
                raise self._broken(f"{operation.type} gives {name!r} {prod(shape):,} numbers")

    def _keep(self, name: str, value: Any) -> Any:
        """Keep a value for the next run, in the form that operations want; return it so."""
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            value = as_tensor(value)
        self._kept[name] = value
        return value

    def _compute(self, operation: Operation, values: Mapping[str, Any]) -> tuple[Any, ...]:
        if operation.type == "const" and "val" not in operation.attributes:
            raise self._broken("a constant has no value")
        try:
            if operation.type == "const":
                return (read_value(operation.attributes["val"], self._read_blob),)
            given = self._arguments(operation, values)
            if operation.type in DECOMPRESSIONS:
                return (DECOMPRESSIONS[operation.type](Arguments(operation.type, given)),)
            if id(operation) not in self._checked:
                shapes = OPERATORS[operation.type](
                    Arguments(operation.type, given, shapes_only=True)
                )
                self._check_results(operation, _as_tuple(shapes))
                self._checked.add(id(operation))
            return _as_tuple(OPERATORS[operation.type](Arguments(operation.type, given)))
        except _MISFITS as error:
            why = " ".join(str(error).split())
            raise self._broken(f"{operation.type} cannot be computed: {why}") from error

    def _arguments(self, operation: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: read_value(value, self._read_blob)
            for name, value in operation.attributes.items()
            if name != "name"
        }
        for name, argument in operation.inputs.items():
            items = [
                values[item.name] if item.value is None else read_value(item.value, self._read_blob)
                for item in argument.arguments
            ]
            found[name] = items if len(items) != 1 or name == "values" else items[0]
        return found

    def _rounded(self, op_type: str, result: Any, kind: TypeName) -> Any:
        """Return a result as its declared type holds it; constants stay arrays until they are used.

        What only moves numbers has rounded ones already. It is laid out anew, so that torch adds in
        the same order wherever a program is cut.
        """
        if not isinstance(result, torch.Tensor):
            return result
        if op_type in MOVES:
            return result.contiguous()
        if not result.is_floating_point() or not self._rounds or kind != "fp16":
            return result
        if op_type in MAY_RETURN_ITS_ARGUMENT:
            return result.half().float()
        return result.copy_(result.half())

    def _read_blob(
        self, file_name: str, offset: int, kind: TypeName, shape: tuple[int, ...]
    ) -> NDArray[Any]:
        if file_name not in self._files:
            if not file_name.startswith(_MODEL_PATH):
                raise self._broken(f"it names the file {file_name!r}")
            path = inside(self._folder, file_name.removeprefix(_MODEL_PATH))
            if not path.is_file():
                raise self._broken(f"{path} is missing")
            self._files[file_name] = WeightFile(path)
        return self._files[file_name].read(offset, kind, shape)

    def _check_bindings(self, function: Function, block: Block) -> None:
        """Refuse a program that takes a result before it is computed."""
        known = {item.name for item in function.inputs}
        for operation in block.operations:
            if operation.blocks:
                raise self._broken(f"{operation.type} holds operations of its own")
            for name in _names(operation.inputs):
                if name not in known:
                    raise self._broken(f"{operation.type} takes {name!r}, which nothing computes")
            known.update(output.name for output in operation.outputs)
        for name in block.outputs:
            if name not in known:
                raise self._broken(f"its output {name!r} is not computed")

    def _broken(self, why: str) -> IntegrityError:
        return IntegrityError(
            f"{self._package} is not a whole model package: {why}.",
            hint="Copy the package again, or build it again.",
        )


def _as_tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def _refuse_unknown(package: Path, block: Block) -> None:
    known = {"const", *OPERATORS, *DECOMPRESSIONS}
    unknown = sorted({operation.type for operation in block.operations} - known)
    if unknown:
        raise RunnerError(
            f"{package} has operations that the reference executor does not know: "
            f"{', '.join(unknown)}.",
            hint="Run the model with Core ML, on a Mac or an iPhone.",
        )


def _names(inputs: Mapping[str, Argument]) -> list[str]:
    return [
        binding.name
        for argument in inputs.values()
        for binding in argument.arguments
        if binding.value is None
    ]


def _operands_of_the_file(block: Block) -> frozenset[str]:
    """Return the results that the file alone determines and that an operation on others takes."""
    determined: set[str] = set()
    taken: set[str] = set()
    for operation in block.operations:
        names = _names(operation.inputs)
        if operation.type == "const" or (
            operation.type in DECOMPRESSIONS and determined.issuperset(names)
        ):
            determined.update(output.name for output in operation.outputs)
        else:
            taken.update(names)
    return frozenset(determined & taken)


def _needed(
    operations: Sequence[Operation], outputs: Iterable[str], known: Container[str]
) -> list[Operation]:
    """Return the operations that compute the outputs where some results are known already."""
    wanted = set(outputs)
    needed = []
    for operation in reversed(operations):
        if any(it.name in wanted and it.name not in known for it in operation.outputs):
            needed.append(operation)
            wanted.update(_names(operation.inputs))
    return needed[::-1]


def _last_uses(operations: Sequence[Operation], lasting: Container[str]) -> dict[int, list[str]]:
    """Return for each operation's place the values that nothing wants after it."""
    last: dict[str, int] = {}
    for number, operation in enumerate(operations):
        for output in operation.outputs:
            last[output.name] = number
        for name in _names(operation.inputs):
            last[name] = number
    uses: dict[int, list[str]] = {}
    for name, number in last.items():
        if name not in lasting:
            uses.setdefault(number, []).append(name)
    return uses
