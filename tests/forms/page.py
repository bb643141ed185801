"""Writes docs/reference/forms.md: `python -m tests.forms.page [ROW …]` draws its cells.

With names of rows it draws those again, and leaves the others as they are on the page.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.forms.drawn import FARTHEST_PLAIN_DB, LEAST_PSNR_DB, STEPS, TARGETS, draw
from tests.forms.rows import ROWS, Row
from tests.tiny_models import FAMILIES, build

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "forms.md"

_TEXT = """\
# Forms of weights, families and targets
What people have, and what packages draw of it. Each cell is a tiny random model: the form's file
is written by the tests' own writers, packaged by the recipe `fp32` of the target, and drawn in
{steps} steps by edgegen's runner. The number is the PSNR between that picture and the one that
diffusers draws in float32; "equal" is in all pixels. A slow test (`tests/forms/`) draws each cell,
and fails below {least:g} dB, and where the model without an adapter draws the same picture (within
{plain:g} dB).

| form | family | {targets} | held against |
|---|---|{lines}---|
{rows}
{missing}
- *diffusers' loader*: `load_lora_weights`, `load_textual_inversion`, `from_single_file` and
  `load_ip_adapter` read the same file, `ControlNetModel.from_pretrained` the same folder.
- *the paper's sums, in diffusers*: diffusers loads no such file, or not whole. The tests' writer
  says in float64 what each weight becomes, by the papers' formulas, and diffusers draws with that.
- *diffusers, of the folder*: diffusers' loader lacks this network in one file; it draws with the
  folder that the file was written from.

[Adapters](../guides/adapters.md), [models in one file](../guides/checkpoints.md) and
[ControlNets](../guides/control.md) say what each form is, and which keys it has.
`python -m tests.forms.page` draws all cells again, and writes this page.
"""


def page(cells: Mapping[str, str]) -> str:
    """Return the page; `cells` has the row of each name."""
    missing = "; ".join(row.name for row in ROWS if row.name not in cells)
    return _TEXT.format(
        steps=STEPS,
        least=LEAST_PSNR_DB,
        plain=FARTHEST_PLAIN_DB,
        targets=" | ".join(TARGETS),
        lines="---|" * len(TARGETS),
        missing=f"\nNot drawn yet: {missing}.\n" if missing else "",
        rows="\n".join(cells[row.name] for row in ROWS if row.name in cells),
    )


def cell_of(row: Row, psnr_db: Mapping[str, float]) -> str:
    """Return a row of the table."""
    values = (psnr_db[target] for target in TARGETS)
    shown = " | ".join("equal" if it == math.inf else f"{it:.1f} dB" for it in values)
    return f"| {row.form} | {model_of(row)} | {shown} | {row.against} |"


def model_of(row: Row) -> str:
    """Return the pipeline of diffusers that a row's tiny model is of."""
    return f"`{FAMILIES[row.family].pipeline.removesuffix('Pipeline')}`, {row.family}"


def rows_on(text: str) -> dict[str, str]:
    """Return the rows that a page has, by name."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return {
        row.name: line
        for row in ROWS
        for line in lines
        if line.startswith(f"| {row.form} | {model_of(row)} |")
    }


def main() -> None:
    """Draw the cells, and write the page after each row."""
    import diffusers
    import torch

    torch.set_num_threads(1)
    diffusers.logging.set_verbosity_error()
    rows = [row for name in sys.argv[1:] for row in ROWS if row.name == name] or ROWS
    cells = rows_on(PAGE.read_text(encoding="utf-8")) if PAGE.is_file() else {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, row in enumerate(rows):
            model = Path(scratch) / row.family
            if not model.is_dir():
                build(row.family, model)
            place = Path(scratch) / str(number)
            place.mkdir()
            drawn = draw(row, model, place)
            print(json.dumps([row.name, dict(drawn.psnr_db), drawn.plain_db]), flush=True)  # noqa: T201 - this is a script
            cells[row.name] = cell_of(row, drawn.psnr_db)
            PAGE.write_text(page(cells), encoding="utf-8")


if __name__ == "__main__":
    main()
