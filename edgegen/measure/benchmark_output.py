"""What benchmark_model prints, TensorFlow Lite's or LiteRT's: times, memory, and what ran where.

A graph that the accelerator cannot take runs on the CPU without a failure, and its latency looks
like any other: what ran where is read from what the tool and the runtime say of their delegates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgegen.core.errors import RunnerError
from edgegen.measure.benchmark_model import Accelerator, BenchmarkModelOptions

Coverage = Literal["all", "part", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimes:
    """The times of the runs of one phase, in milliseconds; None where the tool printed none.

    The tool keeps no single run but the first. It prints six digits.
    """

    count: int
    first_ms: float | None = None
    minimum_ms: float | None = None
    maximum_ms: float | None = None
    mean_ms: float
    deviation_ms: float | None = None
    p5_ms: float | None = None
    median_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """What one delegate took of a graph, as the runtime says when it hands nodes over.

    Each of `partitions` is a hand-over from one processor to another and back. `all_nodes` is None
    for older runtimes, which do not print it.
    """

    delegate: str
    nodes: int
    all_nodes: int | None
    partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkModelResult:
    """What one run of the tool measured, and where the graph ran.

    `coverage` is how much of the graph the wanted accelerator took; None for the CPU, and where the
    tool did not tell. `unsupported` names operators that it refused, with its reasons.
    `ignored_flags` are those that this build of the tool does not know. The footprints are the
    growth of the process since its start, and approximate, as the tool itself says.
    """

    accelerator: Accelerator
    coverage: Coverage | None
    delegations: tuple[Delegation, ...]
    unsupported: tuple[str, ...]
    gpu_api: str | None
    ignored_flags: tuple[str, ...]
    load_ms: float | None
    warmup: RunTimes | None
    inference: RunTimes
    load_footprint_bytes: int | None
    footprint_bytes: int | None
    peak_memory_bytes: int | None

    @property
    def fell_back(self) -> bool:
        """Return whether an accelerator was wanted, and nothing of the graph ran on it."""
        return self.accelerator != "cpu" and self.coverage == "none"

    @property
    def ran_on(self) -> str:
        """Return where the graph ran: `gpu`, `gpu and cpu`, `cpu`; `gpu or cpu` if unknown."""
        if self.accelerator == "cpu" or self.coverage == "none":
            return "cpu"
        if self.coverage is None:
            return f"{self.accelerator} or cpu"
        return self.accelerator if self.coverage == "all" else f"{self.accelerator} and cpu"


_DELEGATES: Mapping[Accelerator, re.Pattern[str]] = {
    "cpu": re.compile(r"XNNPACK", re.IGNORECASE),
    "gpu": re.compile(r"GPU|LITERT_(?:CL|GL|WEBGPU|METAL)", re.IGNORECASE),
    "nnapi": re.compile(r"NNAPI", re.IGNORECASE),
    "npu": re.compile(r"Dispatch|EXTERNAL|QNN|Neuron|EdgeTPU", re.IGNORECASE),
}
"""How the delegates of an accelerator are called, by the tool and by the runtime."""

_HOW_FAR: Mapping[str | None, Coverage] = {"completely": "all", "partially": "part", None: "none"}

# What a logger puts before the message: the tool's, LiteRT's, Android's logcat.
_PREFIX = re.compile(
    r"^(?:(?:VERBOSE|INFO|WARNING|WARN|ERROR|FATAL): "
    r"|\d\d-\d\d [\d:.]+ +\d+ +\d+ [VDIWEF] [\w.]+ *: )?"
    r"(?:\[[\w./]+:\d+\] ?)?"
)
_VALUE = r"(\d{1,15}(?:\.\d{0,15})?(?:e[+-]?\d{1,2})?)"
_COUNT = re.compile(r"^count=\d")
_PAIR = re.compile(rf"(\w+)={_VALUE}")
_REPLACING = re.compile(
    r"^Replacing (\d{1,15})(?: out of (\d{1,15}))? node\(s\) with delegate \((\w+)\) node, "
    r"yielding (\d{1,15}) partitions"
)
_EXPLICIT = re.compile(
    r"^(?:Explicitly applied (\w+) delegate, and the model graph will be (completely|partially)"
    r"|Though (\w+) delegate is explicitly applied, the model graph will not be executed)"
)
_OPERATOR = re.compile(r"^[A-Z][A-Z0-9_]+:")
_SUMMARY = re.compile(r"^(?:(?:Inference|Average inference) timings in us: |Inference \(avg\):)")
_SAME = frozenset({"first", "min", "max", "avg"})
"""What equals the only time that is printed where all runs took the same."""


def parse(text: str, options: BenchmarkModelOptions) -> BenchmarkModelResult:
    """Read what the tool printed, both of its streams together.

    Raises RunnerError where it failed, or where its output ends before its results.
    """
    lines = [_PREFIX.sub("", line).strip() for line in text.splitlines()]
    _raise_failure(lines)
    phases = [times for line in lines if _COUNT.match(line) and (times := _run_times(line))]
    warmup: RunTimes | None
    inference: RunTimes | None
    if len(phases) == 2:
        warmup, inference = phases
    else:
        warmup, inference = _rounded_times(lines, "Warmup"), _rounded_times(lines, "Inference")
    if inference is None:
        raise RunnerError(
            f"benchmark_model printed the times of {len(phases)} phases, not of two.",
            hint="Is it the tool of that name?",
        )
    delegations = tuple(_delegations(lines))
    load_us = _number(lines, rf"\bInit: {_VALUE}")
    return BenchmarkModelResult(
        accelerator=options.accelerator,
        coverage=_coverage(lines, delegations, options.accelerator),
        delegations=delegations,
        unsupported=tuple(_unsupported(lines)),
        gpu_api=_word(lines, r"^Initialized (\w+)-based API"),
        ignored_flags=_ignored_flags(lines),
        load_ms=_number(lines, rf"^Model initialization: +{_VALUE} ms")
        if load_us is None
        else load_us / 1000,
        warmup=warmup,
        inference=inference,
        load_footprint_bytes=_size_bytes(lines, r"footprint delta .*init=", r"^Init footprint: +"),
        footprint_bytes=_size_bytes(lines, r"footprint delta .*all=", r"^Overall footprint: +"),
        peak_memory_bytes=_size_bytes(lines, r"^Overall peak .*monitoring: ", r"^Peak memory: +"),
    )


def _raise_failure(lines: Sequence[str]) -> None:
    said = [line for line in lines if line]
    if "Benchmarking failed." in said:
        said = said[: said.index("Benchmarking failed.")]
        reason = said[-1] if said else "it gave no reason."
        raise RunnerError(
            f"benchmark_model failed: {reason}",
            hint="Without require_all the CPU runs what the accelerator cannot."
            if reason.startswith("Disallowed CPU fallback")
            else "Look at what it said before that, and try the CPU.",
        )
    if not any(_SUMMARY.match(line) for line in said):
        raise RunnerError(
            "benchmark_model ended before it had results"
            + (f"; its last words: {said[-1]}" if said else ", and said nothing."),
            hint="It may have crashed in the accelerator's driver, or the connection was lost.",
        )


def _run_times(line: str) -> RunTimes | None:
    """Read a line as `count=2 first=9 curr=8 min=8 max=9 avg=8.5 std=0.5 p5=8 median=9 p95=9`.

    Where all runs took the same time it is `count=2 curr=8(all same)`. The times are in µs. None
    is a line that was cut.
    """
    values = {name: float(value) for name, value in _PAIR.findall(line)}
    if "count" not in values or not values.keys() & {"avg", "curr"}:
        return None
    if "avg" not in values:
        values.update(dict.fromkeys(_SAME, values["curr"]))

    def value_ms(name: str) -> float | None:
        return values[name] / 1000 if name in values else None

    return RunTimes(
        count=int(values["count"]),
        first_ms=value_ms("first"),
        minimum_ms=value_ms("min"),
        maximum_ms=value_ms("max"),
        mean_ms=values["avg"] / 1000,
        deviation_ms=value_ms("std"),
        p5_ms=value_ms("p5"),
        median_ms=value_ms("median"),
        p95_ms=value_ms("p95"),
    )


def _rounded_times(lines: Sequence[str], phase: str) -> RunTimes | None:
    """Read LiteRT's table, in hundredths of a millisecond, where the exact lines are missing."""
    mean = _match(lines, rf"^{phase} \(avg\): +{_VALUE} ms \((\d{{1,15}}) runs\)")
    if mean is None:
        return None

    def value_ms(name: str) -> float | None:
        return _number(lines, rf"^{phase} \({name}\): +{_VALUE}")

    return RunTimes(
        count=int(mean[2]),
        first_ms=value_ms("first"),
        minimum_ms=value_ms("min"),
        maximum_ms=value_ms("max"),
        mean_ms=float(mean[1]),
        deviation_ms=value_ms("std"),
    )


def _delegations(lines: Sequence[str]) -> Iterator[Delegation]:
    for found in filter(None, map(_REPLACING.match, lines)):
        nodes, all_nodes, delegate, partitions = found.groups()
        yield Delegation(
            delegate=delegate,
            nodes=int(nodes),
            all_nodes=int(all_nodes) if all_nodes else None,
            partitions=int(partitions),
        )


def _coverage(
    lines: Sequence[str], delegations: Sequence[Delegation], accelerator: Accelerator
) -> Coverage | None:
    """Return how much of the graph the accelerator took; the tool's own verdict goes first."""
    if accelerator == "cpu":
        return None
    ours = _DELEGATES[accelerator]
    for found in filter(None, map(_EXPLICIT.match, lines)):
        applied, how_far, refused = found.groups()
        if ours.search(applied or refused):
            return _HOW_FAR[how_far]
    if any(flag.startswith(f"--use_{accelerator}") for flag in _ignored_flags(lines)):
        return "none"
    if not delegations:
        return None
    taken = [each for each in delegations if ours.search(each.delegate)]
    if not any(each.nodes for each in taken):
        return "none"
    if any(each.all_nodes is None for each in taken):
        return None
    return "all" if all(each.nodes == each.all_nodes for each in taken) else "part"


def _unsupported(lines: Sequence[str]) -> Iterator[str]:
    listing = False
    for line in lines:
        if line.startswith("Following operations are not supported"):
            listing = True
        elif listing and _OPERATOR.match(line):
            yield line
        elif line:
            listing = False


def _ignored_flags(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple((_word(lines, r"^Unconsumed cmdline flags: (.+)") or "").split())


def _match(lines: Sequence[str], pattern: str) -> re.Match[str] | None:
    return next(filter(None, (re.search(pattern, line) for line in lines)), None)


def _word(lines: Sequence[str], pattern: str) -> str | None:
    found = _match(lines, pattern)
    return found[1] if found else None


def _number(lines: Sequence[str], pattern: str) -> float | None:
    word = _word(lines, pattern)
    return float(word) if word is not None else None


def _size_bytes(lines: Sequence[str], *prefixes: str) -> int | None:
    """Return the first size in MiB that follows one of the prefixes, in bytes."""
    for prefix in prefixes:
        size = _number(lines, prefix + _VALUE)
        if size is not None:
            return round(size * (1 << 20))
    return None
