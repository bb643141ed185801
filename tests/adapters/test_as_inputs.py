"""One package, and LoRAs that are given when it draws: what a package with them merged draws."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.lora import load_lora
from edgegen_runner.metrics import psnr_db
from edgegen_runner.package import load_package

from edgegen.cli.main import run as edgegen
from edgegen.core.codec import load_json
from edgegen.core.errors import ConfigError, RunnerError, SourceError
from edgegen.core.files import sha256_of
from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import Measurement
from edgegen.drawer import DrawRequest, Pixels
from edgegen.models.adapters.adapted_folder import with_adapters
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.lora_file import lora_for
from edgegen.packaging.model_facts import read_facts
from edgegen.packaging.plan import plan, plan_package
from edgegen.reference.drawer import TorchDrawer
from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.drawers import PackageDrawer
from edgegen.runner.job import GenerateJob, Request
from edgegen.runner.png import drawn_pixels
from edgegen.runner.session import generate
from tests.adapters.writers import (
    FORMS,
    Naming,
    every,
    is_trained,
    kohya,
    kohya_of_two_encoders,
    modules_in,
    with_component,
    write,
)
from tests.conftest import TinyPipeline
from tests.devices.conftest import PYTHON_PATH
from tests.devices.sshd import Sshd, needs_sshd
from tests.shared import built_once
from tests.tiny_packages import onnx_package

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LEAST_PSNR_DB = 60.0
PROMPT, SEED, STEPS = "a cat and the dog", 3, 3
COMPONENTS = {
    "sd15": ("unet", "text_encoder"),
    "sdxl": ("unet", "text_encoder", "text_encoder_2"),
    "pixart": ("transformer", "text_encoder"),
}


def built(model: Path, place: Path, recipe: str = "fp32") -> None:
    facts = read_facts(resolve(str(model)), steps=STEPS)
    build(plan_package(facts, target="onnx", recipe=recipe, destination=place, lora_as_input=True))


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    needs_sshd()
    environment = {"PATH": PYTHON_PATH}
    with Sshd(tmp_path / "sshd", home=tmp_path / "home", environment=environment) as running:
        monkeypatch.setenv("EDGEGEN_SSH", f"ssh -F {running.ssh_config}")
        monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))
        yield running


@pytest.fixture(scope="module")
def package(tiny_pipeline: TinyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of tiny Stable Diffusion 1 whose layers take LoRAs; it has passed parity."""
    return built_once(
        tmp_path_factory, "loras-as-inputs", lambda place: built(tiny_pipeline("sd15"), place)
    )


def adapter(
    model: Path, path: Path, form: str, naming: Naming, components: Sequence[str], step: int = 1
) -> Path:
    modules = [
        (folder, module, weight)
        for folder in components
        for module, weight in modules_in(model / folder, is_trained).items()
        if not module.endswith("relative_attention_bias")  # T5's: a table, which no LoRA is of
    ]
    write(path, every(step, modules), FORMS[form], naming)
    return path


def drawn(package: Path, folder: Path, *loras: str) -> Pixels:
    """Return what the runner draws with LoRAs."""
    manifest = load_manifest(package)
    with lora_for(manifest, loras) as lora:
        job = GenerateJob(
            package=str(package),
            request=Request(
                prompts=(PROMPT,), seed=SEED, steps=STEPS, lora=None if lora is None else str(lora)
            ),
            output=str(folder),
            file_names=("drawn.png",),
            backend=backend_here(manifest.target, Wishes()),
        )
        (image,) = generate(job)
    return drawn_pixels(image.path, image.sha256)


def merged(model: Path, *loras: str) -> Pixels:
    """Return what torch draws, which reads the sums that are held against diffusers elsewhere."""
    import torch
    from diffusers import DiffusionPipeline

    from edgegen.models.pipeline_source import folder_source, open_source

    adapted = with_adapters(resolve(str(model)), loras)
    source, spec = open_source(folder_source(adapted.path)), read_pipeline(adapted)
    pipeline = DiffusionPipeline.from_pretrained(str(model), safety_checker=None)
    for folder in {it.folder for it in spec.components}:
        weights, state = source.weights(folder), getattr(pipeline, folder).state_dict()
        for key in weights.entries:
            name = key if key in state else key.removeprefix("text_model.")
            if name in state:
                state[name].copy_(torch.from_numpy(np.array(weights.array(key))))
    request = DrawRequest(prompt=PROMPT, seed=SEED, steps=STEPS)
    (picture,) = TorchDrawer(pipeline, spec.family, spec.generation).draw([request])
    return picture


def distance_db(first: Pixels, second: Pixels) -> float:
    found = psnr_db(first, second, peak=255.0)
    return float("inf") if found is None else found


@pytest.mark.parametrize(
    "form",
    ["lora", *(pytest.param(it, marks=pytest.mark.slow) for it in ("locon", "loha", "flat_loha"))],
)
def test_a_lora_that_is_given_draws_what_it_draws_merged(
    form: str, package: Path, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline("sd15")
    file = adapter(model, tmp_path / "a.safetensors", form, kohya, COMPONENTS["sd15"])
    with_it = drawn(package, tmp_path, f"{file}:0.7")
    without = drawn(package, tmp_path)
    assert distance_db(with_it, merged(model, f"{file}:0.7")) >= LEAST_PSNR_DB
    assert distance_db(without, merged(model)) >= LEAST_PSNR_DB
    assert distance_db(with_it, without) < 40


@pytest.mark.slow
def test_two_loras_add_up_whatever_layers_they_are_of(
    package: Path, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline("sd15")
    one = adapter(model, tmp_path / "1.safetensors", "lora", kohya, ["unet"])
    two = adapter(model, tmp_path / "2.safetensors", "plain_lora", with_component, ["unet"], 3)
    both = [f"{one}:0.5", f"{two}:-0.25"]
    assert distance_db(drawn(package, tmp_path, *both), merged(model, *both)) >= LEAST_PSNR_DB


@pytest.mark.slow
@pytest.mark.parametrize(("family", "naming"), [("sdxl", kohya_of_two_encoders), ("pixart", kohya)])
def test_other_families_take_loras_at_run_time(
    family: str, naming: Naming, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model, place = tiny_pipeline(family), tmp_path / "package"
    built(model, place)
    file = adapter(model, tmp_path / "a.safetensors", "lora", naming, COMPONENTS[family])
    with_it = drawn(place, tmp_path, f"{file}:0.7")
    assert distance_db(with_it, merged(model, f"{file}:0.7")) >= LEAST_PSNR_DB
    assert distance_db(with_it, drawn(place, tmp_path)) < 40


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["fp16-storage", "fp16", "int8", "int8-dynamic", "int4"])
def test_every_kind_of_weight_has_a_lora_beside_it(
    recipe: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """What the LoRA changes in the picture is what it changes in torch's."""
    model, place = tiny_pipeline("sd15"), tmp_path / "package"
    built(model, place, recipe)
    file = adapter(model, tmp_path / "a.safetensors", "lora", kohya, COMPONENTS["sd15"])
    limit_db = load_manifest(place).recipe.tolerance.image_psnr_db
    with_it = drawn(place, tmp_path, f"{file}:0.7")
    assert distance_db(with_it, merged(model, f"{file}:0.7")) >= limit_db
    assert distance_db(with_it, merged(model)) < limit_db


def test_a_lora_of_another_model_is_refused_as_when_it_is_merged(
    package: Path, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    other = tiny_pipeline("sdxl")
    file = adapter(other, tmp_path / "a.safetensors", "lora", with_component, ["unet"])
    with pytest.raises(SourceError, match="is no adapter of") as given:
        drawn(package, tmp_path, str(file))
    with pytest.raises(SourceError, match="is no adapter of") as added:
        with_adapters(resolve(str(tiny_pipeline("sd15"))), [str(file)])
    assert given.value.message.split(": of its")[1] == added.value.message.split(": of its")[1]


@pytest.mark.parametrize("form", ["lokr", "dora", "peft_dora", "difference"])
def test_what_is_no_product_of_thin_matrices_is_refused(
    form: str, package: Path, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    file = adapter(tiny_pipeline("sd15"), tmp_path / "a.safetensors", form, kohya, ["unet"])
    with pytest.raises(SourceError, match="cannot be an input of a graph") as refused:
        drawn(package, tmp_path, str(file))
    assert "edgegen package MODEL --lora FILE" in str(refused.value.hint)


@pytest.mark.parametrize("target", ["coreml", "openvino", "tflite"])
def test_other_targets_say_why_they_take_none(target: str, tiny_pipeline: TinyPipeline) -> None:
    facts = read_facts(resolve(str(tiny_pipeline("sd15"))))
    with pytest.raises(ConfigError, match="takes no LoRA at run time: its") as refused:
        plan_package(facts, target=target, destination=Path("never"), lora_as_input=True)
    assert "--lora FILE" in str(refused.value.hint)


def test_a_package_without_such_inputs_says_how_to_build_one(package: Path, tmp_path: Path) -> None:
    data = json.loads((package / "edgegen.json").read_text(encoding="utf-8"))
    for component in data["components"]:
        component.pop("lora_inputs", None)
    (tmp_path / "edgegen.json").write_text(json.dumps(data), encoding="utf-8")
    with (
        pytest.raises(ConfigError, match="takes no LoRA at run time") as refused,
        lora_for(load_manifest(tmp_path), ["a.safetensors"]),
    ):
        pass
    assert "--lora-as-input" in str(refused.value.hint)


def test_the_command_draws_with_it(
    package: Path, tiny_pipeline: TinyPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = adapter(tiny_pipeline("sd15"), tmp_path / "a.safetensors", "lora", kohya, ["unet"])
    command = ["run", str(package), "--prompt", PROMPT, "--steps", "2"]
    pictures = []
    for loras in ([], ["--lora", str(file)], ["--lora", f"{file}:0"]):
        assert edgegen([*command, *loras, "--json", "-o", str(tmp_path / "drawn.png")]) == 0
        (image,) = json.loads(capsys.readouterr().out)["images"]
        pictures.append(drawn_pixels(image["path"], image["sha256"]))
    assert distance_db(pictures[0], pictures[1]) < 40
    assert np.array_equal(pictures[0], pictures[2])
    assert edgegen([*command, "--lora", str(tmp_path / "gone.safetensors")]) != 0
    assert "There is no adapter" in capsys.readouterr().err


@pytest.mark.slow
def test_a_device_draws_with_it_and_is_measured_with_it(
    package: Path,
    tiny_pipeline: TinyPipeline,
    sshd: Sshd,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = adapter(tiny_pipeline("sd15"), tmp_path / "ink.safetensors", "lora", kohya, ["unet"])
    device, given = ("--device", sshd.address), ("--lora", f"{file}:0.5", "--steps", "2")
    pictures = []
    for where in ((), device):
        command = ["run", str(package), "--prompt", PROMPT, *given, *where]
        assert edgegen([*command, "--json", "-o", str(tmp_path / "drawn.png")]) == 0
        (image,) = json.loads(capsys.readouterr().out)["images"]
        pictures.append(drawn_pixels(image["path"], image["sha256"]))
    assert np.array_equal(*pictures)
    raw = tmp_path / "raw.json"
    for where in ((), device):
        command = ["bench", str(package), *given, *where, "--images", "1", "--restarts", "1"]
        assert edgegen([*command, "--json-file", str(raw)]) == 0
        assert "with ink:0.5 (" in capsys.readouterr().out
        (named,) = load_json(Measurement, raw).workload.loras
        assert named == f"ink:0.5 ({sha256_of(file)[:12]})"


def test_bench_refuses_a_lora_before_anything_is_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = onnx_package(tmp_path / "package")
    assert edgegen(["bench", str(package), "--lora", "x.safetensors", "--plan"]) == 2
    assert "takes no LoRA at run time" in capsys.readouterr().err


def changed(file: Path, header: dict[str, object], data: bytes) -> Path:
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return file


def test_the_runner_believes_no_header(
    package: Path, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    from edgegen_runner.errors import RunnerFailure

    file = adapter(tiny_pipeline("sd15"), tmp_path / "a.safetensors", "lora", kohya, ["unet"], 9)
    with lora_for(load_manifest(package), [str(file)]) as made:
        assert made is not None
        good = made.read_bytes()
    opened, place = load_package(package), tmp_path / "b.safetensors"
    length = int.from_bytes(good[:8], "little")
    header, data = json.loads(good[8 : 8 + length]), good[8 + length :]
    assert load_lora(changed(place, header, data), opened)["unet"]
    name = next(iter(header))
    entry = header[name]
    size = 4 * int(np.prod(entry["shape"]))
    for wrong in (
        {**entry, "data_offsets": [len(data), len(data) + size]},
        {**entry, "data_offsets": [-4, size - 4]},
        {**entry, "data_offsets": [0, 8 << 60], "shape": [2 << 60]},
        {**entry, "shape": entry["shape"][::-1]},
        {**entry, "shape": [*entry["shape"], 1]},
        {**entry, "dtype": "F16"},
        {**entry, "shape": "all"},
        [],
    ):
        with pytest.raises(RunnerFailure):
            load_lora(changed(place, {**header, name: wrong}, data), opened)
    upon = {f"{name}{number}": entry for number in range(len(data) // size + 2)}
    with pytest.raises(RunnerFailure, match="upon another"):
        load_lora(changed(place, {**header, **upon}, data), opened)
    with pytest.raises(RunnerFailure, match="not a LoRA of this package"):
        load_lora(changed(place, {**header, "unet/x.lora_A": entry}, data + data[:size]), opened)
    for cut in (0, 7, 9, 8 + length, len(good) - 1):
        place.write_bytes(good[:cut])
        with pytest.raises(RunnerFailure):
            load_lora(place, opened)


def test_a_wrong_file_is_an_error_of_the_request(package: Path, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no")
    job = GenerateJob(
        package=str(package),
        request=Request(prompts=("x",), lora=str(tmp_path / "x.safetensors")),
        backend=backend_here("onnx", Wishes()),
    )
    with pytest.raises((ConfigError, RunnerError), match="is no LoRA"):
        generate(job)


@pytest.mark.slow
def test_without_the_option_a_graph_has_no_such_inputs(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    made = plan(resolve(str(tiny_pipeline("sd15"))), target="onnx", destination=tmp_path / "p")
    assert not made.candidate.runtime.lora_as_input
    build(made, parity=False)
    assert not any(it.lora_inputs for it in load_manifest(tmp_path / "p").components)
    assert PackageDrawer(tmp_path / "p")
