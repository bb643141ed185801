"""Exports a network of a few operators into any target, and computes with it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from safetensors.torch import save_file

from edgegen.core.model import Component, TensorSpec
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.exporters import capture
from edgegen.exporters.base import ExportJob, OpenedComponent, load_exporter
from edgegen.mil.executor.program import MilProgram
from edgegen.models.binding import bind
from edgegen.models.pipeline_source import folder_source
from edgegen.models.weights import Weights
from edgegen.networks.base import KeyRules
from tests.exporters.harness import Heard

FIXED_TARGETS = ("tflite", "coreml")
TARGETS = ("onnx", "openvino", *FIXED_TARGETS)
Arrays = Mapping[str, NDArray[Any]]


class Wrapped(torch.nn.Module):
    """A network, with its results as a tuple."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results = self.network(*inputs)
        return results if isinstance(results, tuple) else (results,)


class Function(torch.nn.Module):
    """A function of tensors as a network without weights."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*inputs)


def compute(
    target: str,
    network: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    folder: Path,
    *,
    open_batch: bool = False,
    recipe: str = "fp32",
    **options: Any,
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Return a network's results by torch and by a target's runtime.

    With `open_batch` the first axis of every input stays open where the target allows that.
    """
    network = network.eval()
    wrapped = Wrapped(network)
    with torch.no_grad():
        expected = [result.numpy() for result in wrapped(*inputs)]
    component = _component(inputs, expected, open_batch and target not in FIXED_TARGETS)
    parameters = {name: value.detach().clone() for name, value in network.named_parameters()}
    save_file(parameters, folder / "model.safetensors")
    opened = _opened(component, network, wrapped, folder)
    job = ExportJob(
        target=target,
        component=component,
        source=folder_source(folder),
        destination=str(folder),
        recipe=load_recipe(recipe, load_target(target)),
        shapes="fixed",
        options=options,
    )
    result = load_exporter(target).export(job, opened, Heard())
    values = {f"in_{place}": value.numpy() for place, value in enumerate(inputs)}
    found = RUN[target](folder / result.path, values, recipe)
    return expected, [found[f"out_{place}"] for place in range(len(expected))]


def _component(
    inputs: Sequence[torch.Tensor], outputs: Sequence[NDArray[Any]], open_batch: bool
) -> Component:
    def spec(name: str, shape: Sequence[int], dtype: Any) -> TensorSpec:
        axes = ("batch", *shape[1:]) if open_batch else tuple(shape)
        return TensorSpec(name=name, dtype=dtype, shape=axes)

    return Component(
        name="unet",
        role="denoiser",
        folder="",
        class_name="UNet2DConditionModel",
        inputs=tuple(
            spec(f"in_{place}", value.shape, str(value.dtype).removeprefix("torch."))
            for place, value in enumerate(inputs)
        ),
        outputs=tuple(
            spec(f"out_{place}", value.shape, "float32") for place, value in enumerate(outputs)
        ),
        parameters=0,
    )


def _opened(
    component: Component, network: torch.nn.Module, wrapped: torch.nn.Module, folder: Path
) -> OpenedComponent:
    is_open = any(isinstance(axis, str) for tensor in component.inputs for axis in tensor.shape)
    captured = capture.trace(component, network, wrapped, shapes="dynamic" if is_open else "fixed")
    weights = Weights.open(folder)
    bound = bind(weights, captured.parameter_shapes, KeyRules())
    return OpenedComponent(capture=captured, weights=weights, bound=bound)


def _onnx(path: Path, values: Arrays, _: str) -> Arrays:
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = {tensor.name for tensor in session.get_inputs()}
    return dict(
        zip(
            names, session.run(names, {n: v for n, v in values.items() if n in wanted}), strict=True
        )
    )


def _openvino(path: Path, values: Arrays, _: str) -> Arrays:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    found = compiled(dict(values))
    return {port.any_name: found[port] for port in compiled.outputs}


def _tflite(path: Path, values: Arrays, _: str) -> Arrays:
    runner = Interpreter(str(path), num_threads=2).get_signature_runner()
    fed = {
        name: value if value.dtype == np.int64 else value.astype(np.float32)
        for name, value in values.items()
    }
    found: Arrays = runner(**fed)
    return found


def _coreml(path: Path, values: Arrays, recipe: str) -> Arrays:
    program = MilProgram(path, rounds=recipe == "fp16")
    found: Arrays = program.run({name: v.astype(np.float32) for name, v in values.items()})
    return found


RUN: Mapping[str, Callable[[Path, Arrays, str], Arrays]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "tflite": _tflite,
    "coreml": _coreml,
}
