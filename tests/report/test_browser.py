"""The pages in headless Chromium: nothing is wider than the screen, and the table sorts."""

import functools
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgegen.report import choice_page, html, measurements_page, quality_page
from edgegen.statistics.analysis import analyse
from tests.browsers import chromium
from tests.report.choices import (
    Drawn,
    choice,
    evaluation,
    evaluations_of,
    measurements_of,
    nothing_fits,
)
from tests.statistics.samples import measurement, throttled

PROBE = """
<script>
addEventListener("load", () => {
  const told = {width: document.documentElement.scrollWidth, screen: innerWidth, columns: []};
  const table = document.getElementById("candidates");
  for (const head of table ? table.tHead.rows[0].cells : []) {
    const orders = [];
    for (let i = 0; i < 2; i++) {
      head.querySelector("button").click();
      const at = head.cellIndex;
      orders.push([...table.tBodies[0].rows].map((row) => row.cells[at].dataset.value ?? null));
    }
    told.columns.push([head.textContent, head.dataset.sort, head.ariaSort, orders]);
  }
  told.paper = getComputedStyle(document.body).backgroundColor;
  told.unnamed = [...document.querySelectorAll("img:not([alt]), svg:not(:has(title))")].length;
  const heights = [...document.querySelectorAll("svg text")].map(
    (text) => text.getBoundingClientRect().height);
  told.small = heights.filter((height) => height && height < 8).length;
  document.title = "PROBE" + JSON.stringify(told);
});
</script>
"""


@functools.cache
def pages() -> dict[str, Callable[[], str]]:
    whole = choice()
    found = evaluations_of(whole)
    drawn = {name: Drawn() for name in found}
    some = [(it, Drawn()) for it in found.values()][:3]
    return {
        "choice": lambda: choice_page.page(whole, found, measurements_of(whole), drawn),
        "nothing-fits": lambda: choice_page.page(nothing_fits()),
        "quality": lambda: quality_page.page([(evaluation(whole.rows[0].way), Drawn())]),
        "qualities": lambda: quality_page.page(some),
        "measurements": lambda: measurements_page.page(
            [analyse(measurement(images=4)), analyse(measurement(images=9)), throttled()]
        ),
        "bench": lambda: html.page(analyse(measurement(images=4))),
    }


def probe(page: Path, width: int, *flags: str) -> dict[str, Any]:
    done = subprocess.run(
        [
            chromium(),
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *flags),
            f"--window-size={width},900",
            f"--user-data-dir={page.parent / 'browser'}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    title = re.search(r"<title>PROBE(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stderr[-2000:]
    found = json.loads(title.group(1).replace("&amp;", "&").replace("&lt;", "<"))
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_fits_a_phone_and_a_desk_in_light_and_dark(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(pages()[name]().replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    papers = set()
    for width in (390, 1280):
        for flags in ((), ("--blink-settings=preferredColorScheme=0",)):
            found = probe(page, width, *flags)
            assert found["screen"] == width
            assert found["width"] <= width
            assert found["unnamed"] == 0
            assert found["small"] == 0
            papers.add(found["paper"])
    assert len(papers) == 2


@pytest.mark.slow
def test_every_column_sorts_both_ways_with_unknowns_last(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(pages()["choice"]().replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    columns = probe(page, 1280)["columns"]
    assert len(columns) == 10
    for name, kind, sort, (up, down) in columns:
        assert sort == "descending", name
        known = [value for value in up if value is not None]
        assert known == up[: len(known)]
        if kind == "number":
            assert [float(value) for value in known] == sorted(map(float, known))
            falling = [float(value) for value in down if value is not None]
            assert falling == sorted(map(float, known), reverse=True)
            assert down[len(known) :] == [None] * (len(down) - len(known))
        else:
            assert up == list(reversed(down))
