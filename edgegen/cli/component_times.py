"""`edgegen bench --benchmark-model`: the components of a package, timed one by one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.cli.console import Console
from edgegen.cli.on_device import attached
from edgegen.core.units import format_duration

if TYPE_CHECKING:
    from edgegen.measure.benchmark_model import BenchmarkModelOptions
    from edgegen.measure.components import ComponentTime, ComponentTimes


def bench_components(
    console: Console,
    package: Path,
    device: str,
    program: str,
    options: BenchmarkModelOptions,
    *,
    steps: int | None,
    guidance: float | None,
) -> ComponentTimes:
    from edgegen.measure.components import measure_components

    with attached(device, console.progress, console.note) as connected:
        return measure_components(
            package,
            connected,
            program,
            options,
            steps=steps,
            guidance=guidance,
            progress=console.progress,
        )


def show(console: Console, times: ComponentTimes) -> None:
    """Show what each component took; an emulated processor's times mean nothing."""
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
