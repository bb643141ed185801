"""How a model is read, where its files leave something open."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the user says of a model besides its name.

    `vae` is a file or a folder with another autoencoder, `config` a folder whose configurations
    take the place of those that edgegen would take, `prediction` what a UNet predicts (`epsilon` or
    `v_prediction`), and `pipeline` the diffusers class that draws with the model's components.
    `controlnets` are folders of networks that steer it by pictures.
    """

    vae: str | None = None
    config: str | None = None
    prediction: str | None = None
    pipeline: str | None = None
    controlnets: tuple[str, ...] = ()


AS_IT_IS = Reading()
"""Nothing is said."""
