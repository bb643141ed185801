"""What a wheel of edgegen holds, as hatchling would build it."""

from __future__ import annotations

from functools import cache

from hatchling.builders.wheel import WheelBuilder

from edgegen.core.shipped import shipped
from tests.contracts.source_tree import HOST, ROOT, RUNNER


@cache
def files() -> frozenset[str]:
    builder = WheelBuilder(str(ROOT))
    included = (*builder.recurse_included_files(), *forced(builder))
    return frozenset(each.distribution_path for each in included)


def forced(builder: WheelBuilder):  # type: ignore[no-untyped-def]  # hatchling has no types
    return builder.recurse_forced_files(builder.config.get_force_include())


def test_both_packages_are_in_it_whole() -> None:
    modules = {
        path.relative_to(package.parent).as_posix()
        for package in (HOST, RUNNER)
        for path in package.rglob("*.py")
    }
    assert modules <= files()


def test_what_ships_with_edgegen_is_where_it_is_looked_for() -> None:
    folders = [shipped(name) for name in ("targets", "profiles", "device_runners")]
    data = {
        f"edgegen/_shipped/{path.relative_to(ROOT).as_posix()}"
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
        and path.name != "README.md"
        and not path.is_relative_to(RUNNER.parent)
        and "__pycache__" not in path.parts
    }
    assert data
    assert data <= files()


def test_nothing_that_was_compiled_or_tested_here_is_in_it() -> None:
    assert not [name for name in files() if "__pycache__" in name or name.startswith("tests/")]
