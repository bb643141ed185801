"""What sampling the sensors and telling events costs, as a share of an image's processor time.

    python benchmarks/sensor_overhead.py [PACKAGE] [--rounds N] [--block S] [--interval S]

Without PACKAGE, `builtin:emoji` is packaged for ONNX first. One process draws images in blocks of a
few seconds: bare, with events, with sensors, with both. Each round runs all four, in an order that
turns, and compares each with the bare block of its own round: what the machine does slowly cancels
out. Processor time is that of all threads, and of the tools that sensors start. The sensor thread's
own time is told beside it, which noise does not hide; the goal is 1 %.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import read_machine
from benchmarks.runner_overhead import GOAL, PROMPT, package_emoji
from edgegen.core.shipped import shipped

VARIANTS = ("bare", "events", "sensors", "both")


@dataclass(frozen=True, slots=True)
class Block:
    """Images of one variant: seconds of the processor and of the clock, an image."""

    images: int
    cpu_s: float
    wall_s: float


class SensorCost:
    """Takes the sensor thread's events, and notes what the thread has used until then."""

    def __init__(self, emit: Any) -> None:
        self.samples = 0
        self.thread_s = 0.0
        self.reading_s: list[float] = []
        self.sensors = 0
        self._emit = emit

    def __call__(self, event: str, **fields: Any) -> None:
        self._emit(event, **fields)
        self.samples += 1
        self.thread_s = time.thread_time()  # the sensor thread calls this
        self.reading_s.append(fields["cost_s"])
        self.sensors = len(fields["values"])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--block", type=float, default=5.0, help="seconds of a block")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two samples")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    machine = read_machine()
    sys.path.insert(0, str(shipped("device_runners") / "python"))
    with tempfile.TemporaryDirectory() as scratch:
        package = options.package or package_emoji(Path(scratch, "emoji"))
        rounds, costs = _measure(package, options)
    print(machine.describe())
    print(f"{options.rounds} rounds of blocks of {options.block:g} s, {options.threads} threads\n")
    print(f"{'':<10}{'processor an image':>20}{'more than bare':>18}{'deviation':>12}{'wall':>12}")
    for name in VARIANTS:
        shares = [each[name].cpu_s / each["bare"].cpu_s - 1 for each in rounds]
        walls = [each[name].wall_s / each["bare"].wall_s - 1 for each in rounds]
        share = statistics.median(shares)
        deviation = statistics.median(abs(value - share) for value in shares)
        cpu_ms = 1e3 * statistics.median(each[name].cpu_s for each in rounds)
        print(
            f"{name:<10}{cpu_ms:>17.2f} ms{share:>17.2%} {deviation:>11.2%}"
            f"{statistics.median(walls):>12.2%}"
        )
    return _judge(rounds, costs, options.interval)


def _judge(
    rounds: Sequence[dict[str, Block]], costs: Sequence[SensorCost], interval_s: float
) -> int:
    """Print what the sensor thread used by itself, and return 0 where that is below the goal."""
    samples = sum(cost.samples for cost in costs)
    used_s = sum(cost.thread_s for cost in costs) / samples
    reading_s = statistics.median(value for cost in costs for value in cost.reading_s)
    busy = statistics.median(
        block.cpu_s / block.wall_s for each in rounds for block in each.values()
    )
    share = used_s / interval_s / busy
    print(
        f"\nThe sensor thread: {costs[0].sensors} sensors, {samples} samples, "
        f"{1e3 * used_s:.2f} ms of the processor each (finding them included), "
        f"{1e3 * reading_s:.2f} ms of the clock to read."
    )
    print(f"At one sample in {interval_s:g} s: {share:.2%} of the processor time; goal {GOAL:.0%}.")
    return 0 if share <= GOAL else 1


def _measure(
    package: Path, options: argparse.Namespace
) -> tuple[list[dict[str, Block]], list[SensorCost]]:
    from edgegen_runner.backends import BackendOptions, open_backend
    from edgegen_runner.package import load_package
    from edgegen_runner.protocol import EventWriter
    from edgegen_runner.request import Request
    from edgegen_runner.sensors.readers import SensorThread
    from edgegen_runner.session import Image, Session

    sink = os.open(os.devnull, os.O_WRONLY)
    writer = EventWriter(sink)
    told = [False]

    def emit(event: str, **fields: Any) -> None:
        if told[0]:
            writer(event, **fields)

    backend = open_backend(BackendOptions(threads=options.threads))
    session = Session(load_package(package), backend, Request(prompts=(PROMPT,)), "all", emit)
    session.load()
    costs: list[SensorCost] = []

    def draw(variant: str, seconds: float) -> Block:
        told[0] = variant in ("events", "both")
        sensors = None
        if variant in ("sensors", "both"):
            costs.append(SensorCost(writer))
            sensors = SensorThread(options.interval, costs[-1])
        began_s, cpu_s = time.perf_counter(), _processor_s()
        if sensors is not None:
            sensors.start()
        images = 0
        while images == 0 or time.perf_counter() - began_s < seconds:
            _, fields = session.draw(Image(images, images, PROMPT, warmup=False))
            emit("image_end", **fields, path=None)
            images += 1
        wall_s = time.perf_counter() - began_s
        if sensors is not None:
            sensors.stop()
        return Block(images, (_processor_s() - cpu_s) / images, wall_s / images)

    draw("bare", options.block)  # a warm-up
    rounds = []
    for number in range(options.rounds):
        turned = VARIANTS[number % 4 :] + VARIANTS[: number % 4]
        order = turned if number % 2 == 0 else turned[::-1]
        rounds.append({variant: draw(variant, options.block) for variant in order})
    os.close(sink)
    return rounds, costs


def _processor_s() -> float:
    """Return the seconds of all threads so far, and of the tools that have ended."""
    tools = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + tools.ru_utime + tools.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
