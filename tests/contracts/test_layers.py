"""Who may import whom: the arrows of docs/concepts/architecture.md, read from the source."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
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
    "ray",
    *("skimage", "scipy", "flip_evaluator"),
}
"""What takes long to import, or may not be installed."""

RUNTIMES_OF_THE_RUNNER = {runtime.module.partition(".")[0] for runtime in RUNTIMES}
MAY_IMPORT_TOOLKITS = {"exporters", "reference", "compress", "mil", "pruning", "sensitivity"}
"""Layers whose modules may import toolkits at their top: others import them in functions."""

ALWAYS_LIGHT = {
    "edgegen.exporters",
    "edgegen.exporters.base",
    "edgegen.exporters.options",
    *(code.options.partition(":")[0] for code in EXPORTERS.values()),
    "edgegen.pruning",
    "edgegen.pruning.run",
    "edgegen.reference",
    "edgegen.sensitivity",
    "edgegen.sensitivity.run",
}
"""Modules of those layers that commands import before they know that a toolkit is needed."""

PROCESS_MODULES = {"subprocess", "multiprocessing", "pty", "concurrent.futures.process"}
PROCESS_CALLS = {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile"}

HOST_MODULES = modules(HOST)
RUNNER_MODULES = modules(RUNNER)
ALL_MODULES = {**HOST_MODULES, **RUNNER_MODULES}
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


@pytest.fixture(scope="module")
def needed() -> Mapping[str, Mapping[str, int]]:
    """Return the modules of the host that each of them needs."""
    return {name: needs(name, HOST_MODULES) for name in HOST_MODULES}


def test_a_module_needs_only_its_own_layer_and_those_below(
    needed: Mapping[str, Mapping[str, int]],
) -> None:
    layered = {name: layer_of(name) for name in needed if layer_of(name) not in FREE}
    new = set(layered.values()) - set(LAYERS)
    assert not new, "give a new layer a row in docs/concepts/architecture.md"
    wrong = [
        f"{name}, line {line}: {target}"
        for name, layer in layered.items()
        for target, line in needed[name].items()
        if layer_of(target) not in {layer, "", *LAYERS[layer]}
    ]
    assert not wrong, "docs/concepts/architecture.md does not let them import that"


@pytest.mark.parametrize("layer", LAYERS)
def test_every_arrow_of_the_page_is_used(
    layer: str, needed: Mapping[str, Mapping[str, int]]
) -> None:
    members = [name for name in needed if layer_of(name) == layer]
    assert members, f"{layer} has no modules: take its row out of docs/concepts/architecture.md"
    used = {layer_of(target) for name in members for target in needed[name]}
    unused = LAYERS[layer] - used
    assert not unused, f"take them out of the row of {layer} in docs/concepts/architecture.md"


def test_a_layer_imports_only_layers_that_stand_above_it_in_the_page() -> None:
    order = list(LAYERS)
    assert not {
        layer: wrong
        for place, layer in enumerate(order)
        if (wrong := LAYERS[layer] - set(order[:place]))
    }


def test_exporters_and_devices_never_meet(needed: Mapping[str, Mapping[str, int]]) -> None:
    met = {
        f"{name}: {each}"
        for name in needed
        if layer_of(name) == "exporters"
        for each in reachable(name, needed)
        if layer_of(each) in ("devices", "runner")
    }
    assert not met


@pytest.mark.parametrize("modules_of", [HOST_MODULES, RUNNER_MODULES], ids=["host", "runner"])
def test_no_modules_import_one_another_in_a_circle(modules_of: dict[str, Path]) -> None:
    imports = {name: needs(name, modules_of, named=False) for name in modules_of}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_core_needs_the_standard_library_only() -> None:
    needed = {name: needs(name, ALL_MODULES) for name in ALL_MODULES}
    outside = {
        f"{name} by {each}: {found.module}"
        for name in HOST_MODULES
        if layer_of(name) == "core"
        for each in (name, *reachable(name, needed))
        for found in imports_of(each, ALL_MODULES[each])
        if found.module.partition(".")[0]
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
    assert starters == {"edgegen.core.process", "edgegen.core.fork", "edgegen.core.head_start"}


def _calls_of_os(path: object) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree_of(path))  # type: ignore[arg-type]  # a Path
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }


def test_only_the_console_prints() -> None:
    lines = [
        f"{name}, line {node.lineno}"
        for name, path in ALL_MODULES.items()
        if name != "edgegen_runner.command_line"  # the runner's own console
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("print", "input", "breakpoint")
    ]
    assert not lines


def test_the_runner_imports_nothing_of_the_host() -> None:
    allowed = {*sys.stdlib_module_names, "edgegen_runner", "numpy", *RUNTIMES_OF_THE_RUNNER}
    outside = {
        f"{name}: {each.module}"
        for name, path in RUNNER_MODULES.items()
        for each in imports_of(name, path)
        if each.module.partition(".")[0] not in allowed
    }
    assert not outside


def test_importing_a_module_imports_no_toolkit() -> None:
    light = [
        name
        for name in HOST_MODULES
        if layer_of(name) not in MAY_IMPORT_TOOLKITS or name in ALWAYS_LIGHT
    ]
    imported = {name: imported_at_start(name, HOST_MODULES) for name in light}
    assert not [
        f"{name}: {toolkit}, by {found[toolkit]}"
        for name, found in imported.items()
        for toolkit in TOOLKITS & found.keys()
    ]


def test_no_module_catches_everything_below_the_boundary() -> None:
    caught = [
        f"{name}, line {node.lineno}"
        for name, path in HOST_MODULES.items()
        if name != "edgegen.cli.main"
        for node in ast.walk(tree_of(path))
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
