"""What every exporter begins with: the toolkits, a component's graph, and its weights."""

from __future__ import annotations

from importlib.metadata import version

from edgegen.exporters.base import ExportJob, ExportProgress, OpenedComponent
from edgegen.models.pipeline_source import open_source
from edgegen.networks import NETWORKS, network_of

_TOOLKITS = ("torch", "diffusers", "transformers")


def import_toolkits() -> None:
    """Import torch, diffusers and transformers, for the processes that are forked from this one."""
    import torch.export._trace  # noqa: F401 - the first trace would import it, in each fork
    import transformers  # noqa: F401 - imported for the forks

    from edgegen.exporters import capture, wrappers  # noqa: F401 - as above

    for network in NETWORKS.values():
        network.load_class()


def toolkit_versions(*others: str) -> dict[str, str]:
    """Return the versions of the toolkits that every export uses, and of `others`."""
    return {name: version(name) for name in (*_TOOLKITS, *others)}


def open_component(job: ExportJob, progress: ExportProgress) -> OpenedComponent:
    """Open a component's weight files and trace it.

    Raises SourceError for weights that are missing or broken, ExportError where torch cannot trace
    the network.
    """
    progress.step("toolkits")
    from edgegen.exporters.capture import capture
    from edgegen.models.binding import bind, unused_keys

    source = open_source(job.source)
    weights = source.weights(job.component.folder, job.component.variant)
    progress.step("graph")
    captured = capture(job.component, source.configs / job.component.folder, shapes=job.shapes)
    rules = network_of(job.component.class_name).keys
    bound = bind(weights, captured.parameter_shapes, rules)
    unused = unused_keys(weights, bound, rules)
    if unused:
        more = f" and {len(unused) - 1:,} more" if len(unused) > 1 else ""
        progress.warn(
            f"{job.component.folder}: the weights have keys that its config.json does not "
            f"describe; they are left out, as in diffusers: '{unused[0]}'{more}."
        )
    return OpenedComponent(capture=captured, weights=weights, bound=bound)
