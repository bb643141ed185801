"""Where Debian's archive is taken from: the mirrors that this machine's apt knows, or its own.

Formats: sources.list(5), one line a source, and deb822, paragraphs of fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgegen.runner.bundle.facts import Debian, Source

_ETC = Path("/etc/apt")
_ONE_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<rest>.*)")
_ARCHIVES = ("debian", "debian-security")
"""The last part of a mirror's address; with the component `main` it is Debian's, or a copy."""


def own_sources(debian: Debian, etc: Path = _ETC) -> tuple[Source, ...]:
    """Return this machine's mirrors of the release, or those of the facts where it has none.

    Only suites of the release are taken (`bookworm`, `bookworm-updates`, `bookworm-security`).
    """
    wanted = {suite for source in debian.sources for suite in source.suites}
    found: dict[str, list[str]] = {}
    for uri, suites, components in _entries(etc):
        if uri.rstrip("/").rsplit("/", 1)[-1] not in _ARCHIVES or "main" not in components:
            continue
        known = found.setdefault(uri.rstrip("/"), [])
        known += [suite for suite in suites if suite in wanted and suite not in known]
    mirrors = tuple(
        Source(uri=uri, suites=tuple(suites)) for uri, suites in found.items() if suites
    )
    if any(debian.release in mirror.suites for mirror in mirrors):
        return mirrors
    return debian.sources


def write_sources(path: Path, sources: tuple[Source, ...], debian: Debian) -> None:
    """Write sources in deb822's form; each must be signed with Debian's keys."""
    paragraphs = [
        f"Types: deb\nURIs: {source.uri}\nSuites: {' '.join(source.suites)}\n"
        f"Components: main\nArchitectures: {debian.architecture}\nSigned-By: {debian.keyring}\n"
        for source in sources
    ]
    path.write_text("\n".join(paragraphs), encoding="utf-8")


def _entries(etc: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the addresses, suites and components of all sources of binary packages."""
    lists = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    for path in lists:
        for line in _text(path).splitlines():
            match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
            if match is not None:
                yield match["uri"], [match["suite"]], match["rest"].split()
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        for paragraph in re.split(r"\n\s*\n", _text(path)):
            fields = _fields(paragraph)
            if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"]) != ["no"]:
                for uri in fields.get("uris", []):
                    yield uri, fields.get("suites", []), fields.get("components", [])


def _fields(paragraph: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    name = ""
    for line in paragraph.splitlines():
        if line.startswith("#"):
            continue
        if not line[:1].isspace():
            name, _, line = line.partition(":")
        fields.setdefault(name.strip().lower(), []).extend(line.split())
    return fields


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
