"""Plots size against what pictures keep: a column a target, a row a model."""

from __future__ import annotations

from benchmarks.compression_frontier_report import Frontier


def plot(found: Frontier, figure: str) -> str:
    return ""
