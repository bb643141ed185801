"""IP-Adapter: a picture as a part of the prompt.

Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py (``encode_image`` and
``prepare_ip_adapter_image_embeds``; the XL one agrees).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .. import images
from ..clip_picture import to_clip
from ..errors import RunnerFailure
from ..package import Component, Package
from ..request import Request
from ..residency import Components

Array = npt.NDArray[Any]

ENCODER, PROJECTION = "image_encoder", "image_projection"
EMBEDDING = "image_embeds"
"""What is made of a picture where all of it becomes one vector."""


class PicturePrompt:
    """The picture of a request, where the package takes one.

    Raises RunnerFailure (bad-request) where one of both has it and the other doesn't.
    """

    def __init__(self, components: Components, request: Request) -> None:
        package = components.package
        self._components = components
        self._pixels: Optional[images.Pixels] = None
        if not package.facts.takes_picture_prompt:
            if request.picture_prompt is not None:
                raise RunnerFailure(
                    "bad-request",
                    "This package takes no picture as a part of the prompt.",
                    "Leave --ip-image out, or package the model with --ip-adapter.",
                )
            self.names: tuple[str, ...] = ()
            return
        if request.picture_prompt is None:
            raise RunnerFailure(
                "bad-request",
                "This package was made with an IP-Adapter, and draws what a picture shows, too.",
                "Give the picture with --ip-image.",
            )
        self._pixels = images.read_picture(request.picture_prompt)
        self.names = tuple(it.name for it in self._parts(package))

    def rows(self, count: int) -> list[Mapping[str, Array]]:
        """Return what it adds for the prompt and, of ``count`` 2, for the negative one."""
        if self._pixels is None:
            return [{}] * count
        encoder, projection = self._parts(self._components.package)
        side = encoder.inputs["pixel_values"].shape[3]
        assert isinstance(side, int)
        pictures = [to_clip(self._pixels, side)]
        features = [self._run(encoder, pictures[0])]
        if count > 1:
            by_embedding = EMBEDDING in projection.inputs
            # diffusers: an embedding of zeros, or the patches of a picture of zeros
            without = (
                np.zeros_like(features[0])
                if by_embedding
                else self._run(encoder, np.zeros_like(pictures[0]))
            )
            features.append(without)
        name = projection.first_output
        return [{name: self._run(projection, it)} for it in features]

    def _parts(self, package: Package) -> tuple[Component, Component]:
        return package.by_role(ENCODER), package.by_role(PROJECTION)

    def _run(self, component: Component, value: Array) -> Array:
        (tensor,) = component.inputs.values()
        fixed = tensor.shape[0]
        batch = fixed if isinstance(fixed, int) else 1
        output = component.first_output
        inputs = {tensor.name: np.repeat(value, batch, 0)}
        return self._components.run(component.name, inputs, [output])[output][:1]
