"""The shape of the built-in model and how each stage of its training goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgegen.scenes.scene import PICTURE_PX, Kind

SEED = 0
CAPTION_TOKENS = 24
VOCABULARY = 1600
"""At most so many tokens, of which the most frequent words are one each."""
LATENT_CHANNELS = 8
REDUCTION = 8
LATENT_PX = PICTURE_PX // REDUCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A stage: AdamW, a warm-up, a constant rate, and a linear decay over the last share of steps.

    `average` is the decay of the exponential moving average of the weights, which is what is kept.
    """

    steps: int
    batch: int
    learning_rate: float
    warmup: int = 200
    decay_share: float = 0.2
    average: float = 0.999
    weight_decay: float = 1e-3
    clip: float = 1.0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        rising = min(1.0, (step + 1) / self.warmup)
        falling = (self.steps - step) / max(1.0, self.steps * self.decay_share)
        return self.learning_rate * min(rising, falling, 1.0)


AUTOENCODER = Schedule(steps=3000, batch=8, learning_rate=1e-3)
DECODER = Schedule(steps=3000, batch=8, learning_rate=7e-4)
DENOISER = Schedule(steps=24000, batch=64, learning_rate=1e-3, decay_share=0.35)
DISTILLER = Schedule(steps=2000, batch=64, learning_rate=2e-4, average=0.98)
TINY_AUTOENCODER = Schedule(steps=3000, batch=16, learning_rate=1e-3)

SQUARE_WEIGHT, KL_WEIGHT = 2.0, 1e-4
"""An autoencoder's loss: |error| + so much error² + so much of the divergence of its latents."""

MIX: Mapping[tuple[Kind, bool], float] = {
    (Kind.SINGLE, False): 0.10,
    (Kind.SINGLE, True): 0.11,
    (Kind.SIZE, False): 0.07,
    (Kind.SIZE, True): 0.07,
    (Kind.PLACE, False): 0.11,
    (Kind.PLACE, True): 0.10,
    (Kind.COUNT, False): 0.06,
    (Kind.COUNT, True): 0.06,
    (Kind.PAIR, False): 0.22,
    (Kind.PAIR, True): 0.10,
}
"""Of a batch, the share of each kind of scene, without and with a coloured background."""

TINY_AUTOENCODER_CONFIG: Mapping[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "encoder_block_out_channels": (16,) * 4,
    "decoder_block_out_channels": (16,) * 4,
    "num_encoder_blocks": (1, 1, 2, 3),
    "num_decoder_blocks": (3, 3, 2, 1),
    "latent_channels": LATENT_CHANNELS,
}
TEXT_ENCODER_CONFIG: Mapping[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": CAPTION_TOKENS,
    "projection_dim": 128,
}
DENOISER_CONFIG: Mapping[str, Any] = {
    "sample_size": LATENT_PX,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": (64, 128, 208),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
    "layers_per_block": 1,
    "cross_attention_dim": 128,
    "attention_head_dim": 4,
    "norm_num_groups": 16,
}
SCHEDULER_CONFIG: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
EMPTY_CAPTIONS = 0.1
"""The share of captions that are emptied, for classifier-free guidance."""
GUIDANCE = 3.0
"""What pictures are drawn with, and what the student of few steps has learned in."""
CONSISTENCY_STEPS = 20
"""How many points of the teacher's way the student is asked about, and its scheduler chooses of."""
SNR_LIMIT, SNR_FLOOR = 5.0, 0.5
"""The squared error of the picture that a prediction names counts min(SNR, limit) + floor times.

The limit is arXiv:2303.09556's. Without the floor, what is decided while nearly all is noise, which
is where a thing stands, counted nothing, and was learned last.
"""
