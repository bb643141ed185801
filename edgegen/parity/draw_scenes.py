"""Draws scenes from a package, in the runner that devices use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegen.core.errors import ConfigError, RunnerError
from edgegen.core.manifest import load_manifest
from edgegen.core.scratch import ScratchFolder
from edgegen.runner import job
from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.png import read_pixels
from edgegen.runner.session import generate
from edgegen.scenes.scene import PICTURE_PX
from edgegen.scenes.scores import Draw, Request


def package_drawer(
    package: Path,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    threads: int | None = None,
) -> Draw:
    """Return a function that draws requests with a package, a process for each seed.

    Steps and guidance are the package's own unless given, and threads the runtime's choice. Raises
    ConfigError where the package's pictures are not of a scene's size; drawing raises what the
    runner raises.
    """
    manifest = load_manifest(package)
    size = manifest.generation.width, manifest.generation.height
    if size != (PICTURE_PX, PICTURE_PX):
        raise ConfigError(
            f"{package} draws pictures of {size[0]} × {size[1]} pixels; scenes are of "
            f"{PICTURE_PX} × {PICTURE_PX}.",
            hint="Make one that draws them: edgegen package builtin:scenes --target onnx -o DIR",
        )
    backend = backend_here(manifest.target, Wishes(threads=threads))

    def draw(requests: Sequence[Request]) -> NDArray[np.uint8]:
        pictures = np.zeros((len(requests), PICTURE_PX, PICTURE_PX, 3), np.uint8)
        for seed in sorted({request.seed for request in requests}):
            places = [index for index, request in enumerate(requests) if request.seed == seed]
            with ScratchFolder("scenes") as folder:
                images = generate(
                    job.GenerateJob(
                        package=str(package.absolute()),
                        request=job.Request(
                            prompts=tuple(requests[index].caption for index in places),
                            steps=steps,
                            guidance=guidance,
                            seed=seed,
                        ),
                        output=str(folder),
                        backend=backend,
                    )
                )
                for place, image in zip(places, images, strict=True):
                    if image.path is None:
                        raise RunnerError("The runner made no image.", hint="Pack it again.")
                    pictures[place] = read_pixels(Path(image.path))
        return pictures

    return draw
