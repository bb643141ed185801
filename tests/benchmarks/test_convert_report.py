"""The judgement of the conversion benchmark; it needs no peer."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.convert_report import GB, Conversion, Goals, Report, markdown, missed, table
from benchmarks.machine import Machine
from edgegen.core.package import StageCost

OURS = Conversion(
    tool="edgegen",
    command="edgegen package",
    versions={"torch": "2.13.0"},
    weights="float16",
    size_bytes=2 * GB,
    wall_s=60.0,
    cpu_s=80.0,
    peak_bytes=GB,
)
PEER = replace(OURS, tool="optimum-cli", cpu_s=400.0, peak_bytes=10 * GB, weights="float32")
REPORT = Report(
    model="sd15",
    machine=Machine(
        processor="Z80",
        cores=1,
        memory_bytes=16 * GB,
        operating_system="Linux",
        python="3.11.7",
        virtual_machine=False,
        load_average=0.1,
    ),
    conversions=(OURS, PEER),
    parity=(
        StageCost(stage="convert unet", wall_s=1.0, cpu_s=1.0, peak_memory_bytes=9 * GB),
        StageCost(stage="reference", wall_s=9.0, cpu_s=9.0, peak_memory_bytes=2 * GB),
    ),
    goals=Goals(cpu_share=1 / 3, peak_bytes=3 * GB // 2, parity_peak_bytes=3 * GB),
)


def test_a_run_within_its_goals_misses_none_and_says_so() -> None:
    assert missed(REPORT) == []
    assert "All goals are met." in table(REPORT)
    assert "| CPU | 80.00 s | 400 s | 0.200 | ≤ 0.33 of the peer's |" in markdown(REPORT)


def test_every_goal_that_is_missed_is_named() -> None:
    slow = replace(OURS, cpu_s=200.0, peak_bytes=2 * GB)
    stage = StageCost(stage="parity", wall_s=1.0, cpu_s=1.0, peak_memory_bytes=4 * GB)
    report = replace(REPORT, conversions=(slow, PEER), parity=(*REPORT.parity, stage))
    assert len(missed(report)) == 3
    assert all(sentence in table(report) for sentence in missed(report))


def test_one_side_alone_has_no_ratio_and_is_judged_by_its_memory() -> None:
    report = replace(REPORT, conversions=(replace(OURS, peak_bytes=2 * GB),), parity=())
    assert missed(report) == ["The peak is above 1.5 GB."]
    assert "0.200" not in table(report)


def test_a_peak_that_the_system_does_not_tell_is_unknown() -> None:
    report = replace(REPORT, conversions=(replace(OURS, peak_bytes=None), PEER))
    assert "unknown" in table(report)
    assert missed(report) == []


def test_a_peak_that_a_stage_alone_saw_counts() -> None:
    stage = StageCost(stage="convert unet", wall_s=1.0, cpu_s=1.0, peak_memory_bytes=2 * GB)
    seen = replace(OURS, peak_bytes=GB, parts=(stage,))
    assert seen.highest_bytes == 2 * GB
    assert replace(seen, peak_bytes=3 * GB).highest_bytes == 3 * GB
    assert replace(seen, peak_bytes=None).highest_bytes is None
