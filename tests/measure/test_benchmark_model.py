"""benchmark_model: its command line, and its output (data/benchmark_model/README.md says whose)."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.errors import ConfigError, RunnerError
from edgegen.measure.benchmark_model import Accelerator, BenchmarkModelOptions, command
from edgegen.measure.benchmark_output import (
    BenchmarkModelResult,
    Delegation,
    RunTimes,
    parse,
)

RECORDED = Path(__file__).parent / "data" / "benchmark_model"
GPU = BenchmarkModelOptions(accelerator="gpu")
CPU = BenchmarkModelOptions()


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text(encoding="utf-8")


def result(name: str, accelerator: Accelerator) -> BenchmarkModelResult:
    return parse(recorded(name), BenchmarkModelOptions(accelerator=accelerator))


# ---- times and memory


def test_times_and_memory_are_read_in_milliseconds_and_bytes() -> None:
    found = result("gpu_all", "gpu")
    assert found.load_ms == 5664.363
    assert found.warmup == RunTimes(
        count=2,
        first_ms=328.14,
        minimum_ms=309.932,
        maximum_ms=328.14,
        mean_ms=319.036,
        deviation_ms=9.104,
        p5_ms=309.932,
        median_ms=328.14,
        p95_ms=328.14,
    )
    assert found.inference == RunTimes(
        count=50,
        first_ms=307.215,
        minimum_ms=305.938,
        maximum_ms=333.03,
        mean_ms=309.35,
        deviation_ms=4.411,
        p5_ms=306.372,
        median_ms=307.968,
        p95_ms=315.711,
    )
    assert found.load_footprint_bytes == found.footprint_bytes == round(375.48 * 2**20)
    assert found.peak_memory_bytes is None


def test_a_peak_is_read_where_it_was_asked_for() -> None:
    assert result("gpu_part", "gpu").peak_memory_bytes == round(142.5 * 2**20)


def test_a_single_warm_up_run_has_its_time_and_no_deviation() -> None:
    warmup = result("cpu", "cpu").warmup
    assert warmup is not None
    assert (warmup.count, warmup.first_ms, warmup.mean_ms) == (1, 670.083, 670.083)
    assert warmup.deviation_ms is None


def test_an_older_tool_tells_no_percentiles_and_no_memory_here() -> None:
    found = result("gpu_all_2020", "gpu")
    assert found.inference.mean_ms == 119.375
    assert found.inference.median_ms is None
    assert found.footprint_bytes is None


def test_runs_that_all_took_the_same_time_are_read() -> None:
    text = recorded("cpu").replace("count=1 curr=670083 p5", "count=3 curr=670083(all same) p5")
    warmup = parse(text, CPU).warmup
    assert warmup is not None
    assert (warmup.count, warmup.minimum_ms, warmup.maximum_ms) == (3, 670.083, 670.083)


def test_numbers_with_an_exponent_are_read() -> None:
    text = recorded("cpu").replace("avg=699438", "avg=1.23457e+06")
    assert parse(text, CPU).inference.mean_ms == 1234.57


def test_litert_s_own_tool_is_read_from_its_exact_lines() -> None:
    found = parse(recorded("litert_cpu"), BenchmarkModelOptions(tool="litert"))
    assert found.inference.mean_ms == pytest.approx(0.464545)  # its table says 0.46
    assert found.inference.count == 2112
    assert found.load_ms == 4.48


def test_litert_s_table_alone_is_enough() -> None:
    found = parse(recorded("litert_gpu"), BenchmarkModelOptions(tool="litert", accelerator="gpu"))
    assert found.load_ms == 23744.73
    assert found.warmup == RunTimes(count=1, first_ms=7441.04, mean_ms=7441.04)
    assert found.inference == RunTimes(
        count=10, minimum_ms=7416.4, maximum_ms=7448.86, mean_ms=7430.2, deviation_ms=9.92
    )
    assert found.footprint_bytes == round(6391.74 * 2**20)
    assert found.peak_memory_bytes is None


# ---- what ran where


@pytest.mark.parametrize(
    ("name", "accelerator", "coverage", "ran_on", "fell_back"),
    [
        ("cpu", "cpu", None, "cpu", False),
        ("gpu_all", "gpu", "all", "gpu", False),
        ("gpu_all_2020", "gpu", "all", "gpu", False),
        ("gpu_part", "gpu", "part", "gpu and cpu", False),
        ("gpu_none", "gpu", "none", "cpu", True),
        ("nnapi_part_logcat", "nnapi", "part", "nnapi and cpu", False),
        ("gpu_all", "nnapi", "none", "cpu", True),  # the GPU took it, NNAPI got nothing
        ("cpu", "gpu", "none", "cpu", True),  # a GPU that was never applied
        ("litert_cpu", "gpu", "none", "cpu", True),
        ("litert_gpu", "gpu", None, "gpu or cpu", False),  # this part of the output does not say
    ],
)
def test_a_silent_fallback_is_seen(
    name: str, accelerator: Accelerator, coverage: str | None, ran_on: str, fell_back: bool
) -> None:
    found = result(name, accelerator)
    assert (found.coverage, found.ran_on, found.fell_back) == (coverage, ran_on, fell_back)


def test_the_share_of_each_delegate_is_told() -> None:
    found = result("gpu_part", "gpu")
    assert found.delegations == (
        Delegation(delegate="TfLiteGpuDelegateV2", nodes=97, all_nodes=297, partitions=9),
        Delegation(delegate="TfLiteXNNPackDelegate", nodes=120, all_nodes=204, partitions=31),
    )
    assert found.gpu_api == "OpenCL"


def test_operators_that_the_accelerator_refused_are_told_with_its_reason() -> None:
    assert result("gpu_part", "gpu").unsupported == (
        "ARG_MAX: Operation is not supported.",
        "CAST: Not supported cast case",
        "DEQUANTIZE:",
        "FLOOR_DIV: OP is supported, but tensor type/shape doesn't supported.",
    )


@pytest.mark.parametrize(
    ("line", "coverage"),
    [
        ("Replacing 2068 out of 2068 node(s) with delegate (LITERT_CL) node, yielding 1", "all"),
        ("Replacing 2000 out of 2068 node(s) with delegate (LITERT_CL) node, yielding 3", "part"),
        ("Replacing 0 out of 2068 node(s) with delegate (LITERT_CL) node, yielding 0", "none"),
        ("Replacing 293 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1", None),
        ("Replacing 9 out of 9 node(s) with delegate (SomethingNew) node, yielding 1", "none"),
    ],
)
def test_without_the_tool_s_verdict_the_runtime_s_hand_over_is_read(
    line: str, coverage: str | None
) -> None:
    text = f"INFO: {line} partitions for subgraph 0 (decode).\n" + recorded("litert_gpu")
    assert parse(text, BenchmarkModelOptions(tool="litert", accelerator="gpu")).coverage == coverage


def test_a_flag_that_the_tool_does_not_know_is_a_fallback() -> None:
    text = "WARN: Unconsumed cmdline flags: --use_npu=true --x=1\n" + recorded("litert_gpu")
    found = parse(text, BenchmarkModelOptions(tool="litert", accelerator="npu"))
    assert found.ignored_flags == ("--use_npu=true", "--x=1")
    assert found.fell_back


# ---- failures


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("failed_to_apply", "Failed to apply XNNPACK delegate", "try the CPU"),
        ("failed_require_all", "Disallowed CPU fallback detected", "Without require_all"),
    ],
)
def test_a_failure_keeps_the_tool_s_reason(name: str, message: str, hint: str) -> None:
    with pytest.raises(RunnerError, match=message) as caught:
        parse(recorded(name), GPU)
    assert hint in caught.value.hint


@pytest.mark.parametrize("lines", [0, 1, 12, 25])
def test_output_that_ends_early_has_no_results(lines: int) -> None:
    text = "\n".join(recorded("gpu_all").splitlines()[:lines])
    with pytest.raises(RunnerError, match="ended before it had results"):
        parse(text, GPU)


# ---- the command


def test_the_command_for_the_cpu_names_no_accelerator() -> None:
    assert command("/data/local/tmp/benchmark_model", "/data/local/tmp/m.tflite", CPU) == [
        "/data/local/tmp/benchmark_model",
        "--graph=/data/local/tmp/m.tflite",
        "--num_runs=50",
        "--warmup_runs=1",
        "--enable_op_profiling=false",
    ]


def test_the_command_for_a_gpu_has_each_wish() -> None:
    options = BenchmarkModelOptions(
        accelerator="gpu",
        threads=4,
        runs=200,
        warmup_runs=5,
        minimum_s=0,
        warmup_s=0.5,
        require_all=True,
        half_precision=False,
        gpu_backend="cl",
        measure_peak_memory=True,
    )
    assert command("b", "m", options)[2:] == [
        "--num_runs=200",
        "--warmup_runs=5",
        "--num_threads=4",
        "--min_secs=0",
        "--warmup_min_secs=0.5",
        "--report_peak_memory_footprint=true",
        "--require_full_delegation=true",
        "--enable_op_profiling=false",
        "--use_gpu=true",
        "--gpu_precision_loss_allowed=false",
        "--gpu_backend=cl",
    ]


def test_litert_s_tool_may_not_use_the_cpu_where_all_must_be_taken() -> None:
    wanted = BenchmarkModelOptions(
        tool="litert", accelerator="npu", require_all=True, dispatch_folder="/data/local/tmp"
    )
    flags = command("b", "m", wanted)
    assert {"--use_cpu=false", "--use_npu=true", "--require_full_delegation=true"} <= set(flags)
    assert "--dispatch_library_path=/data/local/tmp" in flags
    assert "--enable_op_profiling=false" not in flags  # it does not know it


@pytest.mark.parametrize(
    "options",
    [
        BenchmarkModelOptions(tool="tflite", accelerator="npu"),
        BenchmarkModelOptions(tool="litert", accelerator="nnapi"),
        BenchmarkModelOptions(tool="tflite", accelerator="cpu", require_all=True),
        BenchmarkModelOptions(tool="litert", accelerator="cpu", require_all=True),
    ],
    ids=str,
)
def test_what_a_tool_cannot_do_is_refused(options: BenchmarkModelOptions) -> None:
    with pytest.raises(ConfigError):
        command("b", "m", options)
