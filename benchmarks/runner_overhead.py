"""How much of an image's time the runner spends outside of the runtime's own calls.

    python benchmarks/runner_overhead.py [PACKAGE] [--images N] [--size PX] [--memory lean|fast]

Without PACKAGE, `builtin:emoji` is packaged for ONNX first. An image is text, all steps and
decode, with all events written as the protocol wants; the writing of the PNG file is no part of it.
One thread computes, so that its processor time can be split exactly, whatever else the machine
does; the wall-clock split of the same images is shown beside it. Medians over the images; the goal
is 1 %.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.process import run
from edgegen.core.shipped import shipped

GOAL = 0.01
PROMPT = "a red apple"


@dataclass(slots=True)
class Clock:
    """Seconds inside the runtime's calls so far."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


class TimedBackend:
    """A backend that counts the time inside the sessions of another."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.clock = Clock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def load(self, path: Path, component: Any) -> Any:
        session = self.backend.load(path, component)
        plain, clock = session.run, self.clock

        def timed(*arguments: Any) -> Any:
            wall_s, cpu_s = time.perf_counter(), time.thread_time()
            values = plain(*arguments)
            clock.cpu_s += time.thread_time() - cpu_s
            clock.wall_s += time.perf_counter() - wall_s
            return values

        session.run = timed
        return session


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: in all, and inside the runtime."""

    wall_s: float
    wall_inside_s: float
    cpu_s: float
    cpu_inside_s: float


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--size", type=int, help="width and height in pixels")
    parser.add_argument("--warmups", type=int, default=2)
    parser.add_argument("--memory", choices=("auto", "lean", "fast"), default="auto")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(shipped("device_runners") / "python"))
    with tempfile.TemporaryDirectory() as scratch:
        package = options.package or package_emoji(Path(scratch, "emoji"))
        samples = _measure(package, options)
    rows = {
        "processor": [(s.cpu_s, s.cpu_inside_s) for s in samples],
        "wall clock": [(s.wall_s, s.wall_inside_s) for s in samples],
    }
    print(f"{'':<12}{'an image':>14}{'in the runtime':>18}{'outside':>14}{'share':>10}")
    for name, pairs in rows.items():
        total_ms = 1e3 * statistics.median(total for total, _ in pairs)
        inside_ms = 1e3 * statistics.median(inside for _, inside in pairs)
        outside_ms = 1e3 * statistics.median(total - inside for total, inside in pairs)
        share = statistics.median(1 - inside / total for total, inside in pairs)
        print(
            f"{name:<12}{total_ms:>11.2f} ms{inside_ms:>15.2f} ms"
            f"{outside_ms:>11.2f} ms{share:>10.2%}"
        )
    share = statistics.median(1 - s.cpu_inside_s / s.cpu_s for s in samples)
    load = os.getloadavg()[0]
    print(f"\noutside of the runtime: {share:.2%} of the processor time; the goal is {GOAL:.0%}")
    print(f"({len(samples)} images, load average {load:.1f})")
    return 0 if share <= GOAL else 1


def _measure(package: Path, options: argparse.Namespace) -> list[Sample]:
    from edgegen_runner.backends import BackendOptions, open_backend
    from edgegen_runner.package import load_package
    from edgegen_runner.protocol import EventWriter
    from edgegen_runner.request import Request
    from edgegen_runner.session import Image, Session

    sink = os.open(os.devnull, os.O_WRONLY)
    backend = TimedBackend(open_backend(BackendOptions(threads=1, memory=options.memory)))
    request = Request(
        prompts=(PROMPT,), steps=options.steps, width=options.size, height=options.size
    )
    session = Session(load_package(package), backend, request, "all", EventWriter(sink))
    session.load()
    samples = []
    for index in range(options.images + options.warmups):
        clock = Clock(backend.clock.wall_s, backend.clock.cpu_s)
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        session.draw(Image(index, index, PROMPT, warmup=index < options.warmups))
        sample = Sample(
            wall_s=time.perf_counter() - wall_s,
            wall_inside_s=backend.clock.wall_s - clock.wall_s,
            cpu_s=time.thread_time() - cpu_s,
            cpu_inside_s=backend.clock.cpu_s - clock.cpu_s,
        )
        if index >= options.warmups:
            samples.append(sample)
    os.close(sink)
    return samples


def package_emoji(folder: Path) -> Path:
    command = [sys.executable, "-m", "edgegen", "package", "builtin:emoji", "--target", "onnx"]
    run([*command, "--skip-parity", "-o", str(folder)], timeout_s=600)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
