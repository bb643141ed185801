"""Where a benchmark's result is kept: a value, and a page of it."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.codec import dump_json

RESULTS = Path(__file__).with_name("results")


def keep(name: str, found: object, page: str) -> None:
    """Write a result to `results/NAME.json`, and its page to `NAME.md`."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(dump_json(found), encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
