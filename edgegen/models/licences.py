"""Finds the licence of a pipeline: its name, and the files that travel with a package."""

from __future__ import annotations

from pathlib import Path

_NAMES = ("licence", "license", "notice", "copying", "copyright")
_SUFFIXES = ("", ".md", ".txt", ".pdf", ".rst", ".html")
_TEXTS = (  # words near the start of a licence's text → the hub's name for it
    ("Apache License", "apache-2.0"),
    ("MIT License", "mit"),
    ("CreativeML Open RAIL++-M", "openrail++"),
    ("CreativeML Open RAIL-M", "creativeml-openrail-m"),
    ("STABILITY AI COMMUNITY LICENSE", "stabilityai-ai-community"),
)
_READ_BYTES = 64 << 10


def licence_files(folder: Path) -> list[Path]:
    """Return the licence, notice and copyright files at the top of a pipeline's folder."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and path.name.lower().startswith(_NAMES)
        and (path.suffix.lower() in _SUFFIXES or "-" in path.name)
    )


def licence_name(folder: Path) -> str | None:
    """Return the licence that the model card names, else the one whose text is there, else None.

    A card names it in its front matter (`license: apache-2.0`; a licence of its own as
    `license: other` with a `license_name`).
    """
    card = _front_matter(folder / "README.md")
    name = card.get("license")
    if name == "other":
        name = card.get("license_name", name)
    if name:
        return name
    for path in licence_files(folder):
        if not path.name.lower().startswith(("licence", "license", "copying")):
            continue
        start = _start_of(path)
        for words, known in _TEXTS:
            if words.lower() in start.lower():
                return known
    return None


def _front_matter(card: Path) -> dict[str, str]:
    """Return the one-line string values between the first two lines of `---`."""
    lines = _start_of(card).splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    values: dict[str, str] = {}
    for line in lines[1:]:
        if line.strip() == "---":
            return values
        key, colon, value = line.partition(":")
        if colon and key == key.strip() and value.strip():
            values[key] = value.split(" #")[0].strip().strip("'\"")
    return {}


def _start_of(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(_READ_BYTES).decode("utf-8", errors="replace").removeprefix("\ufeff")
