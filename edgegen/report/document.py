"""A page as one self-contained file: its style, its script and its raw data are inside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgegen.core.codec import encode
from edgegen.report.svg import Markup, element


def document(title: str, body: Sequence[Markup], raw: object, *, file_name: str, made: str) -> str:
    """Return a page that loads nothing, and works without its script.

    `raw` is what its figures were computed from, which a button saves as `file_name`; `made` says
    what wrote the page. Empty parts of the body are left out.
    """
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        Markup(f"<style>{_asset('page.css')}</style>"),
    ]
    written = json.dumps(encode(raw), ensure_ascii=True, allow_nan=False)
    script = written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return (
        "<!doctype html>\n"
        + element(
            "html",
            element("head", *head),
            element(
                "body",
                element("main", *[part for part in body if part], _footer(file_name, made)),
                element("div", "", id="tip"),
                Markup(f'<script type="application/json" id="raw">{script}</script>'),
                Markup(f"<script>{_asset('page.js')}</script>"),
            ),
            lang="en",
        )
        + "\n"
    )


def header(title: str, line: str, badges: Sequence[tuple[str, str]]) -> Markup:
    """Return the head of a page: its title, a line below it, and badges `(class, text)`."""
    return element(
        "header",
        element("h1", title),
        element("p", line),
        element(
            "div",
            *(element("span", text, class_=f"badge {kind}".strip()) for kind, text in badges),
            class_="badges",
        ),
    )


def _footer(file_name: str, made: str) -> Markup:
    save = {"id": "save", "type": "button", "data_name": file_name}
    return element(
        "footer", element("button", "Save the raw data (JSON)", **save), element("p", made)
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
