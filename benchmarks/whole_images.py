"""Whole images beside every peer: the same prompt, latents, scheduler and steps, in one run.

    python benchmarks/whole_images.py --model builtin:scenes --pixels 64 --steps 25
    python benchmarks/whole_images.py --model sd15 --pixels 512 --steps 3 --rounds 1 --work FOLDER

Everything is included: text, denoising with guidance, decoding. Contestants take turns (A B C,
A B C, …); a turn is a process of its own, alone on the machine, in the tool's own environment: it
imports, loads, draws once to warm up, `--images` times, and once more. Files were read through
before, so nobody waits for the disk. Memory is the highest sum of PSS until the process is warm and
in the last image; asking for it takes a core's time and stops who allocates, so nobody asks while
images are timed. The machine is measured first (`roof.py`), and each image's operations over its
time are told as a share of that.

`--only WORD` keeps the contestants whose name has a word. One whose environment is missing is left
out and named, with how it is made.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.answers import answer, last_line
from benchmarks.conversion import (
    end_children_when_terminated,
    model_folder,
    read_through,
    say,
    size_bytes,
    spend,
)
from benchmarks.image_contestants import CONTESTANTS, SIDES, Contestant
from benchmarks.machine import read_machine
from benchmarks.peer_environments import PEERS
from benchmarks.peer_models import for_peers
from benchmarks.results_files import keep
from benchmarks.roof import describe, measure
from benchmarks.whole_images_report import Drawn, Report, Result, markdown, table
from edgegen.core.memory import PeakSampler
from edgegen.core.process import Child, ProcessError
from edgegen.models.source import resolve

PROMPT = "a red circle above a blue square"
SEED = 20
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1"}


@dataclass(slots=True)
class Entry:
    """A contestant, its files, and what its turns found."""

    contestant: Contestant
    model: Path | None = None
    runtime: str | None = None
    turns: list[Drawn] = field(default_factory=list)
    failure: str | None = None
    read_bytes: int | None = None


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    end_children_when_terminated()
    machine = read_machine()
    say("measuring the machine")
    roof = measure(options.threads)
    say(describe(roof))
    model = model_of(options.model)
    with tempfile.TemporaryDirectory(prefix="images-", dir=options.work) as name:
        folder = Path(name)
        entries = [Entry(it) for it in CONTESTANTS if _is_wanted(it, options)]
        make_files(entries, model, options.work or folder)
        latents = folder / "latents.npy"
        write_latents(latents, model, options.pixels)
        for turn in range(options.rounds):
            for index, entry in enumerate(entries):
                if entry.failure is None:
                    say(f"round {turn + 1} of {options.rounds}: {entry.contestant.name}")
                    take_turn(entry, options, latents, folder / f"{index}.npy")
        if options.reads:
            for index, entry in enumerate(entries):
                if entry.failure is None:
                    say(f"what it reads: {entry.contestant.name}")
                    count_reads(entry, options, latents, folder / f"{index}.npy")
        reference = folder / "0.npy" if entries and entries[0].turns else None
        report = Report(
            model=options.model,
            pixels=options.pixels,
            steps=options.steps,
            guidance=options.guidance,
            machine=machine,
            roof=roof,
            operations=_operations(model, options),
            reference=None if reference is None else entries[0].contestant.name,
            results=tuple(
                _result(entry, folder / f"{index}.npy", reference)
                for index, entry in enumerate(entries)
            ),
            note=options.note,
        )
    print(table(report))
    if options.write:
        keep(options.write, report, markdown(report))
    return 0


def model_of(name: str) -> Path:
    return resolve(name).path if name.startswith("builtin:") else model_folder(name)


def _is_wanted(contestant: Contestant, options: argparse.Namespace) -> bool:
    named = not options.only or any(word in contestant.name for word in options.only)
    return named and not any(word in contestant.name for word in options.without)


def make_files(entries: Sequence[Entry], model: Path, folder: Path) -> None:
    """Export the model for each; those that share files get the same, and so does a later run."""
    for entry in entries:
        contestant = entry.contestant
        if contestant.python is None:
            assert contestant.environment is not None
            entry.failure = PEERS[contestant.environment].how_to_make.partition("\n")[0]
            continue
        output = folder / f"files-{contestant.files}"
        read = model
        if contestant.environment is not None:
            read = for_peers(model, folder / f"peers-{model.name}")
        command = contestant.command(read, output)
        entry.model = read if command is None else output
        if command is None or (output / "model_index.json").is_file():
            continue
        say(f"exporting {output.name}")
        try:
            spend(command)
        except ProcessError as error:
            entry.failure = f"its files were not made: {last_line(error.tail)}"
            say(f"{contestant.name}: {entry.failure}")


def write_latents(path: Path, model: Path, pixels: int) -> None:
    import numpy as np

    denoiser = denoiser_config(model)
    vae = json.loads((model / "vae" / "config.json").read_text(encoding="utf-8"))
    side = pixels >> (len(vae["block_out_channels"]) - 1)
    shape = (1, denoiser["in_channels"], side, side)
    np.save(path, np.random.default_rng(SEED).standard_normal(shape).astype(np.float32))


def denoiser_config(model: Path) -> dict[str, Any]:
    """Return the configuration of a model's UNet or transformer."""
    found = next(it for it in ("unet", "transformer") if (model / it / "config.json").is_file())
    config: dict[str, Any] = json.loads((model / found / "config.json").read_text("utf-8"))
    return config


def take_turn(entry: Entry, options: argparse.Namespace, latents: Path, output: Path) -> None:
    """Import, load and draw in a process of its own; add what was found to the entry."""
    contestant, model = entry.contestant, entry.model
    assert model is not None
    read_through(model)
    with Child(_command(entry, options, latents, output), env=_ENVIRONMENT) as child:
        made: list[dict[str, Any]] = []
        try:
            lines = child.lines()

            def draw(times: int) -> None:
                for _ in range(times):
                    child.send("draw")
                    made.append(answer(child, lines))

            with PeakSampler(child.pid) as sampler:
                facts = answer(child, lines)
                child.send("load")
                loaded = answer(child, lines)
                draw(options.warmups)
            draw(options.images)
            with PeakSampler(child.pid) as after:
                draw(1)
            child.send("end")
            child.wait(60)
        except ProcessError as error:
            entry.failure = last_line(error.tail)
            say(f"{contestant.name} failed: {entry.failure}")
            return
    entry.runtime = facts["runtime"]
    peaks = [each.at_peak for each in (sampler, after) if each.at_peak is not None]
    peak = max(peaks, key=lambda each: each.pss_bytes, default=None)
    timed = made[options.warmups : -1]
    steps = [each["step_s"] for each in timed if each.get("step_s") is not None]
    entry.turns.append(
        Drawn(
            import_s=facts["import_s"],
            load_s=loaded["wall_s"],
            start_cpu_s=facts["import_cpu_s"] + loaded["cpu_s"],
            first_s=made[0]["wall_s"],
            image_s=tuple(each["wall_s"] for each in timed),
            image_cpu_s=tuple(each["cpu_s"] for each in timed),
            peak_bytes=None if peak is None else peak.pss_bytes,
            peak_anonymous_bytes=None if peak is None else peak.anonymous_bytes,
            step_s=tuple(steps),
        )
    )


def _command(entry: Entry, options: argparse.Namespace, latents: Path, output: Path) -> list[str]:
    """Write a contestant's job beside its output; return how its side is started."""
    contestant = entry.contestant
    job = output.with_suffix(".json")
    fields = {
        "model": str(entry.model),
        "latents": str(latents),
        "output": str(output),
        "prompt": PROMPT,
        **{name: getattr(options, name) for name in ("steps", "guidance", "pixels", "threads")},
        "options": dict(contestant.options),
        "kept": str(output.with_suffix(".kept")) if contestant.is_ours else None,
    }
    job.write_text(json.dumps(fields), encoding="utf-8")
    return [str(contestant.python), str(SIDES / contestant.side), str(job)]


def count_reads(entry: Entry, options: argparse.Namespace, latents: Path, output: Path) -> None:
    """Count what a new process reads from the disk for an image; what it wrote before is kept."""
    model, kept = entry.model, output.with_suffix(".kept")
    assert model is not None
    os.sync()
    for file in (*model.rglob("*"), *kept.rglob("*")):
        if file.is_file():
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with Child(_command(entry, options, latents, output), env=_ENVIRONMENT) as child:
        try:
            lines = child.lines()
            answer(child, lines)
            before = _read_bytes(child.pid)
            for word in ("load", "draw"):
                child.send(word)
                answer(child, lines)
            entry.read_bytes = _read_bytes(child.pid) - before
            child.send("end")
            child.wait(60)
        except ProcessError as error:
            say(f"{entry.contestant.name}: reads not counted: {last_line(error.tail)}")


def _read_bytes(pid: int) -> int:
    """Return what a process had the system read from the disk (proc_pid_io(5))."""
    counts = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in counts if line.startswith("read_bytes"))


def _result(entry: Entry, image: Path, reference: Path | None) -> Result:
    from edgegen_runner.metrics import psnr_db

    distance = None
    if reference is not None and entry.turns and image.is_file():
        import numpy as np

        left, right = (np.load(path).astype(np.float32) / 255 for path in (reference, image))
        distance = psnr_db(left, right, peak=1.0) if left.shape == right.shape else None
    return Result(
        name=entry.contestant.name,
        precision=entry.contestant.precision,
        ours=entry.contestant.is_ours,
        runtime=entry.runtime,
        disk_bytes=None if entry.model is None or entry.failure else size_bytes(entry.model),
        turns=tuple(entry.turns),
        psnr_db=None if distance is None or distance == float("inf") else distance,
        equal=distance == float("inf"),
        failure=entry.failure,
        read_bytes=entry.read_bytes,
    )


def _operations(model: Path, options: argparse.Namespace) -> float | None:
    """Return an image's floating-point operations, as torch counts them on shapes alone."""
    import torch
    from diffusers import DiffusionPipeline
    from torch.utils.flop_counter import FlopCounterMode

    pipeline: Any = DiffusionPipeline.from_pretrained(
        model, safety_checker=None, torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.to("meta")
    batch = 2 if options.guidance > 1 else 1
    unet, vae = pipeline.unet, pipeline.vae
    side = options.pixels >> (len(vae.config.block_out_channels) - 1)
    counter: Any = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        text = pipeline.text_encoder(
            torch.zeros(batch, pipeline.tokenizer.model_max_length, dtype=torch.long, device="meta")
        )[0]
        sample = torch.zeros(batch, unet.config.in_channels, side, side, device="meta")
        once = counter.get_total_flops()
        unet(sample, torch.zeros((), device="meta"), encoder_hidden_states=text.to("meta"))
        step = counter.get_total_flops() - once
        vae.decode(torch.zeros(1, vae.config.latent_channels, side, side, device="meta"))
    pipeline.scheduler.set_timesteps(options.steps)
    calls = len(pipeline.scheduler.timesteps)  # PNDM makes one more than steps
    return float(counter.get_total_flops() + step * (calls - 1))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="builtin:scenes", help="builtin:NAME, sd15, or a folder")
    parser.add_argument("--pixels", type=int, default=64, help="side of the image")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=3, help="of each turn")
    parser.add_argument("--warmups", type=int, default=1, help="of each turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reads", action="store_true", help="count bytes read, in a turn more")
    parser.add_argument("--only", action="append", default=[], metavar="WORD")
    parser.add_argument("--without", action="append", default=[], metavar="WORD")
    parser.add_argument("--work", type=Path, help="folder for what is exported, which stays there")
    parser.add_argument("--note", default="", help="a sentence for the report")
    parser.add_argument("--write", metavar="NAME", help="to benchmarks/results/NAME.json and .md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
