"""Prints how many cases ran, by kind, at the end of `make fuzz`."""

from __future__ import annotations

import os

import pytest

from tests.fuzz.harness import counts


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if "EDGEGEN_FUZZ_CASES" not in os.environ or not counts:
        return
    terminalreporter.section("fuzzed")
    for kind, count in sorted(counts.items()):
        terminalreporter.write_line(f"{count:7,}  {kind}")
    terminalreporter.write_line(f"{counts.total():7,}  cases in all")
