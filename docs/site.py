"""What `make docs` adds to MkDocs: the pages that lie beside their code are part of the site.

The README is its first page. A page outside of `docs/` that is linked to (a kit, a model's card, a
page of results) becomes a page below `project/`; a link to a source file becomes its name. Links
are written for a reader of the repository, and stay as they are there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PROJECT = "project"
HOME = "index.md"
_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """List the decisions in the navigation, by number."""
    decisions = [f"decisions/{path.name}" for path in sorted(ROOT.glob("docs/decisions/*.md"))]
    config.nav.append({"Decisions": decisions})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the README and every page outside of `docs/` that a page of the site links to."""
    files.append(File.generated(config, HOME, content=(ROOT / "README.md").read_text("utf-8")))
    todo = [file.src_uri for file in files.documentation_pages()]
    while todo:
        page = todo.pop()
        text = _source(page).read_text(encoding="utf-8")
        for _, link, _ in _LINK.findall(text):
            place = _target(page, link)
            if place is None or place.suffix not in (".md", ".png"):
                continue
            uri = _uri(place)
            if files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, abs_src_path=str(place)))
                if place.suffix == ".md":
                    todo.append(uri)
    return files


def on_page_markdown(markdown: str, *, page: Any, files: Files, **_: Any) -> str:
    """Point links at pages of the site; what is no page of it keeps its name alone."""
    uri = page.file.src_uri

    def pointed(found: re.Match[str]) -> str:
        text, link, anchor = found[1], found[2], found[3] or ""
        place = _target(uri, link)
        if place is None:
            return found[0]
        target = _uri(place)
        if files.get_file_from_path(target) is None:
            return text.removeprefix("!")[1:-1]
        return f"{text}({posixpath.relpath(target, posixpath.dirname(uri))}{anchor})"

    return _LINK.sub(pointed, markdown)


def _source(uri: str) -> Path:
    """Return the file in the repository that a page of the site is made of."""
    if uri == HOME:
        return ROOT / "README.md"
    if uri.startswith(f"{PROJECT}/"):
        return ROOT / uri.removeprefix(f"{PROJECT}/")
    return ROOT / "docs" / uri


def _target(uri: str, link: str) -> Path | None:
    """Return the file or folder of the repository that a link leads to, or None for an address."""
    if "://" in link or link.startswith("mailto:"):
        return None
    return (_source(uri).parent / link).resolve()


def _uri(place: Path) -> str:
    """Return where a file of the repository is on the site."""
    relative = place.relative_to(ROOT)
    if relative.as_posix() == "README.md":
        return HOME
    inside = relative.parts[0] == "docs"
    return Path(*relative.parts[1:]).as_posix() if inside else f"{PROJECT}/{relative.as_posix()}"
