"""Writes docs/reference/schedulers.md: `python -m tests.schedulers.page` draws and counts.

The page is the tally of every `EVERY`-th cell; the slow test fails where the two differ.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from edgegen_runner.schedulers import LACKED_BECAUSE, SCHEDULERS, SHORT_NAMES

from tests.schedulers.cells import OPTIONS, PUBLIC, STARTS, cells
from tests.schedulers.sides import WAYS, write_folder
from tests.schedulers.verdicts import KINDS, Tally, tally

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "schedulers.md"

EVERY = 11
"""Every so many cells are on the page: a prime, which no axis divides."""

_TEXT = """\
# Schedulers
The runner draws what diffusers draws, with each of these schedulers:

| class of diffusers | short names for `--scheduler` |
|---|---|
{schedulers}

A package's own scheduler is the class that `model_index.json` names, with the options of
`scheduler_config.json`. `package --scheduler NAME` gives it another for good,
`run --scheduler NAME` for one image; both are given to the pipeline, which corrects old options
([0017](../decisions/0017-another-scheduler-is-given-to-the-pipeline.md)). What a package draws with
by default is kept in it: [0018](../decisions/0018-defaults-of-few-step-models.md).

diffusers has no other scheduler that draws with these families. `edgegen inspect` and `edgegen
package` say at once where the runner lacks a scheduler, and why:

| class of diffusers | because |
|---|---|
{lacked}

## Held against diffusers
Each cell is one image, drawn by the runner and by diffusers' own pipeline class, with the same
cheap function in place of a denoiser; the latents are compared after every step. DPMSolverSDE's
noise is a smooth path there, on both sides: its Brownian motion is held against torchsde's. The
cells are:

- every scheduler × public configurations ({public}), bare and as diffusers saves them, × ways to
  draw ({ways}), and × every other scheduler, two ways each;
- each scheduler × each of {options} options × starts ({starts}) × 1 to 15 steps, and each two
  options;
- each scheduler × each way to draw × 1 to 50 steps × strengths from 0.05 to 1.

Of these {cells:,} cells the slow tests draw all, and the table has every {every}th:

| what became of a cell | cells |
|---|---|
{kinds}
| all | {all:,} |

What edgegen refuses alone:

| cells | reason |
|---|---|
{reasons}

A refusal comes before anything is drawn; of a package's own scheduler, before anything is built.
`python -m tests.schedulers.page` counts again, and writes this page.
"""


def page(found: Tally) -> str:
    """Return the page for what became of all cells."""
    reasons = sorted(_reasons(found).items(), key=lambda item: (-item[1], item[0]))
    return _TEXT.format(
        schedulers=_rows((f"`{name}`", _short_names(name)) for name in SCHEDULERS),
        lacked=_rows((f"`{name}`", why) for name, why in LACKED_BECAUSE.items()),
        public=", ".join(PUBLIC),
        ways="; ".join(WAYS),
        cells=sum(1 for _ in cells()),
        every=EVERY,
        options=len(OPTIONS),
        starts="; ".join(STARTS),
        kinds=_rows((text, f"{found.kinds[kind]:,}") for kind, text in KINDS.items()),
        all=sum(found.kinds.values()),
        reasons=_rows((f"{count:,}", reason) for reason, count in reasons),
    )


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"| {one} | {other} |" for one, other in rows)


def _short_names(class_name: str) -> str:
    return _names([name for name, (own, _) in SHORT_NAMES.items() if own == class_name])


def _names(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def _reasons(found: Tally) -> Counter[str]:
    """Return how often each reason was given, whatever names and numbers are in it."""
    counted: Counter[str] = Counter()
    for why, count in found.reasons.items():
        reason = why.partition(": ")[2].partition(" Supported: ")[0].partition(" Did you mean")[0]
        reason = re.sub(r"not with '.*'", "not with another", reason)
        counted[re.sub(r"Strength [\d.]+ of \d+ steps", "Strength × steps", reason)] += count
    return counted


def main() -> None:
    """Draw every cell, and write the page."""
    import diffusers
    import torch

    torch.set_num_threads(1)
    diffusers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_folder(folder)
        found = tally(islice(cells(), 0, None, EVERY), folder)
    PAGE.write_text(page(found), encoding="utf-8")
    for verdict in found.wrong:
        print(verdict.why, verdict.cell)  # noqa: T201 - this is a script


if __name__ == "__main__":
    main()
