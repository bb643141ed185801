"""core/memory.py on real processes."""

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from edgegen_runner import process_tree

from edgegen.core.memory import PeakSampler, read_tree
from edgegen.core.process import Child
from tests.own_process import in_own_process

MIB = 1 << 20

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="PSS is told by Linux's /proc only; elsewhere it is None"
)


def test_peak_holds_memory_that_was_freed_before_the_end() -> None:
    in_own_process(check_peak_of_a_block)


def check_peak_of_a_block() -> None:
    before = read_tree(os.getpid())
    assert before is not None
    with PeakSampler() as sampler:
        block = bytearray(64 * MIB)
        block[::4096] = b"x" * len(block[::4096])
        time.sleep(0.3)
        del block
        time.sleep(0.1)
    assert sampler.peak_pss_bytes is not None
    assert before.anonymous_bytes is not None
    assert sampler.at_peak is not None
    assert sampler.at_peak.anonymous_bytes is not None
    assert sampler.peak_resident_bytes is not None
    assert sampler.at_peak.anonymous_bytes - before.anonymous_bytes > 40 * MIB
    assert sampler.peak_pss_bytes - before.pss_bytes > 40 * MIB
    assert sampler.peak_pss_bytes <= sampler.peak_resident_bytes * 1.05


def test_short_peak_between_two_slow_readings_is_found_by_its_resident_size() -> None:
    # in a process of its own: reading the PSS of a large one takes longer than the peak
    code = (
        "import sys, time; print('ready', flush=True); sys.stdin.readline(); time.sleep(0.5)\n"
        f"block = bytearray({48 * MIB}); block[::4096] = b'x' * len(block[::4096])\n"
        "time.sleep(0.1); del block; print('freed', flush=True); sys.stdin.readline()"
    )
    with Child([sys.executable, "-c", code]) as child:
        lines = child.lines()
        assert next(lines) == "ready"
        before = read_tree(child.pid)
        assert before is not None
        with PeakSampler(child.pid) as sampler:
            child.send("go")
            assert next(lines) == "freed"
        child.send("end")
    assert sampler.peak_pss_bytes is not None
    assert sampler.peak_pss_bytes - before.pss_bytes > 40 * MIB


def test_a_lap_forgets_the_peak_of_the_lap_before_it() -> None:
    before = read_tree(os.getpid())
    assert before is not None
    with PeakSampler() as sampler:
        block = bytearray(64 * MIB)
        block[::4096] = b"x" * len(block[::4096])
        first = sampler.end_lap()
        del block
        sampler.end_lap()  # of a lap that began with the block
        time.sleep(0.3)
        last = sampler.end_lap()
    assert first is not None
    assert last is not None
    assert first - before.pss_bytes > 40 * MIB
    assert first - last > 40 * MIB


def test_mapped_pages_count_as_file_pages(tmp_path: Path) -> None:
    in_own_process(check_mapped_pages, tmp_path / "weights")


def check_mapped_pages(file_name: str) -> None:
    path = Path(file_name)
    path.write_bytes(os.urandom(32 * MIB))
    before = read_tree(os.getpid())
    assert before is not None
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        PeakSampler() as sampler,
    ):
        assert sum(mapped[::4096]) > 0
        time.sleep(0.2)
    assert before.anonymous_bytes is not None
    assert sampler.at_peak is not None
    assert sampler.at_peak.anonymous_bytes is not None
    mapped_before = before.pss_bytes - before.anonymous_bytes
    assert sampler.at_peak.pss_bytes - sampler.at_peak.anonymous_bytes - mapped_before > 28 * MIB


def test_sampling_takes_less_than_a_few_percent_of_the_time() -> None:
    # In a process of its own, like the command: this one maps every toolkit that tests before
    # it imported, and the kernel adds the pages up at each reading.
    code = (
        "import time; from edgegen.core.memory import PeakSampler\n"
        "with PeakSampler() as sampler: time.sleep(1.5)\n"
        "print(sampler.samples, sampler.cost_s)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    samples, cost_s = done.stdout.split()
    assert int(samples) > 1
    assert float(cost_s) < 0.06 * 1.5


def test_system_that_does_not_tell_gives_none_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "read", lambda path: None)
    with PeakSampler() as sampler:
        time.sleep(0.05)
    assert sampler.peak_pss_bytes is None
