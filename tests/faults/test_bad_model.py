"""Models that cannot be packaged: what is said, and that nothing is left."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.models.safetensors import SafetensorsFile
from tests.faults.command import Command, contents
from tests.faults.conftest import Edgegen
from tests.faults.pickles import pickled_mark, run_marks

UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT_ENCODER = "text_encoder/model.safetensors"


def change_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite a safetensors header; the tensors' bytes stay."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + data[8 + length :])


def offsets(index: int, begin: Callable[[int], int]) -> Callable[[Path], None]:
    """Return a change of where a tensor's bytes begin and end, its size as it was."""

    def spoil(model: Path) -> None:
        def change(header: dict[str, Any]) -> None:
            name = sorted(key for key in header if key != "__metadata__")[index]
            first, last = header[name]["data_offsets"]
            moved = begin(first)
            header[name]["data_offsets"] = [moved, moved + last - first]

        change_header(model / UNET, change)

    return spoil


def no_index(model: Path) -> None:
    (model / "model_index.json").unlink()


def broken_index(model: Path) -> None:
    (model / "model_index.json").write_text('{"_class_name": "DDPM')


def unknown_class(model: Path) -> None:
    path = model / "model_index.json"
    index = json.loads(path.read_text()) | {"_class_name": "StableVideoDiffusionPipeline"}
    path.write_text(json.dumps(index))


def no_weights(model: Path) -> None:
    (model / UNET).unlink()


def no_config(model: Path) -> None:
    (model / "unet/config.json").unlink()


def no_scheduler(model: Path) -> None:
    (model / "scheduler/scheduler_config.json").unlink()


def cut_tensors(model: Path) -> None:
    path = model / UNET
    path.write_bytes(path.read_bytes()[:-100])


def cut_header(model: Path) -> None:
    path = model / UNET
    path.write_bytes(path.read_bytes()[:1000])


def empty_file(model: Path) -> None:
    (model / UNET).write_bytes(b"")


def endless_header(model: Path) -> None:
    path = model / UNET
    path.write_bytes(struct.pack("<Q", 1 << 62) + path.read_bytes()[8:])


def missing_shard(model: Path) -> None:
    path = model / UNET
    names = SafetensorsFile.open(path).entries
    shards = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    path.rename(path.with_name(shards[0]))
    weight_map = {name: shards[i % 2] for i, name in enumerate(names)}
    index = path.with_name("diffusion_pytorch_model.safetensors.index.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def shard_elsewhere(model: Path) -> None:
    index = (model / UNET).with_name("diffusion_pytorch_model.safetensors.index.json")
    (model / UNET).unlink()
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": "../../secret.safetensors"}}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_index, "model_index.json"),
        (broken_index, "is not JSON"),
        (unknown_class, "StableVideoDiffusionPipeline"),
        (no_weights, "has no weights"),
        (no_config, "config.json"),
        (no_scheduler, "scheduler_config.json"),
        (cut_tensors, "was cut off"),
        (cut_header, "was cut off"),
        (empty_file, "was cut off"),
        (endless_header, "not a safetensors file"),
        (offsets(1, lambda begin: begin - 4), "overlaps"),
        (offsets(1, lambda begin: begin + 4), "gap"),
        (offsets(0, lambda begin: -begin - 4), "offsets"),
        (offsets(0, lambda begin: 1 << 40), "gap"),
        (missing_shard, "-00002-of-00002.safetensors does not exist"),
        (shard_elsewhere, "not a shard beside it"),
    ],
)
def test_unreadable_model_is_refused_before_anything_is_written(
    spoil: Callable[[Path], None],
    says: str,
    copy_of: Callable[[str], Path],
    place: Path,
    edgegen: Edgegen,
) -> None:
    model = copy_of("ddpm")
    spoil(model)
    before = contents(model)
    outcome = edgegen("package", model, "-t", "onnx", "-o", place / "out")
    outcome.assert_failed(9, says, str(model))
    assert contents(place) == {}
    assert contents(model) == before


def test_place_without_a_model_is_refused(place: Path, edgegen: Edgegen) -> None:
    out = place.parent / "out"
    nothing = edgegen("package", place, "-t", "onnx", "-o", out)
    nothing.assert_failed(9, "model_index.json")
    (place / "model.ckpt").write_bytes(b"PK")
    single = edgegen("package", place / "model.ckpt", "-t", "onnx", "-o", out)
    single.assert_failed(9, "It is a pickle")
    missing = edgegen("package", place / "gone" / "model", "-t", "onnx", "-o", out)
    missing.assert_failed(9, "There is no folder", "builtin:emoji")
    assert not out.exists()


def test_mark_is_left_by_a_pickle_that_is_loaded(tmp_path: Path) -> None:
    pickle.loads(pickled_mark(tmp_path, "control"))
    assert run_marks(tmp_path) == [tmp_path / "ran-control"]


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", Path(UNET).name])
@pytest.mark.parametrize("command", ["package", "inspect"])
def test_pickled_weights_are_refused_and_never_loaded(
    name: str,
    command: str,
    copy_of: Callable[[str], Path],
    place: Path,
    edgegen: Edgegen,
    tmp_path: Path,
) -> None:
    model = copy_of("ddpm")
    (model / UNET).unlink()
    (model / "unet" / name).write_bytes(pickled_mark(tmp_path, name))
    options = ["-t", "onnx", "-o", place / "out"] if command == "package" else []
    says = "pickled weights" if name.endswith(".bin") else "is not a safetensors file"
    edgegen(command, model, *options).assert_failed(9, says)
    assert run_marks(tmp_path) == []
    assert contents(place) == {}


def test_pickle_in_a_golden_case_is_refused_and_never_loaded(
    package: Path, edgegen: Edgegen, tmp_path: Path
) -> None:
    from edgegen.core.errors import IntegrityError
    from edgegen.core.manifest import load_manifest
    from edgegen.parity.gate import check_package

    path = next((package / "golden").glob("*.npy"))
    array = np.array([0], dtype=object)
    np.save(path, array, allow_pickle=True)
    pickled = pickle.dumps(array)
    path.write_bytes(path.read_bytes()[: -len(pickled)] + pickled_mark(tmp_path, "golden"))
    edgegen("verify", package).assert_failed(8, path.name)
    with pytest.raises(IntegrityError):  # even where the hashes were made to agree
        check_package(package, load_manifest(package))
    assert run_marks(tmp_path) == []


def change_tensor(path: Path, change: Callable[[Any], Any]) -> str:
    """Change the largest tensor of a file; return its name."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(path)
    name = max(tensors, key=lambda key: (tensors[key].dtype == np.float32, tensors[key].size))
    tensors[name] = change(tensors[name].copy())
    save_file(tensors, path)
    return name


def put(value: float) -> Callable[[Any], Any]:
    """Return a change of one element."""

    def change(array: Any) -> Any:
        array.reshape(-1)[-1] = value
        return array

    return change


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        pytest.param(put(float("nan")), 9, "(nan)", id="nan", marks=SLOW),
        pytest.param(put(float("-inf")), 9, "(-inf)", id="infinity", marks=SLOW),
        pytest.param(put(1e6), 4, 'storage = "float32"', id="too large for float16", marks=SLOW),
        pytest.param(
            lambda array: array[:-1], 9, "shape disagrees", id="another shape", marks=SLOW
        ),
    ],
)
def test_unusable_weight_is_named_and_nothing_is_left(
    change: Callable[[Any], Any],
    code: int,
    says: str,
    copy_of: Callable[[str], Path],
    place: Path,
) -> None:
    model = copy_of("sd15")
    name = change_tensor(model / TEXT_ENCODER, change)
    arguments = ["package", model, "-t", "onnx", "-r", "fp16-storage", "-o", place / "new/out"]
    with Command(arguments=arguments, folder=place.parent) as command:
        command.wait().assert_failed(code, says, f"'{name}'")
        command.assert_all_gone(within_s=0)
        assert list(command.scratch.iterdir()) == []
    assert contents(place) == {}
