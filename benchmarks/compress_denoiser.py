"""The peers' own ways to compress one file, run by path, by the python of a peer's environment.

    compress_denoiser.py onnx|openvino|tflite|coreml SOURCE WAY OUTPUT

SOURCE is a denoiser in float, of edgegen: `model.onnx`, `openvino_model.xml`, `model.tflite`, or an
mlpackage. A denoiser that is split into files is compressed file by file; SOURCE is its first.
The ways are the functions of `WAYS`. Those that calibrate get `SAMPLES` random inputs, of the size
that edgegen calibrates with where the file's axes are open.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 4
OPEN_AXES = {"batch": 2, "height": 33, "width": 17, "sequence": 77}
"""What an open axis becomes in samples, by a word of its name: that of 264 × 136 pixels."""


def quantize_dynamic(source: Path, output: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, output, per_channel=True, use_external_data_format=True)


def matmul_nbits(source: Path, output: Path, bits: int) -> None:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(source), bits=bits, block_size=32, is_symmetric=True)
    quantizer.process()
    quantizer.model.save_model_to_file(str(output), use_external_data_format=True)


def quantize_static(source: Path, output: Path, activations: str) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantType
    from onnxruntime.quantization import quantize_static as quantize

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            self._samples = onnx_samples(source)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._samples, None)

    quantize(
        of_opset_21(source) if "16" in activations else source,
        output,
        Reader(),
        per_channel=True,
        activation_type=QuantType[activations],
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
    )


def of_opset_21(source: Path) -> Path:
    """Return a copy of a model's graph that names opset 21; its weights stay where they are.

    The quantizer wants it for 16 bits, and would convert the whole model in memory, which fails
    above the 2 GB of a protobuf. All operators of these denoisers are the same in both.
    """
    import onnx

    model = onnx.load(source, load_external_data=False)
    for used in model.opset_import:
        if used.domain in ("", "ai.onnx"):
            used.version = max(used.version, 21)
    copy = source.with_name("opset-21.onnx")
    onnx.save(model, copy)
    return copy


def onnx_samples(source: Path) -> Iterator[dict[str, Any]]:
    import onnx

    model = onnx.load(source, load_external_data=False)
    generator = np.random.default_rng(0)
    for _ in range(SAMPLES):
        yield {
            each.name: random_input(
                generator,
                [axis.dim_value or axis.dim_param for axis in each.type.tensor_type.shape.dim],
                onnx.helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type),
            )
            for each in model.graph.input
        }


def random_input(generator: Any, shape: list[int | str], dtype: Any) -> Any:
    """Return normal numbers of a shape; what has one axis is a timestep."""
    sizes = [_size(axis) if isinstance(axis, str) else int(axis) for axis in shape]
    if len(sizes) < 2:
        return np.full(sizes, 501).astype(dtype)
    return generator.standard_normal(sizes, np.float32).astype(dtype)


def _size(axis: str) -> int:
    return next((size for word, size in OPEN_AXES.items() if word in axis), 1)


def nncf_weights(source: Path, output: Path, mode: str) -> None:
    import nncf
    import openvino

    model = openvino.Core().read_model(source)
    options = {"ratio": 1.0, "group_size": 32} if mode.startswith("INT4") else {}
    made = nncf.compress_weights(model, mode=nncf.CompressWeightsMode[mode], **options)
    openvino.save_model(made, output, compress_to_fp16=False)


def nncf_quantize(source: Path, output: Path, *, hybrid: bool) -> None:
    """Quantize activations; `hybrid` as optimum-intel does it: kernels keep float activations."""
    import nncf
    import openvino

    model = openvino.Core().read_model(source)
    samples = list(openvino_samples(model))
    ignored = None
    if hybrid:
        kernels = [node for node in model.get_ops() if "Convolution" in node.get_type_name()]
        products = [node for node in model.get_ops() if node.get_type_name() == "MatMul"]
        model = nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT8_ASYM,
            ignored_scope=nncf.IgnoredScope(names=[it.get_friendly_name() for it in products]),
        )
        ignored = nncf.IgnoredScope(names=[it.get_friendly_name() for it in kernels])
    made = nncf.quantize(
        model,
        nncf.Dataset(samples),
        subset_size=len(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=ignored,
    )
    openvino.save_model(made, output, compress_to_fp16=False)


def openvino_samples(model: Any) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(0)
    sizes = {"sample": [2, 4, 33, 17], "encoder_hidden_states": [2, 77, 768]}
    for _ in range(SAMPLES):
        yield {
            port.get_any_name(): random_input(
                generator,
                sizes.get(port.get_any_name(), [1]),
                port.get_element_type().to_dtype(),
            )
            for port in model.inputs
        }


def litert(source: Path, output: Path, recipe: str) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from litert_export import quantize

    for part in files_of(source):
        if recipe.startswith("static"):
            generator = np.random.default_rng(0)
            (signature,) = Interpreter(str(part)).get_signature_list()
            inputs = Interpreter(str(part)).get_signature_runner(signature).get_input_details()
            np.savez(
                part.with_suffix(".npz"),
                **{
                    f"{index}.{name}": random_input(generator, list(each["shape"]), each["dtype"])
                    for index in range(SAMPLES)
                    for name, each in inputs.items()
                },
            )
        quantize(part, recipe, output.with_name(part.name), repair=True)


def files_of(source: Path) -> tuple[Path, ...]:
    """Return a denoiser's files: TFLite has 2 GB in one, and `model.2.tflite` beside it."""
    return source, *sorted(source.parent.glob(f"{source.stem}.[0-9]*{source.suffix}"))


def coremltools(source: Path, output: Path, recipe: str) -> None:
    from coreml_export import compress

    compress(source, recipe, output)


WAYS: Mapping[str, Mapping[str, Callable[[Path, Path], None]]] = {
    "onnx": {
        "quantize_dynamic": quantize_dynamic,
        "MatMulNBits, 8 bits": lambda source, output: matmul_nbits(source, output, 8),
        "MatMulNBits, 4 bits": lambda source, output: matmul_nbits(source, output, 4),
        "quantize_static, QUInt8": lambda source, output: quantize_static(source, output, "QUInt8"),
        "quantize_static, QUInt16": lambda source, output: quantize_static(
            source, output, "QUInt16"
        ),
    },
    "openvino": {
        **{
            f"compress_weights, {mode}": lambda source, output, mode=mode: nncf_weights(
                source, output, mode
            )
            for mode in ("INT8_SYM", "INT4_SYM", "INT4_ASYM")
        },
        "quantize, hybrid": lambda source, output: nncf_quantize(source, output, hybrid=True),
        "quantize": lambda source, output: nncf_quantize(source, output, hybrid=False),
    },
    "tflite": {
        name: lambda source, output, name=name: litert(source, output, name)
        for name in (
            "fp16", "dynamic_wi8_afp32", "weight_only_wi8_afp32", "static_wi8_ai8",
            "static_wi8_ai16", "dynamic_wi4b32_afp32", "dynamic_wi4c_afp32",
        )
    },
    "coreml": {
        name: lambda source, output, name=name: coremltools(source, output, name)
        for name in ("int8", "int4", "palette8", "palette6", "palette4", "palette4-grouped")
    },
}  # fmt: skip


def main(arguments: list[str]) -> int:
    target, source, way, output = arguments
    WAYS[target][way](Path(source), Path(output))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
