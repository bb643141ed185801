"""The traces that a prediction needs: those of a candidate's components at its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgegen.core.model import Component
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.trace import ComponentTrace
from edgegen.exporters.traces import trace_components
from edgegen.models.pipeline_source import folder_source
from edgegen.packaging.axes import fix_axes
from edgegen.packaging.candidate import Candidate
from edgegen.packaging.model_facts import ModelFacts


def read_traces(
    candidate: Candidate,
    facts: ModelFacts,
    *,
    guidance: float | None = None,
    progress: Progress | None = None,
) -> Mapping[str, ComponentTrace]:
    """Trace a candidate's components at the size of its images, or recall what was traced.

    Where the artifact leaves the batch open, the denoiser takes both samples of guidance at once;
    `guidance` is the scale that is drawn with, by default the model's own.

    Raises ExportError where torch cannot trace a network, and SourceError for its config.
    """
    components = tuple(_at_size(it, candidate, guidance) for it in candidate.components)
    source = folder_source(facts.folder)
    return trace_components(source, components, progress or SilentProgress())


def _at_size(component: Component, candidate: Candidate, guidance: float | None) -> Component:
    spec = candidate.spec
    scale = spec.generation.guidance if guidance is None else guidance
    fixed = fix_axes(
        component, spec, "fixed", denoiser_batch=2 if spec.facts.is_guided(scale) else 1
    )
    return replace(fixed, variant=None)
