"""Exports one component to Core ML: lower, stream the weights, save the program."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.codec import decode
from edgegen.exporters.base import ExportJob, ExportProgress, ExportResult, OpenedComponent
from edgegen.exporters.coreml.options import CoreMlOptions
from edgegen.exporters.opened import import_toolkits, toolkit_versions


class CoreMlExporter:
    """Writes model packages, `Unet.mlpackage` and so on, without a Mac and without coremltools."""

    def prepare(self) -> None:
        """Import torch, diffusers and transformers."""
        import_toolkits()
        from edgegen.exporters.coreml import lowering  # noqa: F401 - imported for the forks

    def export(
        self, job: ExportJob, opened: OpenedComponent, progress: ExportProgress
    ) -> ExportResult:
        """Write a component's program and weights into `job.destination`."""
        from edgegen.exporters.coreml.chunks import split
        from edgegen.exporters.coreml.interface import compiled_name, is_chunked, renamed_by
        from edgegen.exporters.coreml.lowering import lower
        from edgegen.exporters.coreml.program import model_of
        from edgegen.exporters.coreml.weights import ConstantWriter, stored_bytes
        from edgegen.mil.mlpackage import save_model, weights_path
        from edgegen.mil.schema import newest_version
        from edgegen.mil.weight_file import write_weight_file

        options = decode(CoreMlOptions, job.options, source="the job", at="options")
        minimum_os = newest_version(options.minimum_os)
        graph = lower(
            opened.capture,
            job.recipe,
            minimum_os=minimum_os,
            split_attention=options.attention == "split-einsum",
        )
        parts = split(
            graph,
            job.component.name,
            options.file_limit_bytes,
            can_be_cut=is_chunked(job.component),
        )
        name = compiled_name(job.component)
        names = [name] if len(parts) == 1 else [f"{name}Chunk{n + 1}" for n in range(len(parts))]
        progress.step("weights", sum(stored_bytes(part, opened.bound) for part in parts))
        size_bytes = 0
        for part, part_name in zip(parts, names, strict=True):
            package = Path(job.destination) / f"{part_name}.mlpackage"
            path = weights_path(package)
            with write_weight_file(path) as file:
                constants = ConstantWriter(
                    file=file,
                    minimum_os=minimum_os,
                    palette_channels=job.recipe.palette_channels,
                    block=job.recipe.block,
                    bound=opened.bound,
                    weights=opened.weights,
                    progress=progress.advance,
                )
                model = model_of(part, minimum_os, constants.write)
            size_bytes += save_model(package, model) + path.stat().st_size
        return ExportResult(
            path=f"{names[0]}.mlpackage",
            storage_bytes=size_bytes,
            operator_sets={"iOS": minimum_os},
            toolkits=toolkit_versions(),
            natives=renamed_by(job.component),
        )
