"""Time and memory of an image against its size, for models of several sizes.

    python benchmarks/scale.py --model sd15 --pixels 256,384,512,768,1024 --work FOLDER
    python benchmarks/scale.py --model sdxl --pixels 1024 --only tflite --work FOLDER --write scale

A row is a way to draw, a model and a size: text, steps with guidance, decoding. Each is a process
of its own, alone on the machine, that draws twice; the second image counts. `--write` adds rows to
what was measured before, and draws `docs/images/scale.svg` of all. A way that fails at a size is a
row that says why.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.conversion import end_children_when_terminated, say
from benchmarks.image_contestants import Contestant
from benchmarks.machine import read_machine
from benchmarks.results_files import RESULTS, keep
from benchmarks.scale_report import Point, Scale, markdown, plot
from benchmarks.whole_images import (
    Entry,
    denoiser_config,
    make_files,
    model_of,
    take_turn,
    write_latents,
)
from edgegen.core.codec import load_json

PLOT = Path(__file__).resolve().parents[1] / "docs" / "images" / "scale.svg"


def _way(name: str, backend: str, package: Sequence[str], **options: str) -> Contestant:
    return Contestant(
        name=name,
        precision="8 bits" if "int8" in package[1] else "16 bits",
        side="edgegen_side.py",
        package=tuple(package),
        options={"name": backend, **options},
    )


WAYS = (
    _way(
        "openvino fp16-storage, bfloat16",
        "openvino",
        ("openvino", "fp16-storage"),
        arithmetic="bfloat16",
    ),
    _way("onnx fp16-storage", "onnxruntime", ("onnx", "fp16-storage")),
    _way("tflite int8-dynamic", "ai_edge_litert", ("tflite", "int8-dynamic")),
    _way(
        "tflite int8-dynamic, parts and tiles",
        "ai_edge_litert",
        ("tflite", "int8-dynamic", "--part-size", "250MB"),
        residency="parts",
    ),
)
_FIXED = frozenset({"tflite"})
_TILE = 320


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    end_children_when_terminated()
    model = model_of(options.model)
    points = []
    ways = [it for it in WAYS if not options.only or any(word in it.name for word in options.only)]
    for pixels in options.sizes:
        for way in ways:
            say(f"{options.model}, {pixels} pixels: {way.name}")
            points.append(_point(way, model, pixels, options))
            say(points[-1].words)
    found = Scale(machine=read_machine(), note=options.note, points=tuple(points))
    if options.write:
        before = RESULTS / f"{options.write}.json"
        if before.is_file():
            found = load_json(Scale, before).with_more(found)
        keep(options.write, found, markdown(found))
        PLOT.write_text(plot(found) + "\n", encoding="utf-8")
    print(markdown(found))
    return 0


def _point(way: Contestant, model: Path, pixels: int, options: argparse.Namespace) -> Point:
    native = _native_pixels(model)
    further: tuple[str, ...] = ()
    if way.package[0] in _FIXED and pixels != native:
        further = ("--width", str(pixels), "--height", str(pixels))
    if way.options.get("residency") == "parts" and pixels > _TILE:
        further += ("--decode-tile", str(_TILE))
    entry = Entry(replace(way, package=(*way.package, *further)))
    with tempfile.TemporaryDirectory(prefix="scale-", dir=options.work) as name:
        folder = Path(name)
        # a model's files are as large as the model: each size of a fixed one is thrown away
        make_files([entry], model, folder if further else options.work / options.model)
        if entry.failure is None:
            latents = folder / "latents.npy"
            write_latents(latents, model, pixels)
            take_turn(entry, _with(options, pixels), latents, folder / "0.npy")
    turn = entry.turns[0] if entry.turns else None
    return Point(
        model=options.model,
        way=way.name,
        pixels=pixels,
        steps=options.steps,
        image_s=None if turn is None else turn.image_s[0],
        image_cpu_s=None if turn is None else turn.image_cpu_s[0],
        peak_bytes=None if turn is None else turn.peak_bytes,
        peak_anonymous_bytes=None if turn is None else turn.peak_anonymous_bytes,
        failure=entry.failure,
    )


def _with(options: argparse.Namespace, pixels: int) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), "pixels": pixels, "images": 1, "warmups": 1})


def _native_pixels(model: Path) -> int:
    denoiser = denoiser_config(model)
    vae = json.loads((model / "vae" / "config.json").read_text(encoding="utf-8"))
    return int(denoiser["sample_size"]) << (len(vae["block_out_channels"]) - 1)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="sd15", help="sd15, sdxl, builtin:NAME, or a folder")
    parser.add_argument("--pixels", dest="sizes", type=_sizes, default=(256, 512, 768))
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", default=[], metavar="WORD")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is exported")
    parser.add_argument("--note", default="", help="a sentence for the report")
    parser.add_argument("--write", metavar="NAME", help="to benchmarks/results/NAME.json and .md")
    return parser.parse_args(arguments)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
