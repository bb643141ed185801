"""What diffusers draws of a checkpoint by its own loader, edgegen draws of it, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgegen.core.codec import load_json
from edgegen.core.manifest import load_manifest
from edgegen.core.package import EVIDENCE_NAME, Evidence
from edgegen.core.reading import Reading
from edgegen.core.targets import load_targets
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.reference import golden
from edgegen.reference.case import plan_case
from edgegen.reference.pipeline import load_reference
from edgegen.reference.trajectory import case_arguments, run_case
from tests.checkpoints.diffusers_side import drawn_by_diffusers
from tests.checkpoints.original import write_original
from tests.checkpoints.test_forms import FORMS
from tests.conftest import TinyPipeline

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # diffusers' from_single_file
]
LOADED_BY_DIFFUSERS = [name for name in FORMS if name != "lcm"]
"""diffusers 0.42 maps no `time_embed.cond_proj`: a UNet with the guidance as an input."""


@pytest.mark.parametrize("name", LOADED_BY_DIFFUSERS)
def test_torch_draws_what_diffusers_draws_of_the_same_file(
    name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(name)
    file = write_original(folder, FORMS[name][0], tmp_path / "model.safetensors")
    found = resolve(str(file), reading=Reading(config=str(folder)))
    spec = read_pipeline(found)
    case = plan_case(spec, found.path, full=False)

    reference = load_reference(spec, open_source(folder_source(found.path)))
    with torch.inference_mode(), reference.weights:
        run_case(reference, spec, case, tmp_path, lambda _: None)
    image = golden.read_array(tmp_path, golden.IMAGE_NAME)

    class_name = type(reference.pipeline).__name__
    expected = drawn_by_diffusers(class_name, file, folder, case_arguments(spec, case, tmp_path))
    assert np.array_equal(image, expected)
    assert image.std() > 0.01


@pytest.mark.slow  # that an exporter writes the same from any source is compared in every run
@pytest.mark.parametrize("target", sorted(load_targets()))
def test_a_package_draws_what_diffusers_draws_of_the_same_file(
    target: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    file = write_original(folder, "1", tmp_path / "model.safetensors")
    found = resolve(str(file), reading=Reading(config=str(folder)))
    spec = read_pipeline(found)
    package = tmp_path / "package"

    build(plan(found, target=target, recipe="fp32", destination=package))

    manifest = load_manifest(package)
    assert manifest.source.form == "Stable Diffusion 1, in one file"
    assert manifest.source.reading == Reading(config=folder.name)
    case = manifest.golden
    assert case is not None
    evidence = load_json(Evidence, package / EVIDENCE_NAME)
    (picture,) = [check for check in evidence.parity if check.layer == "image"]
    assert picture.psnr_db is None or picture.psnr_db >= 60  # None: equal
    expected = drawn_by_diffusers(
        "StableDiffusionPipeline", file, folder, case_arguments(spec, case, package / case.folder)
    )
    assert np.array_equal(golden.read_array(package / case.folder, golden.IMAGE_NAME), expected)
