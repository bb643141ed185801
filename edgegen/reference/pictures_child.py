"""The process in which torch draws pictures, so that its memory is gone when it ends.

Its events are `picture` (`index`) for each picture that is drawn.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.worker import Emit, Event, serve
from edgegen.models.pipeline_source import SourceSpec, open_source

if TYPE_CHECKING:
    import torch

    from edgegen.reference.pipeline import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureJob:
    """A picture to draw: its float32 values go to `image`, (height, width, channels) in 0…1.

    `trajectory` is where the latents after all calls of the scheduler go, (calls, channels, height,
    width); None where nobody wants them. Both are paths of `.npy` files.
    """

    case: GoldenCase
    image: str
    trajectory: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Pictures of one model; `starts` is the folder with what they start from, where they do."""

    spec: PipelineSpec
    source: SourceSpec
    starts: str
    pictures: tuple[PictureJob, ...]


def _run(job: Job, emit: Emit) -> Event:
    import torch

    from edgegen.reference.pipeline import load_reference

    reference = load_reference(job.spec, open_source(job.source))
    with torch.inference_mode(), reference.weights:
        reference.weights.keep_small()
        for index, picture in enumerate(job.pictures):
            _draw(reference, job, picture)
            emit("picture", index=index)
    return {"peak_weight_bytes": reference.weights.peak_bytes}


def _draw(reference: Reference, job: Job, picture: PictureJob) -> None:
    """Draw one picture by itself: in a batch, torch's kernels add in another order."""
    import numpy as np
    import torch

    from edgegen.families import family_of
    from edgegen.reference import golden
    from edgegen.reference.drawer import drawn_as
    from edgegen.reference.sde import seed_noise
    from edgegen.reference.trajectory import case_arguments, to_numpy, watched_steps

    seen: list[torch.Tensor] = []

    def keep(_index: int, latents: torch.Tensor) -> None:
        if picture.trajectory is not None:
            seen.append(latents.clone())

    pipeline, family = reference.pipeline, family_of(job.spec.family)
    request = golden.draw_request(picture.case, Path(job.starts))
    seed_noise(pipeline.scheduler, [picture.case.seed])
    with watched_steps(pipeline, keep), drawn_as(pipeline, family, request):
        arguments = case_arguments(job.spec, picture.case, Path(job.starts))
        images = pipeline(**arguments).images
    if picture.trajectory is not None:
        path = Path(picture.trajectory)
        golden.write_array(path.parent, path.name, to_numpy(torch.cat(seen)))
    path = Path(picture.image)
    golden.write_array(path.parent, path.name, np.asarray(images[0], np.float32))


if __name__ == "__main__":
    sys.exit(serve(Job, _run, extra="reference"))
