"""Reads the imports of the project's modules from their source, without importing them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOST = ROOT / "edgegen"
RUNNER = ROOT / "device_runners" / "python" / "edgegen_runner"


@dataclass(frozen=True, slots=True)
class Import:
    """One import: of which module, where, and whether it happens when the importer is imported."""

    module: str
    line: int
    at_start: bool


_NAMED = re.compile(r"(edgegen(?:_runner)?(?:\.\w+)+)(?::\w+)?")
"""A module's name in a string: a table names what is imported later, or started as a process."""


@cache
def modules(root: Path) -> dict[str, Path]:
    """Return all modules below a package's folder, by dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def imports_of(name: str, path: Path) -> tuple[Import, ...]:
    """Return a module's imports; what `from a import b` names may be a module or a value."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return tuple(_walk(tree_of(path), package, at_start=True))


@cache
def named_in(path: Path) -> tuple[Import, ...]:
    """Return the modules that a module names in its strings."""
    return tuple(
        Import(found[1], node.lineno, at_start=False)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and (found := _NAMED.fullmatch(node.value))
    )


def needs(name: str, known: dict[str, Path], *, named: bool = True) -> dict[str, int]:
    """Return our modules that a module imports at any time, or names, and a line of each."""
    path = known[name]
    found = (*imports_of(name, path), *(named_in(path) if named else ()))
    targets = ((resolve(each.module, known), each.line) for each in found)
    return {target: line for target, line in targets if target not in (None, name)}


def reachable(name: str, edges: Mapping[str, Iterable[str]]) -> set[str]:
    """Return all modules that a module needs, directly or by others."""
    found: set[str] = set()
    todo = [name]
    while todo:
        new = set(edges[todo.pop()]) - found
        found |= new
        todo += new
    return found


def _walk(node: ast.AST, package: str, *, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, at_start)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                parents = package.split(".")
                kept = parents[: len(parents) - child.level + 1]
                base = ".".join([*kept, *([child.module] if child.module else [])])
            for alias in child.names:
                yield Import(f"{base}.{alias.name}", child.lineno, at_start)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            yield from _walk_all(child.body, package, at_start=False)
            yield from _walk_all(child.orelse, package, at_start=at_start)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _walk(child, package, at_start=False)
        else:
            yield from _walk(child, package, at_start=at_start)


def _walk_all(nodes: list[ast.stmt], package: str, *, at_start: bool) -> Iterator[Import]:
    for node in nodes:
        yield from _walk(ast.Module(body=[node], type_ignores=[]), package, at_start=at_start)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def resolve(module: str, known: dict[str, Path]) -> str | None:
    """Return the longest part of a dotted name that is one of our modules, or None."""
    while module and module not in known:
        module = module.rpartition(".")[0]
    return module or None


def imported_at_start(name: str, known: dict[str, Path]) -> dict[str, str]:
    """Return what importing a module imports, ours and others', each with the importer's name."""
    found: dict[str, str] = {}
    todo = [name]
    while todo:
        importer = todo.pop()
        parents = [importer.rsplit(".", n)[0] for n in range(1, importer.count(".") + 1)]
        for parent in parents:
            if parent in known and parent not in found:
                found[parent] = importer
                todo.append(parent)
        for each in imports_of(importer, known[importer]):
            if not each.at_start:
                continue
            target = resolve(each.module, known) or each.module.partition(".")[0]
            if target not in found:
                found[target] = importer
                if target in known:
                    todo.append(target)
    return found
