"""The lines that tell an app's author what a package needs."""

from __future__ import annotations

from edgegen.cli.console import Console
from edgegen.cli.formats import format_bytes
from edgegen.packaging.app_facts import AppFacts


def show_app_facts(console: Console, facts: AppFacts) -> None:
    """Print what an app that carries a package has to know, and the next steps."""
    without = f", without {' and '.join(facts.left_out)}" if facts.left_out else ""
    texts = ", ".join(facts.licence_files)
    licence = facts.licence or "not stated by the model"
    rows = [
        ("runs on", facts.oldest_systems and f"{facts.oldest_systems}, and later"),
        ("attention", facts.attention),
        ("size in the app", f"{format_bytes(facts.app_bytes)}{without}"),
        ("licence", f"{licence} (ship {texts})" if texts else licence),
        *(("next", step) for step in facts.next_steps),
    ]
    console.table("For an app", ("", ""), [row for row in rows if row[1] is not None])
