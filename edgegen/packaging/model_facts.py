"""What candidates of a model are made from: its configs and headers, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.model import PipelineSpec
from edgegen.families import family_of
from edgegen.models.model_folder import ModelFolder
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import component_keys, read_pipeline
from edgegen.models.scheduler import scheduler_config
from edgegen.models.timesteps import has_whole_timesteps
from edgegen.packaging.drawing import drawn_with
from edgegen.packaging.predicted import StoredWeight, tokenizer_graph_bytes
from edgegen.packaging.small_files import small_files_bytes
from edgegen.reference.case import least_latent_size
from edgegen.runner.schedule import SchedulerOption


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A model as far as a prediction needs it; nothing of it is read again.

    `weights` are those of each component, by its name. With `whole_timesteps` the scheduler has no
    fractions. `least_latents` is the smallest useful height and width of the latents;
    `tokenizer_graph_bytes` is what the tokenizers take as graphs.
    """

    spec: PipelineSpec
    folder: Path
    weights: Mapping[str, tuple[StoredWeight, ...]]
    whole_timesteps: bool
    least_latents: tuple[int, int]
    small_files_bytes: int
    tokenizer_graph_bytes: int


def read_facts(
    model: ModelFolder,
    *,
    scheduler: str | None = None,
    scheduler_options: Mapping[str, SchedulerOption] | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    guidance_start: float | None = None,
    guidance_stop: float | None = None,
    cache_interval: int | None = None,
    decode_tile: int | None = None,
) -> ModelFacts:
    """Read a model's configs and headers; it draws with what is given, else with its own.

    With a `cache_interval` above 1 its denoiser is two components. Raises SourceError for a model
    that cannot be read, and ConfigError for a scheduler that the runner lacks, for a denoiser that
    keeps no features, and as `drawn_with` does.
    """
    spec = drawn_with(
        read_pipeline(model, cached=(cache_interval or 1) > 1),
        model.path,
        scheduler=scheduler,
        scheduler_options=scheduler_options,
        steps=steps,
        guidance=guidance,
        guidance_start=guidance_start,
        guidance_stop=guidance_stop,
        cache_interval=cache_interval,
        decode_tile=decode_tile,
    )
    return ModelFacts(
        spec=spec,
        folder=model.path,
        weights=_weights(spec, model.path),
        whole_timesteps=not family_of(spec.family).own_timesteps
        and has_whole_timesteps(scheduler_config(model.path, spec.scheduler)),
        least_latents=least_latent_size(spec, model.path),
        small_files_bytes=small_files_bytes(model.path),
        tokenizer_graph_bytes=tokenizer_graph_bytes(model.path),
    )


def _weights(spec: PipelineSpec, folder: Path) -> dict[str, tuple[StoredWeight, ...]]:
    variants = {component.folder: component.variant for component in spec.components}
    source = open_source(folder_source(folder))
    opened = {name: source.weights(name, variant) for name, variant in variants.items()}
    found = {}
    for component in spec.components:
        weights = opened[component.folder]
        found[component.name] = tuple(
            StoredWeight(layer=key.rpartition(".")[0], shape=weights.entries[key].shape)
            for key in component_keys(component, weights)
        )
    return found
