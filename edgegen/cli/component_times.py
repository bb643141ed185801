"""`edgegen bench --benchmark-model`: the components of a package, timed one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.cli.console import Console
from edgegen.cli.on_device import attached
from edgegen.core.units import format_duration

if TYPE_CHECKING:
    from edgegen.measure.components import ComponentTime, ComponentTimes


def bench_components(
    console: Console,
    package: Path,
    device: str,
    program: str,
    *,
    tool: str,
    accelerator: str,
    settings: Mapping[str, Any],
    as_json: bool,
    json_file: Path | None,
) -> None:
    """Measure the components and show them, or write them as JSON."""
    from edgegen.core.codec import dump_json
    from edgegen.core.files import write_atomic
    from edgegen.measure.benchmark_model import BenchmarkModelOptions
    from edgegen.measure.components import measure_components

    options = BenchmarkModelOptions(
        tool=tool,  # type: ignore[arg-type]  # click checked
        accelerator=accelerator,  # type: ignore[arg-type]  # click checked
        threads=settings["threads"],
    )
    with attached(device, console.progress, console.note) as connected:
        times = measure_components(
            package,
            connected,
            program,
            options,
            steps=settings["steps"],
            guidance=settings["guidance"],
            progress=console.progress,
        )
    if json_file is not None:
        write_atomic(json_file, dump_json(times))
    if as_json:
        console.json(times)
    else:
        _show(console, times)


def _show(console: Console, times: ComponentTimes) -> None:
    where = times.device_model or times.device
    if times.emulated:
        console.print(f"{times.model} on {where}, EMULATED: its times mean nothing.")
        rows = [(each.component, each.result.ran_on) for each in times.components]
        console.table("Components", ("component", "ran on"), rows)
        return
    guided = "with" if times.guided else "without"
    console.table(
        f"{times.model}, {times.recipe}, on {where}",
        ("component", "ran on", "load", "first", "mean", "deviation", "calls", "in an image"),
        [_row(each) for each in times.components],
        [
            f"Sum of the components: {format_duration(times.sum_s)} for {times.steps} steps "
            f"{guided} guidance. It is no image's latency: the scheduler and what lies between "
            "the calls are not in it.",
        ],
    )
    for each in times.components:
        if each.result.ran_on not in (each.result.accelerator, "cpu"):
            console.warn(f"{each.component} ran on {each.result.ran_on}.")


def _row(each: ComponentTime) -> tuple[str | int | None, ...]:
    result, inference = each.result, each.result.inference
    return (
        each.component,
        result.ran_on,
        _ms(result.load_ms),
        _ms(inference.first_ms),
        _ms(inference.mean_ms),
        _ms(inference.deviation_ms),
        each.calls,
        format_duration(each.image_s),
    )


def _ms(value_ms: float | None) -> str | None:
    return None if value_ms is None else format_duration(value_ms / 1e3)
