"""Adds how alike CLIP finds two pictures, where its weights are here; they are never fetched.

The score is the cosine between the embeddings of the two pictures, not between picture and prompt:
that one doesn't see what quantization does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgegen_runner.png import encode_png

from edgegen.core.progress import Progress
from edgegen.core.scratch import ScratchFolder
from edgegen.core.worker import Event, call
from edgegen.drawer import Pixels
from edgegen.evaluate.clip_child import Job, PairFiles, expanded
from edgegen.evaluate.pictures import Pair

NAME = "clip"
WORKER = "edgegen.evaluate.clip_child"


def check_model(model: str) -> None:
    """Load a CLIP model and forget it. Raises what `add_similarity` raises."""
    call(WORKER, Job(model=expanded(model), pairs=()), stage="CLIP", on_event=lambda _event: None)


def add_similarity(pairs: Sequence[Pair], model: str, progress: Progress) -> list[Pair]:
    """Return the pairs with the score `clip`; those that were not compared stay as they are.

    `model` is a folder of transformers with a CLIP model, or a hub id in the hub's cache. Raises
    SourceError where its weights are not here, MissingDependencyError without torch.
    """
    compared = [pair for pair in pairs if pair.result.scores]
    if not compared:
        return list(pairs)
    with (
        ScratchFolder("clip") as scratch,
        progress.step("CLIP", total=len(compared), unit="images") as step,
    ):
        files = tuple(
            PairFiles(
                reference=_write(scratch / f"{index}-reference.png", pair.reference),
                package=_write(scratch / f"{index}-package.png", pair.package),
            )
            for index, pair in enumerate(compared)
        )

        def on_event(event: Event) -> None:
            if event["event"] == "pair":
                step.advance()

        job = Job(model=expanded(model), pairs=files)
        done = call(WORKER, job, stage="CLIP", on_event=on_event).done
    similarities = iter(done["similarities"])
    return [
        _with(pair, float(next(similarities))) if pair.result.scores else pair for pair in pairs
    ]


def _with(pair: Pair, similarity: float) -> Pair:
    scores = {**pair.result.scores, NAME: similarity}
    return replace(pair, result=replace(pair.result, scores=scores))


def _write(path: Path, pixels: Pixels) -> str:
    path.write_bytes(encode_png(pixels))
    return str(path)
