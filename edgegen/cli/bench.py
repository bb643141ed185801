"""`edgegen bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.bench_options import (
    amount_options,
    component_options,
    drawing_options,
    result_options,
    runtime_options,
)
from edgegen.cli.bench_result import BenchResult
from edgegen.cli.command import command
from edgegen.cli.completion import complete_package
from edgegen.cli.console import Console
from edgegen.cli.limit_options import limit_options, take_limits
from edgegen.cli.on_device import attached, device_option, patience_option, root_option
from edgegen.cli.on_package import check_package, verify_option
from edgegen.cli.plain_progress import PlainProgress
from edgegen.cli.shared_options import lora_input_option

if TYPE_CHECKING:
    from edgegen.measure.plan import BenchPlan


@command(
    examples=(
        "edgegen bench scenes/onnx-fp16-storage --quick",
        "edgegen bench my-package --device ssh://pi@raspberrypi.local --html report.html",
        "edgegen bench my-package --device adb://SERIAL --sustained 10m",
    ),
    groups={
        "Where": ("device", "patience_s", "start_c"),
        "How much": ("quick", "images", "restarts", "sustained_s", "only_plan"),
        "The package": ("verify",),
        "What is drawn": ("prompt", "negative_prompt", "seed", "width", "height"),
        "How": ("steps", "guidance", "scheduler", "loras"),
        "The runtime": (
            *("profile", "runtime", "providers", "threads", "arithmetic", "memory", "residency"),
            "max_memory",
        ),
        "Components only": ("benchmark_model", "benchmark_tool", "accelerator"),
        "The result": ("as_json", "json_file", "html_file", "no_history"),
    },
    ends_with=("MissingDependencyError", "DeviceError", "RunnerError", "IntegrityError"),
)
@click.argument("package", type=click.Path(path_type=Path), shell_complete=complete_package)
@device_option("local")
@root_option
@amount_options
@verify_option
@drawing_options
@lora_input_option
@runtime_options
@limit_options(("memory",))
@component_options
@patience_option
@result_options
@click.pass_context
def bench(
    context: click.Context,
    /,
    package: Path,
    device: str,
    verify: bool,
    patience_s: float,
    only_plan: bool,
    as_json: bool,
    json_file: Path | None,
    html_file: Path | None,
    no_history: bool,
    benchmark_model: str | None,
    benchmark_tool: str,
    accelerator: str,
    profile: str | None,
    loras: tuple[str, ...],
    **settings: Any,
) -> int:
    """Measure PACKAGE on a device (default: this machine).

    The golden case comes first: a device that makes another image is not timed. Then the cold load
    (files evicted from the page cache), steady images in several processes, and the peak memory in
    a run of its own. With --sustained one process makes images until the time is up instead. Ctrl-C
    ends it with what was measured by then.
    """
    from edgegen.cli import bench_output
    from edgegen.core.manifest import load_manifest
    from edgegen.devices.profiles import load_profile
    from edgegen.measure.plan import BenchSettings, plan

    console = context.find_object(Console) or Console()
    result = BenchResult(
        as_json=as_json,
        json_file=json_file,
        html_file=html_file,
        into_history=not no_history,
    )
    result.check()
    if benchmark_model is not None:
        from edgegen.cli.component_times import bench_components
        from edgegen.measure.benchmark_model import BenchmarkModelOptions

        options = BenchmarkModelOptions(
            tool=benchmark_tool,  # type: ignore[arg-type]  # click checked
            accelerator=accelerator,  # type: ignore[arg-type]  # click checked
            threads=settings["threads"],
        )
        steps, guidance = settings["steps"], settings["guidance"]
        times = bench_components(
            console, package, device, benchmark_model, options, steps=steps, guidance=guidance
        )
        result.write_components(console, times)
        return 0
    chosen = None if profile is None else load_profile(profile)
    limits = take_limits(settings, ("memory",))
    limit_bytes = next((int(limit.value) for limit in limits), None)
    if loras:
        from edgegen.packaging.lora_file import lora_for, named

        given = context.with_resource(lora_for(load_manifest(package), loras))
        settings |= {"loras": named(loras), "lora": given}
    planned = plan(package, BenchSettings(profile=chosen, max_memory_bytes=limit_bytes, **settings))
    if only_plan:
        bench_output.show_plan(console, planned, device, as_json=as_json)
        return 0
    check_package(console, package, load_manifest(package), device, verify=verify)
    bench_output.announce(console, planned, device)
    return _measure(console, planned, device, patience_s, result)


def _measure(
    console: Console, planned: BenchPlan, device: str, patience_s: float, result: BenchResult
) -> int:
    """Measure, write the result, cut short or not, and return the exit code."""
    from edgegen.core.scratch import ScratchFolder
    from edgegen.measure.cut_short import CutShortError
    from edgegen.measure.session import measure

    # Lines, not bars: drawing bars took 1.6 % of a core, which the runtime's threads want too.
    progress = PlainProgress(console.note)
    with ScratchFolder("bench") as folder:
        try:
            with attached(device, progress, console.note) as connected:
                measurement = measure(
                    planned,
                    progress,
                    device=connected,
                    patience_s=patience_s,
                    pictures=folder,
                    say=console.note,
                )
        except CutShortError as cut:
            result.write(console, cut.measurement, folder)
            return result.end(console, cut)
        result.write(console, measurement, folder)
    return 0
