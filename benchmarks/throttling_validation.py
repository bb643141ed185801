"""How well edgegen finds the moment at which a run became slower: precision, recall, intervals.

    python benchmarks/throttling_validation.py [--series 1000] [--seed N] [--real FILE...]

Simulated runs of ten minutes, of every shape (no change, a step, a ramp over 20 s to 2 min, a drift
over the whole run, and throttled, recovered, throttled again) with every noise (white, AR(1) from
step to step, outliers and bursts, two modes), `--series` of each kind. Step latency (20 ms to 5 s),
noise (1 to 5 %) and ratio (1.05 to 2) go round within a kind. `--real` adds series of
`throttling_real.py`. With `--write`, the result goes to `benchmarks/results`.
There is a process for each core: set OPENBLAS_NUM_THREADS=1, or they get into each other's way.

The detector was tuned on series of seed 1 alone (`--tuning`); a result is told for another seed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import read_machine
from benchmarks.throttling_score import (
    GOAL,
    GOAL_COVERAGE,
    GOAL_RATIO,
    LEAST_SIGNAL,
    Report,
    Score,
    Section,
    by_signal,
    cell,
    missed,
    score,
    table,
    with_oracle,
)
from benchmarks.throttling_series import (
    DRIFTS,
    NOISE,
    NOISES,
    RATIOS,
    SHAPES,
    STEP_S,
    RealSeriesFile,
    from_real,
    simulate,
)
from edgegen.core.codec import dump_json, load_json
from edgegen.devices.host import usable_cores

TUNING_SEED = 1
VALIDATION_SEED = 20250707
RESULTS = Path(__file__).resolve().parent / "results"
_CHUNK = 12

Job = tuple[str, str, range, int]


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if options.seed == TUNING_SEED:
        sys.exit(f"Seed {TUNING_SEED} is that of tuning; give another, or --tuning.")
    seed = TUNING_SEED if options.tuning else options.seed
    machine, started = read_machine(), time.monotonic()
    jobs = [
        (shape, noise, range(first, min(first + _CHUNK, options.series)), seed)
        for shape in options.shapes
        for noise in options.noises
        for first in range(0, options.series, _CHUNK)
    ]
    scores: list[Score] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for done, part in enumerate(pool.map(_score_all, jobs), 1):
            scores += part
            if sys.stderr.isatty():
                print(f"\r{done} of {len(jobs)}", end="", file=sys.stderr)
    real = [
        score(from_real(series))
        for path in options.real
        for series in load_json(RealSeriesFile, path).series
    ]
    report = Report(
        machine=machine,
        seed=seed,
        tuning=options.tuning,
        series_of_each_kind=options.series,
        wall_s=time.monotonic() - started,
        sections=tuple(it for it in _sections(with_oracle(scores), real) if it.cells),
    )
    text = markdown(report)
    print(text)
    if options.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "throttling-validation.json").write_text(dump_json(report), encoding="utf-8")
        (RESULTS / "throttling-validation.md").write_text(text, encoding="utf-8")
    return 1 if any(missed(section) for section in report.sections[:1]) else 0


def markdown(report: Report) -> str:
    """Return a report as a page of text."""
    seed = f"seed {report.seed}" + (" (that of tuning: no result)" if report.tuning else "")
    lines = [
        "# When did it throttle? The detector on series with known changes",
        "",
        f"`throttling_validation.py --series {report.series_of_each_kind}`, {seed}, "
        f"{report.wall_s:.0f} s. {report.machine.describe()}.",
        "",
        "Ten-minute runs; steps of 20 ms to 5 s, noise of 1 to 5 %, ratios of 1.05 to 2, in",
        "about equal parts in each row. The noise's autocorrelation is that from one step to the",
        "next: with steps of 5 s and AR 0.95 it wanders over minutes. A change by less than 4 %",
        "counts as none. Precision is that of the changes found in a row's series; false alarms",
        "are the share of its series with a change that is none.",
        "",
        "The first table leaves out drifts over the whole run, which have no onset: of these,",
        "being told as a slowdown is what counts, and they have tables of their own.",
        "",
        "A change's signal is its height over the standard error that it has for one who knows",
        "places, shapes and noise, and sees every step: below about 5 nobody can find it among",
        "all places. The oracle of `throttling_oracle.py` knows the noise and the kind of change,",
        "and looks for its place alone, with as many false alarms in unchanged runs: what it",
        "does not find is lost in the series, not by the detector.",
    ]
    for section in report.sections:
        lines += ["", table(section)]
    lines += ["", f"## What is below the goals ({GOAL:.2f}, and {GOAL_COVERAGE:.2f} covered)", ""]
    lines += [f"- {text}" for section in report.sections for text in missed(section)] or ["None."]
    return "\n".join(lines) + "\n"


def _sections(scores: Sequence[Score], real: Sequence[Score]) -> list[Section]:
    """Return the tables; recall is told from 1.1 on, with runs that did not change beside them."""
    told = [each for each in scores if each.shape == "none" or each.ratio >= GOAL_RATIO]
    placed = [each for each in told if each.shape != "drift"]
    clear = [each for each in placed if min(each.signals, default=LEAST_SIGNAL) >= LEAST_SIGNAL]
    changed = [each for each in told if each.shape != "none"]
    drifts = [each for each in scores if each.shape == "drift"]
    unchanged = [each for each in scores if each.shape == "none"]
    steps, ramps = ([it for it in scores if it.shape == shape] for shape in ("step", "ramp"))
    high = f"{GOAL_RATIO:g} and more"
    return [
        _by(f"Steps, ramps and cycles by {high}, and none", placed, lambda it: it.noise, NOISES),
        _by(
            f"The same with a signal of {LEAST_SIGNAL:g} and more",
            clear,
            lambda it: it.noise,
            NOISES,
        ),
        _by(
            f"Drifts over the whole run by {high}",
            [each for each in drifts if each.ratio >= GOAL_RATIO],
            lambda it: it.noise,
            NOISES,
        ),
        _by("Drifts by ratio", drifts, lambda it: it.ratio, DRIFTS),
        _by("No change", unchanged, lambda it: it.noise, NOISES),
        by_signal(scores),
        _by("Steps by ratio", steps, lambda it: it.ratio, RATIOS),
        _by("Ramps by ratio", ramps, lambda it: it.ratio, RATIOS),
        _by(
            f"Shape and noise, {high}",
            changed,
            lambda it: f"{it.shape}, {it.noise}",
            [f"{shape}, {noise}" for shape in SHAPES for noise in NOISES],
        ),
        _by(
            f"Where it holds: noise and step latency, {high}, without drifts",
            placed,
            lambda it: _noise_and_step(it.noise_share, it.step_s),
            [_noise_and_step(share, step_s) for share in NOISE for step_s in STEP_S],
        ),
        _by(
            f"Every shape, noise and step latency, {high}",
            changed,
            lambda it: f"{it.shape}, {it.noise}, {it.step_s:g} s",
            [f"{shape}, {noise}, {s:g} s" for shape in SHAPES for noise in NOISES for s in STEP_S],
        ),
        _by(
            "Real series, slowed by stopping the process",
            real,
            lambda it: it.ratio,
            sorted({each.ratio for each in real}),
        ),
    ]


def _noise_and_step(share: float | None, step_s: float) -> str:
    return f"{100 * (share or 0):.0f} %, {step_s:g} s"


def _by(
    title: str,
    scores: Sequence[Score],
    key: Callable[[Score], object],
    values: Sequence[object],
) -> Section:
    parts = {value: [each for each in scores if key(each) == value] for value in values}
    cells = [cell(str(value), part) for value, part in parts.items() if part]
    return Section(title=title, cells=(*cells, cell("all", scores)) if scores else ())


def _score_all(job: Job) -> list[Score]:
    shape, noise, numbers, seed = job
    return [score(simulate(shape, noise, number, seed)) for number in numbers]


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=1000, help="of each shape with each noise")
    parser.add_argument("--seed", type=int, default=VALIDATION_SEED)
    parser.add_argument("--tuning", action="store_true", help="the series of tuning instead")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=SHAPES)
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=NOISES)
    parser.add_argument("--real", type=Path, nargs="+", default=[])
    parser.add_argument("--jobs", type=int, default=usable_cores())
    parser.add_argument("--write", action="store_true", help="to benchmarks/results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
