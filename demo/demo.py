"""The whole job on the model that ships with edgegen, offline: package, run, compare, measure.

    python demo/demo.py [FOLDER]

Each command is printed before it runs, so that it can be typed again. The pictures, the page and
the raw measurement are left in FOLDER (out/demo unless told).
"""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgegen_runner.metrics import psnr_db
from edgegen_runner.png import encode_png
from numpy.typing import NDArray

from edgegen.cli.console import Console
from edgegen.cli.main import run as run_command_line
from edgegen.core.errors import EdgegenError, ExportError, ParityError
from edgegen.core.files import write_atomic
from edgegen.core.process import Child
from edgegen.core.units import format_bytes, format_duration
from edgegen.models.source import resolve
from edgegen.report.pictures import Tile, grid
from edgegen.runner.png import read_pixels

MODEL = "builtin:emoji"
RECIPE = "fp16-storage"
STEPS, GUIDANCE = 25, 3.0
PROMPTS = {"panda": 0, "pizza": 1, "trophy": 2, "octopus": 3, "sunflower": 4, "unicorn": 5}
"""Prompt -> seed. The model knows the names of emoji, and nothing else."""

LEAST_PSNR_DB = 60.0
TORCH_SILENCE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One prompt, and where its two pictures are: the package's and torch's."""

    prompt: str
    seed: int
    package: Path
    torch: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the package's picture compares with torch's, pixels as they are saved (8 bits).

    `psnr_db` is infinite where they are equal; `differing` counts the values that are not.
    """

    drawing: Drawing
    torch: NDArray[np.uint8]
    package: NDArray[np.uint8]
    psnr_db: float
    differing: int


class CommandFailedError(Exception):
    """A command ended with an exit code; it has already said why."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def main(arguments: list[str]) -> int:
    """Run the demonstration; return the exit code."""
    # A pipe must show commands and progress in the order in which they happened.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # TextIOWrapper
    console = Console()
    folder = Path(arguments[0] if arguments else "out/demo")
    started_s = time.monotonic()
    try:
        show(console, folder)
    except CommandFailedError as failure:
        return failure.exit_code
    except EdgegenError as error:
        console.error(error.message, error.hint)
        return error.exit_code
    console.print(f"All of it took {format_duration(time.monotonic() - started_s)}.")
    return 0


def show(console: Console, folder: Path) -> None:
    """Do all parts, in order. Raises CommandFailedError, or EdgegenError."""
    package, images = folder / "emoji", folder / "images"
    (folder / "torch").mkdir(parents=True, exist_ok=True)
    drawings = [
        Drawing(
            prompt=prompt,
            seed=seed,
            package=images / f"{prompt}.png",
            torch=folder / "torch" / f"{prompt}.png",
        )
        for prompt, seed in PROMPTS.items()
    ]

    head(console, f"1. Package {MODEL} for ONNX: 16-bit weights, 32-bit arithmetic.")
    build = ["package", MODEL, "-t", "onnx", "-r", RECIPE, "-o", str(package)]
    edgegen(console, *build, *(["--force"] if package.exists() else []))

    head(console, "2. Make pictures with the package. Nothing here imports torch.")
    for it in drawings:
        options = ("--prompt", it.prompt, "--seed", str(it.seed), "-o", str(it.package))
        edgegen(console, "run", str(package), *options)
    strip = np.concatenate([read_pixels(it.package) for it in drawings], axis=1)
    console.picture(strip, columns=16 * len(drawings))

    head(console, "3. The same prompts and seeds in torch (diffusers), and both side by side.")
    draw_with_torch(console, drawings)
    comparisons = [compare(it) for it in drawings]
    write_atomic(folder / "compare.png", encode_png(side_by_side(comparisons)))
    show_comparisons(console, comparisons)

    head(console, "4. Measure this machine: a short look. Leave --quick out to measure.")
    outputs = ("--html", str(folder / "bench.html"), "--json-file", str(folder / "bench.json"))
    edgegen(console, "bench", str(package), "--quick", "--prompt", drawings[0].prompt, *outputs)

    say_what_there_is(console, folder)


def head(console: Console, text: str) -> None:
    """Print the heading of a part."""
    console.print(f"\n=== {text}")


def edgegen(console: Console, *arguments: str) -> None:
    """Print a command, then run it. Raises CommandFailedError where it ends with an exit code."""
    console.print(f"\n$ edgegen {shlex.join(arguments)}")
    exit_code = run_command_line(arguments)
    if exit_code:
        raise CommandFailedError(exit_code)


def draw_with_torch(console: Console, drawings: list[Drawing]) -> None:
    """Draw every prompt with diffusers, in a process of its own: this one never imports torch.

    Raises ExportError where that process fails.
    """
    job = {
        "model": str(resolve(MODEL).path),
        "steps": STEPS,
        "guidance": GUIDANCE,
        "drawings": [
            {"prompt": it.prompt, "seed": it.seed, "file": str(it.torch)} for it in drawings
        ],
    }
    program = Path(__file__).with_name("with_torch.py")
    console.print(f"\n$ python {program.name} < prompts and seeds")
    # Threads that wait in a loop take the cores from those that compute, where others compute too.
    settings = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    with (
        console.progress.step("torch", total=len(drawings), unit="images") as step,
        Child([sys.executable, str(program)], env=settings) as child,
    ):
        child.send(json.dumps(job))
        for line in child.lines(silence_s=TORCH_SILENCE_S):
            step.describe(line)
            step.advance()
        if child.wait(timeout_s=60) != 0:
            raise ExportError(
                f"{program.name} {child.describe_exit()}.",
                hint=f"The end of its log: {child.log_tail()}",
            )


def compare(drawing: Drawing) -> Comparison:
    """Compare the two pictures of a prompt."""
    torch, package = read_pixels(drawing.torch), read_pixels(drawing.package)
    return Comparison(
        drawing=drawing,
        torch=torch,
        package=package,
        psnr_db=psnr_db(torch, package, peak=255.0),
        differing=int((torch != package).sum()),
    )


def side_by_side(comparisons: list[Comparison]) -> NDArray[np.uint8]:
    """Return one picture, uint8 (height, width, 3): torch on the left, the package on the right."""
    tiles = []
    for it in comparisons:
        same = "the same pixels" if math.isinf(it.psnr_db) else f"PSNR {it.psnr_db:.1f} dB"
        tiles.append(Tile(it.torch, f"{it.drawing.prompt}, seed {it.drawing.seed}\ntorch"))
        tiles.append(Tile(it.package, f"the ONNX package\n{same}"))
    return grid(tiles, columns=4)


def show_comparisons(console: Console, comparisons: list[Comparison]) -> None:
    """Print how near the pictures are. Raises ParityError where one is not near enough."""
    console.table(
        "Torch against the package",
        ("prompt", "seed", "PSNR (dB)", "values that differ", "of"),
        [
            (
                it.drawing.prompt,
                it.drawing.seed,
                "equal" if math.isinf(it.psnr_db) else f"{it.psnr_db:.1f}",
                it.differing,
                it.torch.size,
            )
            for it in comparisons
        ],
        [f"Compared as they are saved, in 8 bits; at least {LEAST_PSNR_DB:g} dB are asked for."],
    )
    worst = min(comparisons, key=lambda it: it.psnr_db)
    if worst.psnr_db < LEAST_PSNR_DB:
        raise ParityError(
            f"'{worst.drawing.prompt}' reaches {worst.psnr_db:.1f} dB, not {LEAST_PSNR_DB:g}.",
            hint="Please report it, with what edgegen doctor says.",
        )


def say_what_there_is(console: Console, folder: Path) -> None:
    """Print which files were made, and what to type next."""
    size = sum(path.stat().st_size for path in (folder / "emoji").rglob("*") if path.is_file())
    rows = [
        (folder / "compare.png", "look at this first: torch and the package, side by side"),
        (folder / "bench.html", "then open this in a browser: every sample that was measured"),
        (folder / "bench.json", "the raw samples"),
        (folder / "images", "the pictures that the package made"),
        (folder / "torch", "the pictures that torch made"),
        (folder / "emoji", f"the package, {format_bytes(size)}; edgegen.json says what it is"),
    ]
    console.print()
    console.table("Made", ("where", "what"), [(str(path), what) for path, what in rows])
    package = folder / "emoji"
    console.print("Type next (after `source .venv/bin/activate`):")
    for command in (
        f'edgegen run {package} --prompt "hot dog" -o hot-dog.png',
        f"edgegen verify {package}",
        f"edgegen bench {package}",
        "edgegen inspect PATH-OR-HUB-ID",
        "edgegen package PATH-OR-HUB-ID -t onnx -p raspberry-pi-5 -o my-package",
    ):
        console.print(f"  {command}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
