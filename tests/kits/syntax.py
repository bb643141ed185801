"""Finds what a grammar cannot read in a source file: tree-sitter's, and Python's own parser."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from typing import Any

GRAMMARS = {
    ".kt": "tree_sitter_kotlin",
    ".kts": "tree_sitter_kotlin",
    ".cpp": "tree_sitter_cpp",
    ".hpp": "tree_sitter_cpp",
    ".swift": "tree_sitter_swift",
}
"""Suffix -> the package on PyPI that has its grammar."""

SUFFIXES = frozenset({*GRAMMARS, ".py"})


def faults(source: bytes, suffix: str) -> list[str]:
    """Return the line and the text of each ERROR and MISSING node; of Python, the first fault."""
    if suffix == ".py":
        try:
            ast.parse(source)
        except SyntaxError as error:
            return [f"line {error.lineno}: {error.msg}"]
        return []
    import tree_sitter

    language = tree_sitter.Language(import_module(GRAMMARS[suffix]).language())
    tree = tree_sitter.Parser(language).parse(source)
    return [_describe(node) for node in _walk(tree.root_node) if node.is_error or node.is_missing]


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _describe(node: Any) -> str:
    kind = "missing" if node.is_missing else "error"
    text = (node.text or b"").decode("utf-8", errors="replace")[:60]
    return f"line {node.start_point[0] + 1}: {kind} {node.type}: {text!r}"
