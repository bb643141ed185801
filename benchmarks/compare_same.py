"""How often a comparison of a package with itself finds a difference: at most 5 of 100 should.

    python benchmarks/compare_same.py PACKAGE [--comparisons 40] [--restarts 6] [--images 24]
        [--threads 1] [--write FILE]

Each comparison is `edgegen compare PACKAGE PACKAGE --device local` as the command makes it, without
the golden case and the cold load: processes of both sides in turns, and three memory runs each. The
measurements are also compared as results that were made one after the other: each with the one
before it, whatever the machine did between. A line is printed after each comparison, and a summary
at the end, with the range of the peak memory.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import read_machine
from edgegen.compare.measurements import compare_measurements
from edgegen.compare.values import CONFIDENCE, Comparison
from edgegen.core.measurement import Measurement
from edgegen.measure.in_turns import measure_in_turns, with_memory_runs
from edgegen.measure.plan import BenchSettings, plan
from edgegen.runner.attach import attach

NAMES = ("old", "new")
MEMORY_RUNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("package", type=Path)
    parser.add_argument("--comparisons", type=int, default=40)
    parser.add_argument("--restarts", type=int, default=6)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    machine = read_machine()
    settings = BenchSettings(
        restarts=options.restarts, images=options.images, threads=options.threads
    )
    whole = plan(options.package, settings)
    kinds = ("steady", "memory")
    timed = replace(whole, runs=tuple(run for run in whole.runs if run.kind in kinds))
    timed = with_memory_runs(timed, MEMORY_RUNS)
    rows: list[dict[str, Any]] = []
    before: Measurement | None = None
    for number in range(options.comparisons):
        with attach("local") as device:
            old, new = measure_in_turns(timed, timed, device)
        row = {"in_turns": changes(compare_measurements(old, new, names=NAMES, in_turns=True))}
        if before is not None:
            row["one_after_the_other"] = changes(compare_measurements(before, old, names=NAMES))
        row["memory_bytes"] = [peak(old), peak(new)]
        rows.append(row)
        before = new
        print(
            number,
            {
                how: {f: c["verdict"] for f, c in row[how].items()}
                for how in row
                if how != "memory_bytes"
            },
            flush=True,
        )
    text = json.dumps(
        {
            "machine": machine.describe(),
            "package": f"{whole.identity.model}, {whole.identity.target}-{whole.identity.recipe}",
            "settings": {
                "restarts": options.restarts,
                "images": options.images,
                "threads": options.threads,
            },
            "confidence": CONFIDENCE,
            "summary": summary(rows),
            "comparisons": rows,
        },
        indent=1,
    )
    print(json.dumps(summary(rows), indent=1))
    if options.write is not None:
        options.write.write_text(text + "\n", encoding="utf-8")


def changes(found: Comparison) -> dict[str, dict[str, Any]]:
    """Return what a comparison says of each figure that it could compare."""
    return {
        each.figure: {
            "change": round(each.change, 5),
            "low": round(each.low, 5),
            "high": round(each.high, 5),
            "verdict": each.verdict,
        }
        for each in found.changes
        if each.change is not None and each.low is not None and each.high is not None
    }


def peak(measurement: Measurement) -> int | None:
    """Return the highest peak memory of a measurement's memory runs."""
    runs = [run.memory for run in measurement.of_kind("memory") if run.memory is not None]
    return max((run.peak_pss_bytes for run in runs if run.peak_pss_bytes), default=None)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Count, by how the two were measured, the comparisons that found any difference."""
    found: dict[str, Any] = {}
    for how in ("in_turns", "one_after_the_other"):
        compared = [row[how] for row in rows if how in row]
        verdicts = Counter(
            f"{figure}: {change['verdict']}" for row in compared for figure, change in row.items()
        )
        found[how] = {
            "comparisons": len(compared),
            "without a difference": sum(
                all(change["verdict"] == "no difference" for change in row.values())
                for row in compared
            ),
            "verdicts": dict(verdicts),
            "median half width of latency": sorted(
                (row["latency"]["high"] - row["latency"]["low"]) / 2 for row in compared
            )[len(compared) // 2]
            if compared
            else None,
        }
    peaks = [size for row in rows for size in row["memory_bytes"] if size]
    if peaks:
        found["memory, highest over lowest"] = max(peaks) / min(peaks)
    return found


if __name__ == "__main__":
    main()
