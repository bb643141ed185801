"""Compiles a graph for the NPU of one chip, into contexts that its runtime loads as they are.

Qualcomm's compiler is in the wheel `onnxruntime-qnn`, under Qualcomm's own licence. It takes a
graph with fixed shapes and writes `model.onnx`, whose only node names `model_qnn.bin` beside it.
Nodes that the NPU can't take would stay in that graph, for the processor. Each part of a graph is
compiled in a fork, which gives its memory back, and in which the compiler may crash.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen_runner.contexts import context_of, read_context
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.heap import map_large_blocks

from edgegen.core.chips import Chip
from edgegen.core.codec import decode, encode
from edgegen.core.errors import EdgegenError, ExportError, MissingDependencyError, OutOfMemoryError
from edgegen.core.fork import run_forked
from edgegen.core.process import describe_exit
from edgegen.core.profile import CompilerEffort
from edgegen.core.worker import as_edgegen_errors, error_fields, error_from
from edgegen.exporters.base import CompiledComponent

PACKAGE, MODULE = "onnxruntime-qnn", "onnxruntime_qnn"
_CONTEXT = "EPContext"
_NAME = "qnn"
_SHOWN = 3
_OTHER = "Choose another recipe: fp16 or int8-static-a16."
_HINT = f"{_OTHER} Or leave these nodes to the processor with --allow-processor."


@dataclass(frozen=True, slots=True)
class _Node:
    op_type: str
    name: str


def require_compiler() -> None:
    """Raise MissingDependencyError where Qualcomm's compiler isn't installed."""
    if importlib.util.find_spec(MODULE) is None:
        raise MissingDependencyError(
            f"Qualcomm's compiler for the NPU is missing: {PACKAGE}.",
            hint="Run: pip install 'edgegen[npu]'. Its libraries have a licence of Qualcomm's own.",
        )


def compile_parts(
    graphs: Iterable[Path],
    folder: Path,
    chip: Chip,
    *,
    allow_processor: bool,
    effort: CompilerEffort = 3,
) -> CompiledComponent:
    """Compile the parts of a graph for a chip: into `folder`, by the names that they have.

    Raises what `compile_graph` raises.
    """
    made = [
        _in_fork(graph, folder / graph.name, chip, allow_processor=allow_processor, effort=effort)
        for graph in graphs
    ]
    return replace(made[0], on_processor=sum(it.on_processor for it in made), contexts=len(made))


def _in_fork(
    graph: Path, destination: Path, chip: Chip, *, allow_processor: bool, effort: CompilerEffort
) -> CompiledComponent:
    destination = destination.absolute()

    def work() -> str:
        # onnxruntime names what it compiles by a hash of the path that it is given: from within
        # the folder that is the name alone, wherever the graph lies.
        os.chdir(graph.parent)
        try:
            with as_edgegen_errors("npu"):
                made = compile_graph(
                    Path(graph.name),
                    destination,
                    chip,
                    allow_processor=allow_processor,
                    effort=effort,
                )
        except EdgegenError as error:
            return json.dumps({"error": error_fields(error)})
        return json.dumps({"made": encode(made)})

    forked = run_forked(work)
    if not forked.text:
        if forked.returncode == -signal.SIGKILL:
            raise _out_of_memory(chip, "the system ended it")
        raise ExportError(
            f"Qualcomm's compiler {describe_exit(forked.returncode)} on this graph for "
            f"{chip.title}.",
            hint=_OTHER,
        )
    outcome = json.loads(forked.text)
    if "error" in outcome:
        raise error_from(outcome["error"])
    return decode(CompiledComponent, outcome["made"], source=PACKAGE, at="made")


def compile_graph(
    graph: Path,
    destination: Path,
    chip: Chip,
    *,
    allow_processor: bool,
    effort: CompilerEffort = 3,
) -> CompiledComponent:
    """Compile a graph for a chip: to `destination`, an `.onnx`, and the context beside it.

    With less `effort` it takes less time, and the NPU may be slower.
    Raises ExportError, which names nodes and layers, where the NPU can't take all of the graph,
    unless `allow_processor`, and where the compiler made something else than it was asked for.
    """
    require_compiler()
    map_large_blocks()  # half a gigabyte less at the size of Stable Diffusion 1.5
    import onnxruntime as ort
    import onnxruntime_qnn as qnn

    ort.set_default_logger_severity(4)  # what it refuses is an exception; its log is on the side
    if not _devices(ort):  # a second registration is an error
        ort.register_execution_provider_library(_NAME, qnn.get_library_path())
    options = ort.SessionOptions()
    for key, value in (
        ("ep.context_enable", "1"),
        ("ep.context_file_path", str(destination)),
        ("ep.context_embed_mode", "0"),
    ):
        options.add_session_config_entry(key, value)
    options.add_provider_for_devices(_devices(ort)[:1], _settings(chip, effort, qnn))
    try:
        ort.InferenceSession(str(graph), sess_options=options)
    except Exception as error:  # onnxruntime's have no common class
        raise _refused(error, chip) from error
    left, sdk = _read_graph(destination)
    if left is None or (left and not allow_processor):
        raise _left_behind(left or (), chip)
    _require_for(destination, chip)
    return CompiledComponent(
        compiler=f"{PACKAGE} {qnn.__version__}",
        sdk=sdk,
        vtcm_bytes=read_context(context_of(destination)).vtcm_bytes,
        on_processor=len(left),
        effort=effort,
    )


def _devices(ort: Any) -> list[Any]:
    return [it for it in ort.get_ep_devices() if it.ep_name == _NAME]


def _settings(chip: Chip, effort: CompilerEffort, qnn: Any) -> dict[str, str]:
    settings = {
        "backend_path": qnn.get_qnn_htp_path(),
        "htp_arch": str(chip.architecture),
        "soc_model": str(chip.soc_model),
        "htp_graph_finalization_optimization_mode": str(effort),
        "offload_graph_io_quantization": "0",  # else the ends of a quantized graph stay behind
        "enable_htp_prepare_only": "1",
    }
    if chip.float16:  # float32 is computed in 16 bits: the NPU has no other floats
        settings["enable_htp_fp16_precision"] = "1"
    return settings


def _read_graph(path: Path) -> tuple[tuple[_Node, ...] | None, str]:
    """Return the nodes that stayed beside contexts, and the compiler's version.

    There are no nodes to return (None) where nothing was compiled.
    """
    import onnx_ir as ir

    if not path.is_file():
        return None, ""
    nodes = list(ir.load(path).graph)
    contexts = [node for node in nodes if node.op_type == _CONTEXT]
    if not contexts:
        return None, ""
    version = contexts[0].attributes.get("ep_sdk_version")
    left = tuple(_Node(it.op_type, it.name or "") for it in nodes if it.op_type != _CONTEXT)
    return left, "" if version is None else version.as_string()


def _require_for(destination: Path, chip: Chip) -> None:
    """Raise ExportError where the compiler made a context for another chip."""
    try:
        made = read_context(context_of(destination))
    except RunnerFailure as error:
        raise ExportError(f"{PACKAGE}: {error.message}", hint="Please report it.") from error
    if (made.part, made.architecture) != (chip.parts[0], chip.architecture):
        raise ExportError(
            f"{PACKAGE} compiled for {made.part} (V{made.architecture}), not for {chip.title}, "
            f"{chip.parts[0]} (V{chip.architecture}).",
            hint="Upgrade it: pip install --upgrade 'edgegen[npu]'",
        )


def _left_behind(nodes: Sequence[_Node], chip: Chip) -> ExportError:
    if not nodes:
        return ExportError(f"The NPU of {chip.title} takes no node of this graph.", hint=_OTHER)
    shown = ", ".join(f"{it.op_type} of {it.name.rpartition('/')[0]}" for it in nodes[:_SHOWN])
    more = f" and {len(nodes) - _SHOWN:,} more" if len(nodes) > _SHOWN else ""
    return ExportError(
        f"The NPU of {chip.title} doesn't take all of this graph: {shown}{more}.", hint=_HINT
    )


def _refused(error: Exception, chip: Chip) -> ExportError | OutOfMemoryError:
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "bad_alloc" in text or "memory" in text.lower():
        return _out_of_memory(chip, text[:300])
    return ExportError(
        f"Qualcomm's compiler refuses this graph for {chip.title}: {text[:300]}", hint=_OTHER
    )


def _out_of_memory(chip: Chip, why: str) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"Qualcomm's compiler ran out of memory for {chip.title}: {why}.",
        hint="Close other programs, cut the graph into smaller contexts (--part-size 500MB), or "
        "choose a recipe with fewer bits (int8-static-a16).",
    )
