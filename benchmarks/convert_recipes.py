"""Every recipe of every target beside the peers' compression, in one run.

    python benchmarks/convert_recipes.py [--recipe TARGET:RECIPE …] --sources FOLDER [--write NAME]

edgegen converts the whole pipeline from its folder, a command a recipe; recipes that calibrate
share a command, and each counts the calibration as a whole. Right after it the peer of that recipe
compresses the denoiser (`compress_denoiser.py`): onnxruntime's quantizers, nncf,
ai-edge-quantizer, coremltools. It starts from edgegen's file in float, so that both make the same
network; exporting it is not in the peer's figure (`convert_onnx.py` and its likes measure that).
Environments of peers: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.conversion import (
    edgegen_command,
    end_children_when_terminated,
    model_folder,
    read_through,
    say,
    size_bytes,
    spend,
    versions,
)
from benchmarks.convert_recipes_report import (
    Ours,
    RecipeRow,
    Report,
    TargetRows,
    Theirs,
    markdown,
    missed,
    table,
)
from benchmarks.machine import read_machine
from benchmarks.peer_environments import PEERS
from benchmarks.results_files import RESULTS, keep
from edgegen.core.codec import load_json
from edgegen.core.package import EVIDENCE_NAME, Evidence, StageCost
from edgegen.core.process import ProcessError
from edgegen.core.recipe import CALIBRATED
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target

DENOISER = "unet"
SCRIPT = Path(__file__).with_name("compress_denoiser.py")
PROFILES = Path(__file__).resolve().parents[1] / "profiles"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSide:
    """The peer of a target: `environment` is a row of `PEERS`, None is edgegen's own.

    `source` is the recipe whose denoiser it compresses, `ways` those of `compress_denoiser.py` by
    edgegen's recipe. `minimum_os` is the system that the source is made for.
    """

    name: str
    environment: str | None
    toolkits: tuple[str, ...]
    source: str
    artifact: str
    ways: Mapping[str, str]
    minimum_os: int | None = None


SIDES: Mapping[str, PeerSide] = {
    "onnx": PeerSide(
        name="onnxruntime's quantizers",
        environment=None,
        toolkits=("onnxruntime", "onnx", "numpy"),
        source="fp32",
        artifact="model.onnx",
        ways={
            "int8": "MatMulNBits, 8 bits",
            "int8-dynamic": "quantize_dynamic",
            "int4": "MatMulNBits, 4 bits",
            "int8-static": "quantize_static, QUInt8",
            "int8-static-a16": "quantize_static, QUInt16",
        },
    ),
    "openvino": PeerSide(
        name="nncf",
        environment="openvino",
        toolkits=("nncf", "openvino", "numpy"),
        source="fp32",
        artifact="openvino_model.xml",
        ways={
            "int8": "compress_weights, INT8_SYM",
            "int4": "compress_weights, INT4_SYM",
            "int4-asymmetric": "compress_weights, INT4_ASYM",
            "int8-hybrid": "quantize, hybrid",
            "int8-static": "quantize",
        },
    ),
    "tflite": PeerSide(
        name="ai-edge-quantizer, repaired",
        environment="litert",
        toolkits=("ai-edge-quantizer", "ai-edge-litert", "numpy"),
        source="fp32",
        artifact="model.tflite",
        ways={
            "fp16-storage": "fp16",
            "int8-dynamic": "dynamic_wi8_afp32",
            "int8-weights": "weight_only_wi8_afp32",
            "int4-dynamic": "dynamic_wi4b32_afp32",
            "int4-channel": "dynamic_wi4c_afp32",
            "int8-static": "static_wi8_ai8",
            "int8-static-a16": "static_wi8_ai16",
        },
    ),
    "coreml": PeerSide(
        name="coremltools.optimize",
        environment="coreml",
        toolkits=("coremltools", "numpy", "scikit-learn"),
        source="fp16",
        artifact="*.mlpackage",
        ways={
            "int8": "int8",
            "int4": "int4",
            "palette8": "palette8",
            "palette6": "palette6",
            "palette4": "palette4",
            "palette4-grouped": "palette4-grouped",
        },
        minimum_os=18,
    ),
}
"""Recipes that no peer has a way for are not in a side's ways: edgegen is measured alone."""


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    end_children_when_terminated()
    model = model_folder(options.model)
    if options.resume:
        report = load_json(Report, RESULTS / f"{options.write}.json")
    else:
        report = Report(
            model=options.model,
            denoiser=DENOISER,
            machine=read_machine(),
            targets=(),
            note=options.note,
        )
    with tempfile.TemporaryDirectory(prefix="recipes-", dir=options.work) as work:
        for group in _groups(options.recipes or _every_recipe()):
            if options.peers_only:
                costs = {key: _known(report, key) for key in group}
            else:
                costs = _ours(model, Path(work), group, options.keep)
            for key, ours in costs.items():
                row = _beside(
                    RecipeRow(recipe=key[1], ours=ours), key[0], model, Path(work), options
                )
                say(row)
                report = _with(report, key[0], row)
                if options.write:
                    _write(report, options.write)
    print(table(report))
    return 1 if missed(report) else 0


Key = tuple[str, str]
"""A target and one of its recipes."""


def _every_recipe() -> list[Key]:
    return [(target, recipe) for target in SIDES for recipe in load_target(target).recipes]


def _groups(keys: Sequence[Key]) -> Iterator[list[Key]]:
    """Yield what one command makes: each recipe by itself, at last those that calibrate."""
    kinds = {it: load_recipe(it[1], load_target(it[0])).activation_types for it in keys}
    calibrated = [it for it, found in kinds.items() if found & CALIBRATED]
    yield from ([key] for key in keys if key not in calibrated)
    if calibrated:
        yield calibrated


def _with(report: Report, target: str, row: RecipeRow) -> Report:
    """Return a report with a row more; a recipe that has one gets this in its place."""
    side = SIDES[target]
    python = _python(side)
    named = {} if python is None else versions(str(python), side.toolkits)
    new = TargetRows(target=target, peer=side.name, versions=named, rows=())
    tables = {it.target: it for it in report.targets}
    old = tables.get(target, new)
    rows = {it.recipe: it for it in (*old.rows, row)}
    tables[target] = replace(old, rows=tuple(rows.values()))
    return replace(report, targets=tuple(tables.values()))


def _known(report: Report, key: Key) -> Ours | None:
    """Return what a recipe cost edgegen in the run that is gone on with."""
    rows = (it for each in report.targets if each.target == key[0] for it in each.rows)
    return next((it.ours for it in rows if it.recipe == key[1]), None)


def _build_source(target: str, side: PeerSide, model: Path, source: Path, work: Path) -> None:
    """Package the model in float, for the peer to compress."""
    profile = []
    if side.minimum_os is not None:
        phone = (PROFILES / "iphone-16.toml").read_text(encoding="utf-8")
        own = work / "phone.toml"
        newer = re.sub(r"minimum_os = \d+", f"minimum_os = {side.minimum_os}", phone)
        whole = re.sub(r"file_limit_bytes = .*", "", newer)  # one file, not chunks
        own.write_text(whole.replace('name = "iphone-16"', 'name = "phone"'), encoding="utf-8")
        profile = ["--profile", str(own)]
    command = edgegen_command(model, source, target, side.source, "--skip-parity", *profile)
    say(f"{target}: a source for the peer: {spend(command)}")


def _ours(
    model: Path, work: Path, keys: Sequence[Key], keep: Path | None
) -> dict[Key, Ours | None]:
    """Package a model by some recipes in one command; None for those that failed."""
    read_through(model)
    load = os.getloadavg()[0]
    wanted = [word for key in keys for word in ("--target", ":".join(key))]
    folder = keep or work / "ours"
    places = {key: folder / "-".join(key) for key in keys}
    output = folder if len(keys) > 1 else places[keys[0]]
    command = [sys.executable, "-m", "edgegen", "--quiet", "package", str(model), *wanted]
    try:
        spent = spend([*command, "--output", str(output), "--skip-parity", "--force"])
    except ProcessError as error:
        say(error.tail)
        return dict.fromkeys(keys)
    costs = {it: load_json(Evidence, places[it] / EVIDENCE_NAME).costs for it in keys}
    staged_s = sum(cost.cpu_s / cost.packages for each in costs.values() for cost in each)
    found: dict[Key, Ours | None] = {
        key: Ours(
            stages=tuple(_whole(cost) for cost in costs[key]),
            overhead_cpu_s=max(0.0, spent.cpu_s - staged_s) / len(keys),
            tree_peak_bytes=spent.peak_bytes if len(keys) == 1 else None,
            package_bytes=size_bytes(places[key]),
            denoiser_bytes=size_bytes(places[key] / DENOISER),
            load_average=load,
        )
        for key in keys
    }
    if keep is None:
        for place in places.values():
            shutil.rmtree(place)
    return found


def _whole(cost: StageCost) -> StageCost:
    return replace(cost, packages=1)


def _beside(
    row: RecipeRow, target: str, model: Path, work: Path, options: argparse.Namespace
) -> RecipeRow:
    """Let the peer compress the denoiser in a process; a peer that fails is told in the row."""
    side = SIDES[target]
    python, way = _python(side), side.ways.get(row.recipe)
    if python is None or way is None:
        return row
    package = options.sources / f"{target}-{side.source}"
    if not package.is_dir():
        _build_source(target, side, model, package, work)
    source = package / DENOISER
    (file,) = source.glob(side.artifact)
    output = work / "peer"
    output.mkdir()
    suffix = Path(side.artifact).suffix
    load = os.getloadavg()[0]
    read_through(source)
    try:
        spent = spend(
            [str(python), str(SCRIPT), target, str(file), way, str(output / f"model{suffix}")]
        )
    except ProcessError as error:
        said = [line.strip() for line in error.tail.splitlines() if line.strip()]
        why = said[-1] if said and (error.returncode or 0) > 0 else str(error).splitlines()[0]
        return replace(row, failure=f"`{way}` failed: {why}"[-300:])
    else:
        return replace(
            row,
            theirs=Theirs(
                way=way,
                cpu_s=spent.cpu_s,
                wall_s=spent.wall_s,
                peak_bytes=spent.peak_bytes,
                denoiser_bytes=size_bytes(output),
                load_average=load,
            ),
        )
    finally:
        shutil.rmtree(output)


def _python(side: PeerSide) -> Path | None:
    if side.environment is None:
        return Path(sys.executable)
    environment = PEERS[side.environment]
    if environment.python is None:
        say(environment.how_to_make)
    return environment.python


def _write(report: Report, name: str) -> None:
    keep(name, report, markdown(report))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="sd15", help="sd15, emoji, or a folder")
    parser.add_argument(
        "--recipe", dest="recipes", action="append", metavar="TARGET:RECIPE", help="default: all"
    )
    parser.add_argument(
        "--sources",
        type=Path,
        required=True,
        help="folder of packages in float, TARGET-RECIPE, for the peers; made where missing",
    )
    parser.add_argument("--keep", type=Path, help="a folder where edgegen's packages stay")
    parser.add_argument("--work", type=Path, help="folder for what is converted")
    parser.add_argument("--note", default="", help="a sentence for the report")
    parser.add_argument("--write", metavar="NAME", help="to benchmarks/results/NAME.json and .md")
    parser.add_argument("--resume", action="store_true", help="add to the result of --write")
    parser.add_argument(
        "--peers-only", action="store_true", help="with --resume: edgegen's figures stay"
    )
    options = parser.parse_args(arguments)
    options.recipes = [(target, recipe) for target, _, recipe in map(_split, options.recipes or [])]
    return options


def _split(text: str) -> tuple[str, str, str]:
    return text.partition(":")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
