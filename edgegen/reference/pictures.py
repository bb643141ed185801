"""Has torch draw pictures, in another process; torch is never imported here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edgegen.core.model import PipelineSpec
from edgegen.core.package import StageCost
from edgegen.core.scratch import utf8_name
from edgegen.core.worker import Event, call
from edgegen.models.pipeline_source import folder_source
from edgegen.reference.pictures_child import Job, PictureJob

STAGE = "reference"
WORKER = "edgegen.reference.pictures_child"


def draw_pictures(
    spec: PipelineSpec,
    model: Path,
    pictures: Sequence[PictureJob],
    *,
    starts: Path,
    on_picture: Callable[[PictureJob], None],
) -> StageCost:
    """Draw pictures with a model in torch, each from its own seed and by itself.

    `model` is a diffusers folder, `starts` the folder of `write_start_pictures`. `on_picture` is
    called as each picture's files are there. Values that aren't finite are written as they are.

    Raises SourceError where the model cannot be built, MissingDependencyError without torch,
    ResourceError where memory or disk ran out, and ExportError where the process died.
    """

    def on_event(event: Event) -> None:
        if event["event"] == "picture":
            on_picture(pictures[event["index"]])

    with utf8_name(model) as folder:
        job = Job(
            spec=spec,
            source=folder_source(folder),
            starts=str(starts.absolute()),
            pictures=tuple(pictures),
        )
        return call(WORKER, job, stage=STAGE, on_event=on_event).cost
