"""The runner's smaller parts: pictures, jobs, packages, guidance."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner import images
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.job import GenerateJob, parse_job
from edgegen_runner.package import Component, Tensor, load_package
from edgegen_runner.pipelines.denoiser import Conditioning, Denoiser, Guidance
from edgegen_runner.pipelines.guidance_embedding import guidance_embedding
from edgegen_runner.pipelines.starts import start_kind
from edgegen_runner.request import Request

from tests.tiny_models import write_json
from tests.tiny_packages import change_manifest, onnx_package, packaged, tensor


@pytest.mark.parametrize(
    ("before", "after"), [((37, 50), (64, 64)), ((200, 131), (32, 48)), ((9, 7), (8, 8))]
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kernel", ["LANCZOS", "BICUBIC"])
def test_resize_is_pillows_bit_for_bit(
    before: tuple[int, int], after: tuple[int, int], channels: int, kernel: str
) -> None:
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 256, (*before, channels), dtype=np.uint8)
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    # In two calls, because Pillow 13 may go down before it goes across, which rounds otherwise.
    across = picture.resize((after[1], before[0]), Image.Resampling[kernel])
    expected = np.array(across.resize(after[::-1], Image.Resampling[kernel]))
    resized = images.resize(pixels, *after, getattr(images, kernel)).reshape(expected.shape)
    assert np.array_equal(resized, expected)


def test_gray_is_pillows_bit_for_bit() -> None:
    from PIL import Image

    pixels = np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    expected = np.array(Image.fromarray(pixels).convert("L"))
    assert np.array_equal(images.to_gray(pixels)[:, :, 0], expected)


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (16, 4)])
def test_nearest_resize_is_torchs(size: tuple[int, int]) -> None:
    import torch

    mask = np.random.default_rng(3).random((1, 1, 11, 13)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(mask), size=size).numpy()
    assert np.array_equal(images.nearest_resize(mask, *size), expected)


@pytest.mark.parametrize("dimension", [16, 17, 256])
def test_guidance_embedding_is_diffusers(dimension: int) -> None:
    import torch
    from diffusers import LatentConsistencyModelPipeline

    expected = LatentConsistencyModelPipeline.get_guidance_scale_embedding(
        None,  # type: ignore[arg-type]
        torch.tensor([8.5 - 1]),
        embedding_dim=dimension,
    ).numpy()
    assert np.abs(guidance_embedding(8.5, dimension) - expected).max() < 6e-4


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[1]", "no JSON object"),
        (b"{}", "'command' is missing"),
        (b'{"command": "genrate"}', "genrate"),
        (b'{"command": "generate"}', "'package' is missing"),
        (b'{"command": "generate", "package": ""}', "package"),
        (b'{"command": "generate", "package": "p", "repeat": 0}', "repeat"),
        (b'{"command": "generate", "package": "p", "repeat": true}', "repeat"),
        (b'{"command": "generate", "package": "p", "request": {"seed": -1}}', "seed"),
        (b'{"command": "generate", "package": "p", "request": {"seed": 1e99}}', "seed"),
        (b'{"command": "generate", "package": "p", "request": {"guidance": NaN}}', "guidance"),
        (b'{"command": "generate", "package": "p", "request": {"prompts": "cat"}}', "prompts"),
        (b'{"command": "generate", "package": "p", "request": {"strength": 2}}', "strength"),
        (b'{"command": "generate", "package": "p", "file_names": ["../x.png"]}', "file name"),
        (b'{"command": "generate", "package": "p", "backend": {"memory": "big"}}', "memory"),
        (b'{"command": "describe", "package": "p"}', "package"),
        (b'{"command": "generate", "package": "a\\u0000b"}', "not a path"),
        (b'{"command": "generate", "package": "\\ud800"}', "not a path"),
        (b'{"command": "generate", "package": "' + b"x" * 300 + b'"}', "not a path"),
        (b'{"command": "generate", "package": "p", "file_names": ["\\ud800.png"]}', "file name"),
        (
            b'{"command": "generate", "package": "p", "request": {"seed": ' + b"9" * 5000 + b"}}",
            "5,000",
        ),
        (b'{"command": "generate", "package": "p", "request": {"width": 1000000}}', "width"),
        (b'{"command": "generate", "package": "p", "request": {"guidance": 1e999}}', "guidance"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_broken_job_is_refused_by_name(line: bytes, says: str) -> None:
    with pytest.raises(RunnerFailure, match=says) as caught:
        parse_job(line)
    assert caught.value.kind == "bad-request"


def test_job_with_nulls_takes_the_defaults() -> None:
    line = {
        "command": "generate",
        "package": "p",
        "request": {"prompts": ["a"], "steps": None, "negative_prompt": ""},
        "sensors": None,
        "duration_s": None,
        "backend": {"threads": None},
    }
    job = parse_job(json.dumps(line).encode())
    assert isinstance(job, GenerateJob)
    assert job.request.negative_prompt == ""
    assert job.request.steps is None
    assert job.sensor_interval_s is None
    assert job.backend.threads is None


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("parts") / "package")


@pytest.mark.parametrize(
    "path",
    [
        "../outside.onnx",
        "/etc/passwd",
        "unet/../../x",
        "..\\x",
        "C:/x",
        ".",
        "link/passwd",
        "a\0b",
        "x" * 300,
    ],
)
def test_manifest_with_a_path_that_leaves_the_package_is_refused(
    package: Path, tmp_path: Path, path: str
) -> None:
    import shutil

    folder = tmp_path / "hostile"
    shutil.copytree(package, folder)
    (folder / "link").symlink_to("/etc")
    manifest = json.loads((folder / "edgegen.json").read_text(encoding="utf-8"))
    manifest["components"][1]["path"] = path
    write_json(folder / "edgegen.json", manifest)
    with pytest.raises(RunnerFailure, match="leaves the package") as caught:
        load_package(folder)
    assert caught.value.kind == "bad-package"


UNET = packaged("unet", "unet/model.onnx", [], [tensor("out_sample")])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema_version": 1}, "schema version 1"),
        ({"facts": {"guidance": "none", "starts": ["nose"]}}, "one of noise, picture, mask"),
        ({"facts": {"guidance": "none", "starts": []}}, "broken"),
        ({"facts": None}, "'facts' is missing"),
        ({"generation": {"width": 3}}, "broken"),
        ({"components": None}, "'components' is missing"),
        ({"components": {}}, "not a list"),
        ({"components": [{"spec": {"name": "unet"}, "path": ""}]}, "not a text"),
        (
            {"components": [{"spec": {"name": "unet", "role": "x"}, "path": "unet"}]},
            "'role' in spec",
        ),
        ({"components": [{"spec": {"name": "../unet"}, "path": "unet"}]}, "not a plain name"),
        ({"components": [{**UNET, "natives": {"a": {"name": "b", "layout": "c"}}}]}, "'layout'"),
        ({"components": [{**UNET, "natives": {"a": "b"}}]}, "not an object"),
        ({"components": [7] * 65}, "at most 64"),
        ({"files": [{"sha256": "a"}]}, "'path' is missing"),
        ({"generation": {"width": "wide"}}, "not a whole number"),
        ({"generation": {"width": 10**9}}, "not between"),
        ({"recipe": {}}, "broken"),
        ({"golden": {"folder": "../.."}}, "leaves the package"),
    ],
)
def test_broken_manifest_is_refused(
    package: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    import shutil

    folder = tmp_path / "broken"
    shutil.copytree(package, folder)
    change_manifest(folder, **changes)
    with pytest.raises(RunnerFailure, match=says):
        load_package(folder)


def test_folder_without_manifest_or_with_a_missing_file_is_refused(
    package: Path, tmp_path: Path
) -> None:
    import shutil

    with pytest.raises(RunnerFailure, match=r"edgegen.json does not exist"):
        load_package(tmp_path)
    folder = tmp_path / "copy"
    shutil.copytree(package, folder)
    (folder / "unet" / "model.onnx").unlink()
    with pytest.raises(RunnerFailure, match=r"model.onnx is missing"):
        load_package(folder)


PICTURE = Path("picture.png")


@pytest.mark.parametrize(
    ("starts", "request_", "says"),
    [
        (["noise"], Request(image=PICTURE), "does not start from a picture"),
        (["noise"], Request(image=PICTURE, mask=PICTURE), "does not start from a mask"),
        (["noise", "picture"], Request(image=PICTURE, mask=PICTURE), "does not start from a mask"),
        (["noise", "picture", "mask"], Request(image=PICTURE), "no vae_encoder"),
        (["noise", "picture", "mask"], Request(mask=PICTURE), "Inpainting takes a picture"),
        (["picture", "mask"], Request(), "works on a picture"),
        (["mask"], Request(image=PICTURE), "Inpainting takes a picture"),
    ],
)
def test_a_start_that_the_package_does_not_have_is_refused(
    starts: list[str], request_: Request, says: str, package: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "package"
    shutil.copytree(package, folder)
    facts = json.loads((folder / "edgegen.json").read_text(encoding="utf-8"))["facts"]
    change_manifest(folder, facts={**facts, "starts": starts})
    with pytest.raises(RunnerFailure, match=says) as caught:
        start_kind(load_package(folder), request_)
    assert caught.value.kind == "bad-request"


class CountingComponents:
    """Stands for `Components`: the prediction is the sample plus the text."""

    def __init__(self, batch: int | str) -> None:
        inputs = {
            "sample": Tensor("sample", "float32", (batch, 1, "h", "w")),
            "timestep": Tensor("timestep", "float32", ()),
            "text": Tensor("text", "float32", (batch, 1, 1, 1)),
        }
        outputs = {"out": Tensor("out", "float32", (batch, 1, "h", "w"))}
        self.component_ = Component("unet", "denoiser", Path(), inputs, outputs)
        self.batches: list[int] = []
        self.package = self

    def by_role(self, role: str) -> Component:
        return self.component_

    def run_each(self, name: str, calls: Any, outputs: Any = None) -> Any:
        self.batches += [len(inputs["sample"]) for inputs in calls]
        return [{"out": inputs["sample"] + inputs["text"]} for inputs in calls]


@pytest.mark.parametrize(
    ("batch", "asked", "guided", "calls"),
    [
        ("batch", 2, True, [2]),
        ("batch", 1, True, [1, 1]),
        ("batch", 2, False, [1]),
        (1, 2, True, [1, 1]),
        (2, 1, True, [2]),
        (2, 2, False, [2]),
    ],
)
def test_guidance_is_batched_as_asked_and_as_fixed_shapes_allow(
    batch: int | str, asked: int, guided: bool, calls: list[int]
) -> None:
    components = CountingComponents(batch)
    text = np.full((1, 1, 1, 1), 10, np.float32)
    negative = {"text": text * 0} if guided else None
    denoiser = Denoiser(
        components,  # type: ignore[arg-type]
        Conditioning({"text": text}, negative),
        Guidance(3.0, 0.0, asked),
    )
    sample = np.ones((1, 1, 2, 2), np.float32)
    prediction = denoiser.predict(sample, 5)
    assert prediction.shape == sample.shape
    assert np.allclose(prediction, 31 if guided else 11)
    assert components.batches == calls


def test_of_a_prediction_with_a_variance_the_first_channels_are_kept() -> None:
    components = CountingComponents(1)
    conditioning = Conditioning({"text": np.zeros((1, 1, 1, 1), np.float32)})
    denoiser = Denoiser(
        components,  # type: ignore[arg-type]
        conditioning,
        Guidance(1.0),
        channels=2,
    )
    sample = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    assert denoiser.predict(sample, 5).ravel().tolist() == [0.0, 1.0]


def test_png_text_survives_any_prompt(tmp_path: Path) -> None:
    from edgegen_runner.png import encode_png
    from PIL import Image

    data = encode_png(np.zeros((2, 2, 3), np.uint8), {"prompt": "größe 🐱\nline"})
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert picture.info["prompt"] == "größe 🐱\nline"
