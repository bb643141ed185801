"""The command line of benchmark_model, TensorFlow Lite's or LiteRT's.

It is the only way to a phone's GPU or NPU without an app. Two tools have that name, and know
different flags: TensorFlow Lite's (in LiteRT's repository, tflite/tools/benchmark) and LiteRT's own
(litert/tools). benchmark_output.py reads what they print.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgegen.core.errors import ConfigError

Tool = Literal["tflite", "litert"]
Accelerator = Literal["cpu", "gpu", "nnapi", "npu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkModelOptions:
    """What to run. None leaves a choice to the tool.

    With `require_all` the run fails where the accelerator cannot take the whole graph.
    `minimum_s` repeats the runs for at least that long, whatever `runs` says, and `warmup_s` does
    the same for the warm-up; the tool's own values are 1 and 0.5 s. `gpu_backend` is cl or gl
    (litert: webgpu). `dispatch_folder` is where the NPU's dispatch library lies on the device.
    """

    tool: Tool = "tflite"
    accelerator: Accelerator = "cpu"
    threads: int | None = None
    runs: int = 50
    warmup_runs: int = 1
    minimum_s: float | None = None
    warmup_s: float | None = None
    require_all: bool = False
    half_precision: bool | None = None
    gpu_backend: str | None = None
    dispatch_folder: str | None = None
    measure_peak_memory: bool = False


def command(program: str, graph: str, options: BenchmarkModelOptions) -> list[str]:
    """Return the argument list that runs the tool; both paths are the device's.

    Raises ConfigError for what the tool cannot do.
    """
    if options.require_all and options.accelerator == "cpu":
        raise ConfigError("The CPU isn't an accelerator that could take the whole graph.")
    own = _litert_flags(options) if options.tool == "litert" else _tflite_flags(options)
    flags: dict[str, object] = {
        "graph": graph,
        "num_runs": options.runs,
        "warmup_runs": options.warmup_runs,
        "num_threads": options.threads,
        "min_secs": options.minimum_s,
        "warmup_min_secs": options.warmup_s,
        "report_peak_memory_footprint": options.measure_peak_memory or None,
        "require_full_delegation": options.require_all or None,
        **own,
    }
    return [
        program,
        *(f"--{name}={_flag(value)}" for name, value in flags.items() if value is not None),
    ]


def _tflite_flags(options: BenchmarkModelOptions) -> dict[str, object]:
    if options.accelerator == "npu":
        raise ConfigError(
            "TensorFlow Lite's benchmark_model reaches an NPU only through NNAPI.",
            hint="Use LiteRT's benchmark_model, or the accelerator nnapi.",
        )
    flags: dict[str, object] = {"enable_op_profiling": False}
    if options.accelerator == "gpu":
        flags["use_gpu"] = True
        flags["gpu_precision_loss_allowed"] = options.half_precision
        flags["gpu_backend"] = options.gpu_backend
    elif options.accelerator == "nnapi":
        flags["use_nnapi"] = True
        flags["nnapi_allow_fp16"] = options.half_precision
    return flags


def _litert_flags(options: BenchmarkModelOptions) -> dict[str, object]:
    if options.accelerator == "nnapi":
        raise ConfigError(
            "LiteRT's benchmark_model knows no NNAPI.",
            hint="Use TensorFlow Lite's benchmark_model, or the accelerator npu.",
        )
    if options.accelerator == "cpu":
        return {"use_cpu": True}
    return {
        # It aborts where it may use the CPU and must not.
        "use_cpu": not options.require_all,
        f"use_{options.accelerator}": True,
        "allow_fp16": options.half_precision,
        "gpu_backend": options.gpu_backend,
        "dispatch_library_path": options.dispatch_folder,
    }


def _flag(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
