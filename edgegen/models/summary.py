"""Sums up a pipeline for people: what it is made of, and how it is stored."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.model import PICTURE_PROMPT, Component, PipelineSpec
from edgegen.models.model_folder import ModelFolder
from edgegen.models.open_weights import open_weights
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import component_keys, read_pipeline
from edgegen.models.weight_source import StoredWeights
from edgegen.models.weights import stored_variants


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredComponent:
    """A component, the types that its parameters are stored in, and their size.

    `files` are the weight files that are taken, `variants` what else its folder has to choose.
    """

    spec: Component
    storage_types: tuple[str, ...]
    storage_bytes: int
    files: tuple[str, ...]
    variants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSummary:
    """A pipeline, its scheduler's class, and its components as they are stored.

    Of a model that is no diffusers folder, `form` is what it is, and `said` what else was found.
    """

    pipeline: PipelineSpec
    scheduler: str
    components: tuple[StoredComponent, ...]
    form: str | None = None
    said: tuple[str, ...] = ()


def summarize(folder: ModelFolder) -> PipelineSummary:
    """Read a pipeline's configurations and headers. Raises SourceError."""
    pipeline = read_pipeline(folder)
    layout = folder.layout
    return PipelineSummary(
        pipeline=pipeline,
        scheduler=pipeline.scheduler.class_name,
        components=tuple(_stored(folder, component) for component in pipeline.components),
        form=pipeline.form,
        said=() if layout is None else layout.said,
    )


def _stored(folder: ModelFolder, component: Component) -> StoredComponent:
    source = folder.base / component.folder
    weights: StoredWeights
    if component.role in PICTURE_PROMPT:  # the model's own folder has nothing of it
        source = folder.path / component.folder
        opened = open_source(folder_source(folder.path))
        weights = opened.weights(component.folder, component.variant)
    else:
        weights = open_weights(source, component.variant)
    entries = [weights.entries[key] for key in component_keys(component, weights)]
    return StoredComponent(
        spec=component,
        storage_types=tuple(sorted({entry.dtype for entry in entries})),
        storage_bytes=sum(entry.size_bytes for entry in entries),
        files=tuple(file.name for file in weights.files),
        variants=tuple(it for it in stored_variants(source).variants if it != weights.variant),
    )
