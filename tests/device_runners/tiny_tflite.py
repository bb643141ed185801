"""Writes tiny `.tflite` files, and a package's manifest around components of any target."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """`output = input × weight^T`, or a cast of the input where there is no weight."""

    input: str
    output: str
    weight: Array | None = None


def write_tflite(
    path: Path,
    inputs: Mapping[str, Array],
    layers: Sequence[Layer],
    outputs: Sequence[str],
    signature: str = "serving_default",
) -> None:
    """Write a graph of layers; `inputs` are arrays of the inputs' shapes and types."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as tfl

    model = tfl.ModelT(version=3, buffers=[tfl.BufferT()], signatureDefs=[tfl.SignatureDefT()])
    codes = (
        (tfl.BuiltinOperator.FULLY_CONNECTED, tfl.BuiltinOptions.FullyConnectedOptions),
        (tfl.BuiltinOperator.CAST, tfl.BuiltinOptions.CastOptions),
    )
    model.operatorCodes = [
        tfl.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code) for code, _ in codes
    ]
    graph = tfl.SubGraphT(tensors=[], operators=[])
    model.subgraphs = [graph]
    places: dict[str, int] = {}
    types = {"float32": tfl.TensorType.FLOAT32, "int64": tfl.TensorType.INT64}

    def add(name: str, shape: Sequence[int], dtype: str, data: bytes | None = None) -> int:
        tensor = tfl.TensorT(name=name, shape=list(shape), type=types[dtype])
        if data is not None:
            model.buffers.append(tfl.BufferT(data=np.frombuffer(data, np.uint8)))
            tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
        places[name] = len(graph.tensors) - 1
        return places[name]

    for name, value in inputs.items():
        add(name, value.shape, value.dtype.name)
    for layer in layers:
        source, shape = places[layer.input], graph.tensors[places[layer.input]].shape
        operator = tfl.OperatorT(inputs=[source])
        if layer.weight is None:
            operator.opcodeIndex, operator.builtinOptions = 1, tfl.CastOptionsT()
            target = add(layer.output, shape, "float32")
        else:
            weight = layer.weight
            operator.opcodeIndex, operator.builtinOptions = 0, tfl.FullyConnectedOptionsT()
            operator.builtinOptions.keepNumDims = True
            data = weight.astype(np.float32).tobytes()
            constant = add(f"{layer.output}.weight", weight.shape, "float32", data)
            operator.inputs = [source, constant, -1]
            target = add(layer.output, (*shape[:-1], weight.shape[0]), "float32")
        operator.builtinOptionsType = codes[operator.opcodeIndex][1]
        operator.outputs = [target]
        graph.operators.append(operator)
    graph.inputs = [places[name] for name in inputs]
    graph.outputs = [places[name] for name in outputs]
    (defined,) = model.signatureDefs
    defined.signatureKey, defined.subgraphIndex = signature, 0
    defined.inputs = [tfl.TensorMapT(name=name, tensorIndex=places[name]) for name in inputs]
    defined.outputs = [tfl.TensorMapT(name=name, tensorIndex=places[name]) for name in outputs]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(builder.Output())


def write_manifest(
    folder: Path,
    target: str,
    path: str,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Sequence[int]],
    *,
    storage: str = "float32",
    rules: Sequence[Mapping[str, str]] = (),
) -> None:
    """Write `edgegen.json` of a package whose one component, a unet, is the file `path`."""

    def spec(name: str, dtype: str, shape: Sequence[int]) -> dict[str, Any]:
        return {"name": name, "dtype": dtype, "shape": list(shape)}

    files = sorted(file for file in folder.rglob("*") if file.is_file())
    manifest = {
        "schema_version": 2,
        "source": {"model": "tiny"},
        "family": "unconditional",
        "facts": {
            "guidance": "none",
            "takes_text": False,
            "takes_negative_prompt": False,
            "starts": ["noise"],
        },
        "pipeline_class": "DDPMPipeline",
        "generation": {"width": 8, "height": 8, "latent_channels": 3},
        "target": target,
        "recipe": {
            "name": "mine",
            "storage": storage,
            "rules": list(rules),
            "tolerance": {
                "component_psnr_db": 40.0,
                "trajectory_psnr_db": 40.0,
                "image_psnr_db": 40.0,
            },
        },
        "components": [
            {
                "spec": {
                    "name": "unet",
                    "role": "denoiser",
                    "inputs": [spec(n, v.dtype.name, v.shape) for n, v in inputs.items()],
                    "outputs": [spec(n, "float32", shape) for n, shape in outputs.items()],
                },
                "path": path,
            }
        ],
        "files": [
            {"path": file.relative_to(folder).as_posix(), "sha256": "0" * 64, "size_bytes": 0}
            for file in files
        ],
    }
    (folder / "edgegen.json").write_text(json.dumps(manifest), encoding="utf-8")
