"""The documentation as a site: it builds strictly, and every link in it leads somewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.browsers import chromium

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """Collects what a page links to, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value)
            if name == "id" and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_of_the_documentation_is_in_the_site(site: Path) -> None:
    for path in (ROOT / "docs").rglob("*.md"):
        assert (site / path.relative_to(ROOT / "docs").with_suffix(".html")).is_file()
    assert "One command a job" in (site / "index.html").read_text("utf-8")
    assert (site / "project/targets/coreml/kit/index.html").is_file()


def test_every_link_leads_to_a_file_of_the_site(site: Path) -> None:
    pages = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html" or not parts.path:
                continue
            target = (path.parent / unquote(parts.path)).resolve()
            assert target.exists(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target in pages and target != path:
                assert parts.fragment in pages[target].anchors, f"{path.name}: {link}"
            checked += 1
    assert checked > 500


@pytest.mark.slow
def test_a_browser_shows_it_from_the_disk(site: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            chromium(),
            *("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"),
            f"--user-data-dir={tmp_path}",
            "--dump-dom",
            (site / "benchmarks/results.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Conversion against other tools" in done.stdout
    assert "md-nav" in done.stdout
