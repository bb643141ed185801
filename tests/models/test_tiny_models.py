"""The tiny pipelines that every other test builds on are real ones, and do something."""

from __future__ import annotations

import pytest

from tests.tiny_models import FAMILIES, absent


@pytest.mark.slow  # diffusers loads and draws with each of them in test_golden_case
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_tiny_pipeline_loads_in_diffusers_and_its_weights_are_finite(family, tiny_pipeline):
    import diffusers
    import torch

    pipeline = diffusers.DiffusionPipeline.from_pretrained(tiny_pipeline(family), **absent(family))

    assert type(pipeline).__name__ == FAMILIES[family].pipeline
    for name, model in pipeline.components.items():
        if isinstance(model, torch.nn.Module):
            for tensor in model.parameters():
                assert torch.isfinite(tensor).all(), name


def test_a_tiny_pipeline_makes_images_that_depend_on_the_prompt(tiny_pipeline):
    import diffusers
    import torch

    pipeline = diffusers.DiffusionPipeline.from_pretrained(tiny_pipeline("sd15"))
    pipeline.set_progress_bar_config(disable=True)

    def image(prompt: str):
        generator = torch.Generator().manual_seed(0)
        return pipeline(
            prompt,
            num_inference_steps=2,
            generator=generator,
            height=32,
            width=32,
            output_type="np",
        ).images[0]

    assert image("a cat").std() > 0.05
    assert abs(image("a cat") - image("the dog")).max() > 0.01


def test_the_same_seed_builds_the_same_bytes_and_another_seed_does_not(tiny_pipeline, tmp_path):
    from tests.tiny_models import build

    file = "unet/diffusion_pytorch_model.safetensors"
    first = (tiny_pipeline("ddpm") / file).read_bytes()

    assert (build("ddpm", tmp_path / "again") / file).read_bytes() == first
    assert (build("ddpm", tmp_path / "other", seed=1) / file).read_bytes() != first
