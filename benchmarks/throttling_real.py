"""Real series with a known slowdown: the runner, stopped for a part of each moment from one on.

    python benchmarks/throttling_real.py OUTPUT.json [--series 24] [--seconds 120] [--seed N]
        [--ratios 1 1.05 1.1 1.2 1.5] [--period-ms 20] [--pixels 128] [--threads 1] [PACKAGE]

Without PACKAGE, `builtin:emoji` is packaged for ONNX first. Each series is a process of the packed
runner that makes images for `--seconds`, as a sustained benchmark does. From a random moment on,
SIGSTOP and SIGCONT hold it for 1 - 1 / ratio of each period. The runner's clock is this machine's
monotonic one, so the moment is known on it, and the ratio is that of the time that it was really
stopped. `throttling_validation.py --real OUTPUT.json` scores them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import read_machine
from benchmarks.throttling_series import RealSeries, RealSeriesFile
from edgegen.core.codec import dump_json
from edgegen.core.process import run
from edgegen.runner.job import Backend, GenerateJob, Request
from edgegen.runner.protocol import Done, Hello, ImageStart, Step
from edgegen.runner.session import RunnerSession

PROMPT = "a red apple"
STEPS = 20
_LEAST_STOP_S = 0.0005  # a shorter sleep is mostly the timer's own error


class DutyCycle:
    """Stops a process for a share of each period, from a moment on, until it is closed.

    `stopped_s` and `spent_s` say how much of the time it really was stopped.
    """

    def __init__(self, pid: int, onset: float, share: float, period_s: float) -> None:
        self.stopped_s = self.spent_s = 0.0
        self._pid, self._onset, self._share, self._period_s = pid, onset, share, period_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._hold, name="duty cycle", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the process go."""
        self._end.set()
        self._thread.join()

    def _hold(self) -> None:
        self._end.wait(max(0.0, self._onset - time.monotonic()))
        began = time.monotonic()
        try:
            while not self._end.is_set():
                # What a sleep took too long is made up for: the share is right on the whole.
                due_s = self._share * (time.monotonic() - began + self._period_s) - self.stopped_s
                stopped = time.monotonic()
                if due_s > _LEAST_STOP_S:
                    os.kill(self._pid, signal.SIGSTOP)
                    time.sleep(due_s)
                    os.kill(self._pid, signal.SIGCONT)
                    self.stopped_s += time.monotonic() - stopped
                self._end.wait(max(0.0, stopped + self._period_s - time.monotonic()))
                self.spent_s = time.monotonic() - began
        except ProcessLookupError:  # it ended by itself
            return
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGCONT)


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    machine = read_machine()
    generator = random.Random(options.seed)
    series: list[RealSeries] = []
    with tempfile.TemporaryDirectory() as scratch:
        package = options.package or _package_emoji(Path(scratch, "emoji"))
        for number in range(options.series):
            ratio = options.ratios[number % len(options.ratios)]
            found = record(
                package,
                ratio,
                seconds=options.seconds,
                onset_share=generator.uniform(0.3, 0.7),
                period_s=options.period_ms / 1e3,
                threads=options.threads,
                pixels=options.pixels,
            )
            series.append(found)
            onset = "no change" if found.onset_s is None else f"from {found.onset_s:.1f} s on"
            print(
                f"{number + 1} of {options.series}: {len(found.end_s)} steps, "
                f"{onset}, ratio {found.ratio:.3f}, load average {found.load_average:.1f}",
                flush=True,
            )
            result = RealSeriesFile(
                machine=machine.describe(),
                command=f"throttling_real.py --series {options.series} "
                f"--seconds {options.seconds:g} --pixels {options.pixels} --seed {options.seed}",
                series=tuple(series),
            )
            partial = options.output.with_name(options.output.name + ".part")
            partial.write_text(dump_json(result), encoding="utf-8")
            partial.replace(options.output)
    return 0


def record(
    package: Path,
    ratio: float,
    *,
    seconds: float,
    onset_share: float,
    period_s: float,
    threads: int,
    pixels: int,
) -> RealSeries:
    """Run the runner for some seconds after its warm-up, slowed from a share of these on."""
    job = GenerateJob(
        package=str(package.resolve()),
        request=Request(prompts=(PROMPT,), steps=STEPS, width=pixels, height=pixels),
        warmup_images=1,
        duration_s=seconds,
        backend=Backend(threads=threads),
    )
    load_average = os.getloadavg()[0]
    steps: list[Step] = []
    duty: DutyCycle | None = None
    onset: float | None = None
    pid, warm = 0, False
    events = RunnerSession().events(job)
    try:
        for event in events:
            if isinstance(event, Hello):
                pid = event.pid
            elif isinstance(event, ImageStart) and not event.warmup:
                if not warm and ratio > 1:
                    onset = event.t + onset_share * seconds
                    duty = DutyCycle(pid, onset, 1 - 1 / ratio, period_s)
                warm = True
            elif isinstance(event, Step) and warm:
                steps.append(event)
            elif isinstance(event, Done) and duty is not None:
                duty.close()  # before its number can be another process's
    finally:
        if duty is not None:
            duty.close()
        events.close()
    zero = steps[0].start
    really = 1.0
    if duty is not None and duty.spent_s > 0:
        really = 1 / (1 - duty.stopped_s / duty.spent_s)
    return RealSeries(
        wanted_ratio=ratio,
        ratio=really,
        onset_s=None if onset is None else onset - zero,
        load_average=load_average,
        end_s=tuple(step.end - zero for step in steps),
        latency_s=tuple(step.end - step.start for step in steps),
        position=tuple(step.index for step in steps),
    )


def _package_emoji(folder: Path) -> Path:
    command = [sys.executable, "-m", "edgegen", "package", "builtin:emoji", "--target", "onnx"]
    command += ["--recipe", "fp16-storage", "--skip-parity"]
    run([*command, "-o", str(folder)], timeout_s=600)
    return folder


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("package", type=Path, nargs="?")
    parser.add_argument("--series", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--ratios", type=float, nargs="+", default=(1.0, 1.05, 1.1, 1.2, 1.5))
    parser.add_argument("--period-ms", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pixels", type=int, default=128, help="longer steps than periods")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
