"""One component of a package for an NPU in Qualcomm's emulator, against torch in float32.

    python benchmarks/npu_component.py MODEL PACKAGE COMPONENT...

PACKAGE is one of MODEL with `--chip`, at any size and without a golden case if need be
(`--skip-parity`): its components are compared by the probes that parity has, and no step is drawn.
What the emulator takes is said in CPU seconds, which tell how long to wait and nothing of a chip.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from edgegen_runner.metrics import Array

from edgegen.core.manifest import load_manifest
from edgegen.core.memory import PeakSampler
from edgegen.core.model import PipelineSpec
from edgegen.core.package import PackageManifest
from edgegen.core.units import format_bytes
from edgegen.models.pipeline_source import PipelineSource, folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.parity.compare import compare
from edgegen.parity.runner_side import RunnerSide
from edgegen.parity.side import Probe
from edgegen.reference import golden, probes
from edgegen.reference.pipeline import load_reference
from edgegen.reference.trajectory import to_numpy


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 3 or arguments[0].startswith("-"):
        print(__doc__)
        return 2
    model, package = resolve(arguments[0]).path, Path(arguments[1])
    manifest = load_manifest(package)
    components = tuple(it.spec for it in manifest.components)
    spec = replace(read_pipeline(resolve(arguments[0])), components=components)
    within = True
    for name in arguments[2:]:
        within &= show(package, manifest, spec, open_source(folder_source(model)), name)
    return 0 if within else 1


def show(
    package: Path, manifest: PackageManifest, spec: PipelineSpec, source: PipelineSource, name: str
) -> bool:
    """Compare a component, print what came of it, and return whether parity would accept it."""
    began_s = time.process_time()
    inputs, expected = in_torch(spec, source, name)
    torch_s = time.process_time() - began_s
    side = RunnerSide(package)
    with tempfile.TemporaryDirectory(prefix="npu-") as scratch, PeakSampler() as sampler:
        given, made = Path(scratch) / "in", Path(scratch) / "out"
        given.mkdir()
        made.mkdir()
        for tensor, value in inputs.items():
            golden.write_array(given, f"{tensor}.npy", value)
        with closing(side.work([Probe(component=name, inputs=given, outputs=made)])) as outcomes:
            (outcome,) = outcomes
        if isinstance(outcome, Exception):
            raise outcome
        checks = [
            compare(
                "component",
                f"{name}.{tensor}",
                value,
                golden.read_array(made, f"{tensor}.npy"),
                threshold_db=manifest.recipe.tolerance.component_psnr_db,
            )
            for tensor, value in expected.items()
        ]
    for check in checks:
        found = "nothing" if check.psnr_db is None else f"{check.psnr_db:.1f} dB"
        print(f"{check.name}: {found}, {check.threshold_db:g} dB wanted {check.why}".rstrip())
    peak = sampler.peak_pss_bytes
    print(
        f"{name}: {side.cpu_s:.0f} CPU s in the emulator and {torch_s:.0f} in torch"
        + ("" if peak is None else f", at most {format_bytes(peak)} of memory, torch's included")
    )
    return all(it.passed for it in checks)


def in_torch(
    spec: PipelineSpec, source: PipelineSource, name: str
) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """Return the inputs of a component's probe, and what torch makes of them in float32."""
    component = next(it for it in spec.components if it.name == name)
    scale = spec.generation.vae_scale_factor
    size = probes.ProbeSize(
        latent_height=spec.generation.height // scale, latent_width=spec.generation.width // scale
    )
    reference = load_reference(spec, source)
    with torch.inference_mode(), reference.weights:
        inputs = probes.make_inputs(reference, spec, component, size)
        outputs = probes.compute(reference, component, inputs)
    return (
        {tensor: to_numpy(value) for tensor, value in inputs.items()},
        {tensor: to_numpy(value) for tensor, value in outputs.items()},
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
