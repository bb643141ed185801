"""Who draws whole images in `whole_images.py`: one row a tool, a format and a type of weights."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.conversion import edgegen_command
from benchmarks.peer_environments import PEERS

SIDES = Path(__file__).with_name("image_sides")

CLASSES = ("float32", "16 bits", "8 bits", "4 bits")
"""Of weights, or of arithmetic where that is narrower; ratios are within a class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A way to draw. `environment` is a peer's, None for edgegen's own Python.

    `export` are arguments of optimum's command line that export the model for it, `package` is the
    target and recipe of edgegen's, and options of its command; without either, it reads the model's
    own folder. `options` go to its side.
    """

    name: str
    precision: str
    side: str
    environment: str | None = None
    export: tuple[str, ...] = ()
    package: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Return whether it is edgegen."""
        return bool(self.package)

    @property
    def python(self) -> Path | None:
        """Return the interpreter of its side; None where its environment is missing."""
        if self.environment is None:
            return Path(sys.executable)
        return PEERS[self.environment].python

    @property
    def files(self) -> str:
        """Return what names the files that it draws with; contestants may share them."""
        return (
            "-".join(self.package or self.export or ("model",)).replace("--", "").replace("/", "")
        )

    def command(self, model: Path, output: Path) -> list[str] | None:
        """Return the command that makes its files; None where it reads the model's."""
        if self.package:
            target, recipe, *further = self.package
            return edgegen_command(model, output, target, recipe, "--skip-parity", *further)
        if not self.export or self.python is None:
            return None
        optimum = str(self.python.with_name("optimum-cli"))
        kind, *options = self.export
        task = ("--task", "text-to-image")
        return [optimum, "export", kind, "--model", str(model), *task, *options, str(output)]


def _ours(
    target: str,
    recipe: str,
    precision: str,
    backend: str,
    *further: str,
    **options: Any,
) -> Contestant:
    """Return edgegen with options of `package`, `further`, and of its runner."""
    told = "".join(f", {value}" for value in (*further[1::2], *options.values()))
    return Contestant(
        name=f"edgegen {target} {recipe}{told}",
        precision=precision,
        side="edgegen_side.py",
        package=(target, recipe, *further),
        options={"name": backend, **options},
    )


_FIXED = ("--shapes", "fixed")
_DRAWING = {"arithmetic": "bfloat16", "residency": "drawing"}


def _genai(weights: str, precision: str, computes: str | None, *further: str) -> Contestant:
    return Contestant(
        name=f"openvino_genai {weights}" + (f", {computes}" if computes else ""),
        precision=precision,
        side="genai_side.py",
        environment="openvino",
        export=("openvino", "--weight-format", weights, *further),
        options={"precision": computes} if computes else {},
    )


def _diffusers(dtype: str, precision: str, *, compiled: bool = False) -> Contestant:
    return Contestant(
        name=f"diffusers {dtype}" + (", compiled" if compiled else ""),
        precision=precision,
        side="diffusers_side.py",
        options={"dtype": dtype, "compiled": compiled},
    )


def _sdcpp(wtype: str, precision: str) -> Contestant:
    return Contestant(
        name=f"stable-diffusion.cpp {wtype}",
        precision=precision,
        side="sdcpp_side.py",
        environment="sdcpp",
        options={"wtype": wtype},
    )


CONTESTANTS = (
    _diffusers("float32", "float32"),
    _diffusers("float32", "float32", compiled=True),
    Contestant(
        name="optimum ORTDiffusionPipeline",
        precision="float32",
        side="optimum_side.py",
        environment="optimum",
        export=("onnx",),
    ),
    _genai("fp32", "float32", "f32"),
    _ours("onnx", "fp32", "float32", "onnxruntime"),
    _ours("openvino", "fp32", "float32", "openvino"),
    _ours("openvino", "fp32", "float32", "openvino", *_FIXED),
    _ours("openvino", "fp32", "float32", "openvino", *_FIXED, residency="drawing"),
    _ours("tflite", "fp32", "float32", "ai_edge_litert"),
    _diffusers("bfloat16", "16 bits"),
    _genai("fp16", "16 bits", None),
    _sdcpp("f16", "16 bits"),
    _ours("onnx", "fp16-storage", "16 bits", "onnxruntime"),
    _ours("openvino", "fp16-storage", "16 bits", "openvino"),
    _ours("openvino", "fp16-storage", "16 bits", "openvino", arithmetic="bfloat16"),
    _ours("openvino", "fp16-storage", "16 bits", "openvino", *_FIXED, arithmetic="bfloat16"),
    _ours("openvino", "fp16-storage", "16 bits", "openvino", *_FIXED, **_DRAWING),
    _ours("tflite", "fp16-storage", "16 bits", "ai_edge_litert"),
    _genai("int8", "8 bits", None),
    _sdcpp("q8_0", "8 bits"),
    _ours("onnx", "int8", "8 bits", "onnxruntime"),
    _ours("onnx", "int8-dynamic", "8 bits", "onnxruntime"),
    _ours("openvino", "int8", "8 bits", "openvino"),
    _ours("openvino", "int8", "8 bits", "openvino", arithmetic="bfloat16"),
    _ours("openvino", "int8", "8 bits", "openvino", *_FIXED, arithmetic="bfloat16"),
    _ours("openvino", "int8-static", "8 bits", "openvino", *_FIXED, arithmetic="bfloat16"),
    _ours("tflite", "int8-dynamic", "8 bits", "ai_edge_litert"),
    _genai("int4", "4 bits", None, *("--group-size", "64", "--group-size-fallback", "adjust")),
    _sdcpp("q4_0", "4 bits"),
    _ours("onnx", "int4", "4 bits", "onnxruntime"),
    _ours("openvino", "int4", "4 bits", "openvino"),
    _ours("openvino", "int4", "4 bits", "openvino", *_FIXED, arithmetic="bfloat16"),
    _ours("tflite", "int4-dynamic", "4 bits", "ai_edge_litert"),
)
"""diffusers in float32 is the first: the images of all are compared with its."""
