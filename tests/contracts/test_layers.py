"""Who may import whom: the arrows of docs/concepts/architecture.md, read from the source."""

from __future__ import annotations

import ast
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from edgegen_runner.runtimes import RUNTIMES

from edgegen.exporters.base import EXPORTERS
from tests.contracts.source_tree import (
    HOST,
    ROOT,
    RUNNER,
    imported_at_start,
    imports_of,
    modules,
    needs,
    reachable,
    tree_of,
)

TOOLKITS = {
    *("torch", "diffusers", "transformers", "accelerate", "safetensors", "tokenizers"),
    *("onnx", "onnx_ir", "onnxscript", "onnxruntime", "openvino", "nncf", "coremltools"),
    *("litert_torch", "ai_edge_litert", "ai_edge_quantizer", "huggingface_hub", "PIL", "rich"),
}
"""What takes long to import, or may not be installed."""

RUNTIMES_OF_THE_RUNNER = {runtime.module.partition(".")[0] for runtime in RUNTIMES}
MAY_IMPORT_TOOLKITS = {"exporters", "reference", "compress", "mil"}
"""Layers whose modules may import toolkits at their top: others import them in functions."""

ALWAYS_LIGHT = {
    "edgegen.exporters",
    "edgegen.exporters.base",
    "edgegen.exporters.options",
    *(code.options.partition(":")[0] for code in EXPORTERS.values()),
    "edgegen.reference",
}
"""Modules of those layers that commands import before they know that a toolkit is needed."""

PROCESS_MODULES = {"subprocess", "multiprocessing", "pty", "concurrent.futures.process"}
PROCESS_CALLS = {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile"}

HOST_MODULES = modules(HOST)
RUNNER_MODULES = modules(RUNNER)
ALL_MODULES = {**HOST_MODULES, **RUNNER_MODULES}
NEEDS_OF_ALL = {name: needs(name, ALL_MODULES) for name in ALL_MODULES}
NEEDS = {name: needs(name, HOST_MODULES) for name in HOST_MODULES}
FREE = {"cli", "__main__", ""}
"""What may import every layer."""


def table_of_layers(page: str) -> dict[str, set[str]]:
    """Return each layer of the page's table, in its order, and those that it may import."""
    section = page.split("\n## Layers\n")[1].split("\n## ")[0]
    rows = (row.strip("|").split("|") for row in section.splitlines() if row.startswith("| `"))
    return {name.strip(" `"): set(re.findall(r"`(\w+)`", may)) for name, _, may in rows}


LAYERS = table_of_layers(
    (ROOT / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
)


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("name", HOST_MODULES)
def test_a_module_needs_only_its_own_layer_and_those_below(name: str) -> None:
    layer = layer_of(name)
    if layer in FREE:
        return
    assert layer in LAYERS, f"{layer} is a new layer: give it a row in architecture.md"
    wrong = [
        f"line {line}: {target}"
        for target, line in NEEDS[name].items()
        if layer_of(target) not in {layer, "", *LAYERS[layer]}
    ]
    assert not wrong, f"docs/concepts/architecture.md does not let {layer} import that"


@pytest.mark.parametrize("layer", LAYERS)
def test_every_arrow_of_the_page_is_used(layer: str) -> None:
    members = [name for name in NEEDS if layer_of(name) == layer]
    assert members, f"{layer} has no modules: take its row out of docs/concepts/architecture.md"
    used = {layer_of(target) for name in members for target in NEEDS[name]}
    unused = LAYERS[layer] - used
    assert not unused, f"take them out of the row of {layer} in docs/concepts/architecture.md"


def test_a_layer_imports_only_layers_that_stand_above_it_in_the_page() -> None:
    order = list(LAYERS)
    assert not {
        layer: wrong
        for place, layer in enumerate(order)
        if (wrong := LAYERS[layer] - set(order[:place]))
    }


@pytest.mark.parametrize("name", [name for name in HOST_MODULES if layer_of(name) == "exporters"])
def test_exporters_and_devices_never_meet(name: str) -> None:
    met = {layer_of(each) for each in reachable(name, NEEDS)}
    assert not met & {"devices", "runner"}


@pytest.mark.parametrize("modules_of", [HOST_MODULES, RUNNER_MODULES], ids=["host", "runner"])
def test_no_modules_import_one_another_in_a_circle(modules_of: dict[str, Path]) -> None:
    imports = {name: needs(name, modules_of, named=False) for name in modules_of}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("name", [name for name in HOST_MODULES if layer_of(name) == "core"])
def test_core_needs_the_standard_library_only(name: str) -> None:
    outside = {
        root
        for each in (name, *reachable(name, NEEDS_OF_ALL))
        for found in imports_of(each, ALL_MODULES[each])
        if (root := found.module.partition(".")[0])
        not in {*sys.stdlib_module_names, "edgegen", "edgegen_runner"}
    }
    assert not outside


def test_only_the_console_imports_rich() -> None:
    importers = {
        name
        for name, path in HOST_MODULES.items()
        if any(each.module.partition(".")[0] == "rich" for each in imports_of(name, path))
    }
    assert importers == {"edgegen.cli.console"}


def test_only_two_modules_start_processes() -> None:
    starters = {
        name
        for name, path in HOST_MODULES.items()
        if any(
            each.module == module or each.module.startswith(f"{module}.")
            for each in imports_of(name, path)
            for module in PROCESS_MODULES
        )
        or _calls_of_os(path) & PROCESS_CALLS
    }
    assert starters == {"edgegen.core.process", "edgegen.core.fork"}


def _calls_of_os(path: object) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree_of(path))  # type: ignore[arg-type]  # a Path
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }


@pytest.mark.parametrize("name", ALL_MODULES)
def test_only_the_console_prints(name: str) -> None:
    if name == "edgegen_runner.command_line":  # the runner's own console
        return
    path = ALL_MODULES[name]
    lines = [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("print", "input", "breakpoint")
    ]
    assert not lines


@pytest.mark.parametrize("name", RUNNER_MODULES)
def test_the_runner_imports_nothing_of_the_host(name: str) -> None:
    allowed = {*sys.stdlib_module_names, "edgegen_runner", "numpy", *RUNTIMES_OF_THE_RUNNER}
    outside = {
        root
        for each in imports_of(name, RUNNER_MODULES[name])
        if (root := each.module.partition(".")[0]) not in allowed
    }
    assert not outside


@pytest.mark.parametrize("name", HOST_MODULES)
def test_importing_a_module_imports_no_toolkit(name: str) -> None:
    if layer_of(name) in MAY_IMPORT_TOOLKITS and name not in ALWAYS_LIGHT:
        return
    found = imported_at_start(name, HOST_MODULES)
    assert not {toolkit: found[toolkit] for toolkit in TOOLKITS & found.keys()}


@pytest.mark.parametrize("name", HOST_MODULES)
def test_no_module_catches_everything_below_the_boundary(name: str) -> None:
    if name in ("edgegen.cli.main",):
        return
    caught = [
        node.lineno
        for node in ast.walk(tree_of(HOST_MODULES[name]))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node)
    ]
    assert not caught


def _is_broad(handler: ast.ExceptHandler) -> bool:
    """Return whether all exceptions are caught and not raised again."""
    names = (
        {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
        if (handler.type)
        else {"BaseException"}
    )
    reraises = isinstance(handler.body[-1], ast.Raise)
    return bool(names & {"Exception", "BaseException"}) and not reraises


def test_nothing_mentions_the_machine_that_it_was_written_on() -> None:
    words = ("/work/" + "shared", "/work/" + "main", "/tmp/" + "common")
    folders = ("edgegen", "device_runners", "targets", "profiles", "tests", "docs", "benchmarks")
    suffixes = {".py", ".toml", ".md", ".json", ".txt", ".cfg", ".yml"}
    found = [
        str(path.relative_to(ROOT))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in suffixes
        and path.stat().st_size < 1 << 20
        and any(word in path.read_text(encoding="utf-8", errors="replace") for word in words)
    ]
    assert not found
