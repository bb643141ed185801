"""A stand-in for the runner that answers with the golden case, unless it is tampered with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
from edgegen_runner.png import to_uint8

from edgegen.core.errors import RunnerError
from edgegen.core.model import Component, Generation, TensorSpec
from edgegen.core.package import (
    SCHEMA_VERSION,
    GoldenCase,
    ModelSource,
    PackagedComponent,
    PackageManifest,
)
from edgegen.core.recipe import Recipe, Tolerance
from edgegen.families import facts_of
from edgegen.parity.side import Draw, Outcome, Task
from edgegen.reference import golden

Array = np.ndarray
Outputs = dict[str, Array]
RANDOM = np.random.default_rng(2)
STEPS = 3


def tensor(name: str) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=("batch", 4, "height", "width"))


def component(name: str, outputs: tuple[str, ...]) -> PackagedComponent:
    spec = Component(
        name=name,
        role="denoiser",
        folder=name,
        class_name="Net",
        inputs=(tensor("sample"),),
        outputs=tuple(map(tensor, outputs)),
        parameters=1,
    )
    return PackagedComponent(spec=spec, path=f"{name}/model.onnx", storage_bytes=1)


CASE = GoldenCase(
    folder="golden",
    prompt="a cat",
    negative_prompt=None,
    width=8,
    height=8,
    steps=STEPS,
    guidance=7.5,
    seed=1,
    scheduler="DDIMScheduler",
)
MANIFEST = PackageManifest(
    schema_version=SCHEMA_VERSION,
    source=ModelSource(model="m", revision=None, weights_sha256="0", licence=None),
    family="stable-diffusion",
    facts=facts_of("stable-diffusion", Generation(width=8, height=8, latent_channels=4)),
    pipeline_class="StableDiffusionPipeline",
    generation=Generation(width=8, height=8, latent_channels=4),
    components=(component("unet", ("out_sample",)), component("text_encoder", ("last", "pooled"))),
    target="onnx",
    profile=None,
    recipe=Recipe(
        name="fp16",
        description="",
        storage="float16",
        compute="float16",
        tolerance=Tolerance(component_psnr_db=60, trajectory_psnr_db=50, image_psnr_db=40),
    ),
    operators="contrib",
    shapes="dynamic",
    operator_sets={},
    toolkits={},
    files=(),
    golden=CASE,
)


def noise(*shape: int) -> Array:
    return RANDOM.standard_normal(shape, np.float32)


def write_golden_case(folder: Path) -> None:
    """Write the case of MANIFEST, with random numbers for what torch would compute."""
    folder.mkdir(parents=True)
    for packaged in MANIFEST.components:
        name = packaged.spec.name
        golden.write_array(folder, golden.input_name(name, "sample"), noise(2, 4, 8, 8))
        for output in packaged.spec.outputs:
            golden.write_array(folder, golden.output_name(name, output.name), noise(2, 4, 8, 8))
    for index in range(STEPS):
        golden.write_array(folder, golden.trajectory_name(index), noise(1, 4, 8, 8))
    golden.write_array(folder, golden.IMAGE_NAME, np.clip(noise(1, 3, 8, 8), -1, 1))


class FaithfulSide:
    """Computes what the golden case holds, unless an output is tampered with."""

    cpu_s = 1.5

    def __init__(self, package: Path) -> None:
        self.folder = package / CASE.folder
        self.tampering: dict[str, Callable[[Array], Array | None]] = {}
        self.steps = STEPS

    def value(self, name: str, file_name: str) -> Array | None:
        value = golden.read_array(self.folder, file_name)
        return self.tampering.get(name, lambda same: same)(value)

    def work(self, tasks: Sequence[Task]) -> Generator[Outcome]:
        for task in tasks:
            try:
                if isinstance(task, Draw):
                    yield self.generate(task.case, task.pictures, task.place)
                else:
                    yield self.probe(task.component, task.inputs, task.outputs)
            except RunnerError as error:
                yield error

    def probe(self, component: str, inputs: Path, outputs: Path) -> None:
        packaged = next(it for it in MANIFEST.components if it.spec.name == component)
        expected = golden.read_probe(self.folder, packaged.spec).inputs["sample"]
        assert np.array_equal(np.load(inputs / "sample.npy"), expected)
        for output in packaged.spec.outputs:
            name = f"{component}.{output.name}"
            value = self.value(name, golden.output_name(component, output.name))
            if value is not None:
                np.save(outputs / f"{output.name}.npy", value)

    def generate(self, case: GoldenCase, pictures: Path, trajectory: Path) -> Array:
        assert (case, pictures) == (CASE, self.folder)
        for index in range(self.steps):
            source = golden.trajectory_name(min(index, STEPS - 1))
            value = self.value(f"step {index}", source)
            if value is not None:
                np.save(trajectory / f"{index}.npy", value)
        image = self.value("pixels", golden.IMAGE_NAME)
        if image is None:
            raise RunnerError("it has crashed")
        return to_uint8(image)[0]
