"""Compares `package` for several targets at once with a command for each of them, in CPU seconds.

    python benchmarks/package_many.py [--model builtin:emoji …] [--target onnx …] [--json FILE]

The CPU seconds are user and system time of the command and all of its children. The four at once
are built twice: with `compare.png`, which shows what torch and each package draw and which a single
package doesn't have, and without it, which is the same work as the single ones.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MODELS = ("builtin:emoji", "builtin:scenes")
TARGETS = ("onnx", "openvino", "coreml", "tflite")
GOAL = 0.6


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """CPU seconds of one command a target, in their order, and of one command for all."""

    model: str
    singles_s: tuple[float, ...]
    together_s: float
    with_picture_s: float

    @property
    def ratio(self) -> float:
        """Return the CPU seconds of the command for all over those of the others."""
        return self.together_s / sum(self.singles_s)

    @property
    def ratio_with_picture(self) -> float:
        """Return the same where the command for all draws its picture too."""
        return self.with_picture_s / sum(self.singles_s)


def cpu_seconds(model: str, targets: Sequence[str], *more: str) -> float:
    """Return the CPU seconds of `edgegen package`, with its comparison with torch."""
    before = _spent_s()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "edgegen", "--quiet", "package", model]
        options = [word for target in targets for word in ("--target", target)]
        subprocess.run(
            [*command, *options, *more, "--output", str(Path(folder, "out"))],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return _spent_s() - before


def _spent_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def compare(model: str, targets: Sequence[str]) -> Outcome:
    """Package a model target by target, then for all targets at once."""
    singles = tuple(cpu_seconds(model, [target]) for target in targets)
    return Outcome(
        model=model,
        singles_s=singles,
        together_s=cpu_seconds(model, targets, "--no-picture"),
        with_picture_s=cpu_seconds(model, targets),
    )


def main() -> None:
    """Print a table, and write the figures to a file where one is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", dest="models", help="default: two that ship")
    parser.add_argument("--target", action="append", dest="targets", help="default: all four")
    parser.add_argument("--json", type=Path, help="file that gets the figures")
    options = parser.parse_args()
    targets = options.targets or TARGETS
    outcomes = []
    print(
        "| model | "
        + " | ".join(targets)
        + " | sum | together | ratio | with picture | ratio | goal |"
    )
    print("|---" * (len(targets) + 7) + "|")
    for model in options.models or MODELS:
        it = compare(model, targets)
        ratios = {"ratio": it.ratio, "ratio_with_picture": it.ratio_with_picture}
        outcomes.append({**asdict(it), "targets": targets, **ratios})
        singles = " | ".join(f"{seconds:.1f}" for seconds in it.singles_s)
        total = f"{sum(it.singles_s):.1f} | {it.together_s:.1f} | {it.ratio:.2f}"
        pictured = f"{it.with_picture_s:.1f} | {it.ratio_with_picture:.2f}"
        print(f"| {it.model} | {singles} | {total} | {pictured} | {GOAL} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(outcomes, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
