"""What is predicted of packages besides their size: the memory that they take on the device."""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.choose.space import Space
from edgegen.core.figures import Figure
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress
from edgegen.packaging.candidate import Candidate as PackageCandidate
from edgegen.packaging.candidate import make_candidate
from edgegen.packaging.model_facts import ModelFacts
from edgegen.predict.figures import memory_figure
from edgegen.predict.memory import predict_memory
from edgegen.predict.survey import backend_of
from edgegen.predict.traces import read_traces


def memory_of_packages(
    space: Space, profile: DeviceProfile | None, progress: Progress
) -> Mapping[tuple[str, int, int], Figure]:
    """Return the predicted memory of each package at each size, by package, width and height.

    The first time that a model is traced at a size takes a process with torch.
    """
    found: dict[tuple[str, int, int], Figure] = {}
    for candidate in space.candidates:
        way, name = candidate.way, candidate.package
        key = (name, way.width, way.height)
        if candidate.refused or key in found:
            continue
        facts, made = space.facts_of(way), space.built_as[name]
        generation = made.spec.generation
        if (generation.width, generation.height) != (way.width, way.height):
            made = make_candidate(
                facts,
                made.target,
                made.recipe,
                profile=profile,
                width=way.width,
                height=way.height,
            )
        found[key] = _memory(made, facts, progress)
    return found


def _memory(made: PackageCandidate, facts: ModelFacts, progress: Progress) -> Figure:
    traces = read_traces(made, facts, progress=progress)
    return memory_figure(predict_memory(made, facts, traces, backend=backend_of(made)))
