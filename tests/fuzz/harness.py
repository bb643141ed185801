"""What all fuzzers share: how many cases, what an orderly end is, and limits of time and memory.

`make test` runs few cases of each fuzzer; `make fuzz` runs many, and counts them. A case ends
orderly when it returns, or raises an error that says what is wrong (`EdgegenError` on the host,
`RunnerFailure` in the runner). It must take less than `CASE_SECONDS` and `CASE_BYTES`.

Inputs that once failed are kept in `tests/fuzz/kept/<kind>/`, and every run tries them first.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from edgegen_runner.errors import RunnerFailure
from hypothesis import HealthCheck, Phase, settings

from edgegen.core.errors import EdgegenError

CASES = int(os.environ.get("EDGEGEN_FUZZ_CASES", "25"))
CASE_SECONDS = 20.0
CASE_BYTES = 2 * 1024**3
KEPT = Path(__file__).parent / "kept"

ORDERLY: tuple[type[Exception], ...] = (EdgegenError, RunnerFailure)

counts: Counter[str] = Counter()
"""Cases a kind, of this process; `conftest.py` prints them at the end of `make fuzz`."""

Test = TypeVar("Test", bound=Callable[..., Any])


def fuzzing(share: float = 1.0) -> Callable[[Test], Test]:
    """Return hypothesis' settings for a fuzzer that runs `share` of the usual number of cases.

    `make test` runs the same cases each time; `make fuzz` others each time, and shrinks them.
    """
    return settings(
        max_examples=max(1, int(CASES * share)),
        deadline=None,
        database=None,
        derandomize="EDGEGEN_FUZZ_CASES" not in os.environ,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def case(kind: str, *, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Run one case of a kind; errors that are `ORDERLY` or in `also` end it, all others fail.

    Raises:
        AssertionError: it took longer than `CASE_SECONDS`, or more than `CASE_BYTES`.
    """
    counts[kind] += 1
    before = _reset_peak()
    started = time.monotonic()
    try:
        yield
    except (*ORDERLY, *also) as error:
        said = str(error).strip()
    else:
        said = "nothing to say"
    assert said, f"{kind}: an error without a word"
    took_s = time.monotonic() - started
    assert took_s < CASE_SECONDS, f"{kind}: {took_s:.1f} s"
    grew = _peak_bytes() - before
    assert grew < CASE_BYTES, f"{kind}: {grew / 1e9:.1f} GB"


def kept(kind: str) -> list[Path]:
    """Return the files that once failed, of one kind; none is an error of the test."""
    return sorted(path for path in (KEPT / kind).iterdir() if path.is_file())


def _reset_peak() -> int:
    """Set this process's peak of resident memory to what it is now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_bytes()


def _peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel tells no VmHWM")
