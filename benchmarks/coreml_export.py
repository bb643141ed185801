"""coremltools as it comes, run by path, by the python of the Core ML peer.

    coreml_export.py convert MODEL COMPONENT PACKAGE.mlpackage
    coreml_export.py compress PACKAGE.mlpackage RECIPE OUTPUT.mlpackage [--time]

A conversion is that of Apple's own route: `torch.jit.trace`, then `coremltools.convert` to a
program in float16 for iOS 17. RECIPE is `palette8`, `palette6`, `palette4`, … (k-means of each
tensor, or of 16 channels in `palette4-grouped`; `palettize_weights`), `int8` or `int4` (blocks of
32; `linear_quantize_weights`, symmetric); groups and blocks want a package for iOS 18. With
`--time` the CPU seconds from the opened package to the saved one are written to OUTPUT.seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from litert_export import COMPONENTS


def convert(model: Path, component: str, output: Path) -> None:
    """Convert a component in float16."""
    import coremltools as ct
    import numpy as np
    import torch

    torch.manual_seed(0)
    network, samples = COMPONENTS[component](model)
    inputs = samples[0]
    with torch.no_grad():
        traced = torch.jit.trace(
            network.eval(), tuple(inputs.values()), check_trace=False, strict=False
        )
    converted = ct.convert(
        traced,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT16,
        skip_model_load=True,
        inputs=[
            ct.TensorType(name=name, shape=tuple(value.shape), dtype=_dtype(value, np))
            for name, value in inputs.items()
        ],
    )
    converted.save(str(output))


def compress(source: Path, recipe: str, output: Path) -> float:
    """Compress a package's weights; return the CPU seconds from the opened to the saved package."""
    import coremltools as ct
    import coremltools.optimize.coreml as cto

    started = sum(os.times()[:4])
    model = ct.models.MLModel(str(source), skip_model_load=True)
    if recipe.startswith("int"):
        blocks = {"granularity": "per_block", "block_size": 32} if recipe == "int4" else {}
        config = cto.OptimizationConfig(
            global_config=cto.OpLinearQuantizerConfig(
                mode="linear_symmetric", dtype=recipe, **blocks
            )
        )
        result = cto.linear_quantize_weights(model, config)
    else:
        palette, _, grouped = recipe.removeprefix("palette").partition("-")
        groups = {"granularity": "per_grouped_channel", "group_size": 16} if grouped else {}
        config = cto.OptimizationConfig(
            global_config=cto.OpPalettizerConfig(mode="kmeans", nbits=int(palette), **groups)
        )
        result = cto.palettize_weights(model, config)
    result.save(str(output))
    return sum(os.times()[:4]) - started


def _dtype(value: Any, np: Any) -> Any:
    return np.float32 if value.is_floating_point() else np.int32


def main(arguments: list[str]) -> int:
    """Run one job."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    jobs = parser.add_subparsers(dest="job", required=True)
    one = jobs.add_parser("convert")
    one.add_argument("model", type=Path)
    one.add_argument("component", choices=list(COMPONENTS))
    one.add_argument("output", type=Path)
    other = jobs.add_parser("compress")
    other.add_argument("source", type=Path)
    other.add_argument("recipe")
    other.add_argument("output", type=Path)
    other.add_argument("--time", action="store_true")
    options = parser.parse_args(arguments)
    if options.job == "convert":
        convert(options.model, options.component, options.output)
    else:
        seconds = compress(options.source, options.recipe, options.output)
        if options.time:
            options.output.with_suffix(".seconds").write_text(str(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
