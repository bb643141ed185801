"""GGUF files, as the package `gguf` writes them: quantized, and dequantized while they are read."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import EdgegenError, SourceError
from edgegen.core.reading import Reading
from edgegen.models.gguf import BLOCKS, PLAIN, GgufFile
from edgegen.models.open_weights import open_weights
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from tests.checkpoints.original import original_tensors, original_unet, read_folder
from tests.conftest import TinyPipeline

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")


def write_gguf(file: Path, tensors: dict[str, np.ndarray], kind: str | None = None) -> Path:
    """Write tensors as float32, and those whose rows are whole blocks in the type `kind`."""
    writer = gguf.GGUFWriter(file, "sd1")
    quantized = None if kind is None else gguf.GGMLQuantizationType[kind]
    for name, array in tensors.items():
        block = 1 if quantized is None else gguf.GGML_QUANT_SIZES[quantized][0]
        if quantized is None or array.ndim < 2 or array.shape[-1] % block:
            writer.add_tensor(name, array)
        else:
            data = gguf.quants.quantize(array, quantized)
            writer.add_tensor(name, data, raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def arrays_of(folder: Path, form: str) -> dict[str, np.ndarray]:
    tensors = original_tensors(folder, form)
    return {key: it.contiguous().numpy() for key, it in tensors.items() if it.is_floating_point()}


def test_the_sizes_of_blocks_are_those_of_ggml() -> None:
    for number, (name, each, size_bytes) in BLOCKS.items():
        kind = gguf.GGMLQuantizationType(number)
        assert kind.name == name
        assert gguf.GGML_QUANT_SIZES[kind] == (each, size_bytes)
    for number, (_, size_bytes) in PLAIN.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(number)] == (1, size_bytes)


@pytest.mark.parametrize("kind", [None, "F16", "BF16", "Q8_0", "Q4_0", "Q5_1"])
def test_weights_are_those_that_the_package_gguf_reads(
    kind: str | None, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sdxl")
    file = write_gguf(tmp_path / "model.gguf", arrays_of(folder, "xl"), kind)

    found = resolve(str(file), reading=Reading(config=str(folder)))

    spec = read_pipeline(found)
    assert spec.family == "stable-diffusion-xl"
    is_quantized = kind not in (None, "F16", "BF16")
    assert (spec.form or "").endswith(f"GGUF: {kind}" if is_quantized else "in one file")
    theirs = {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(
            tuple(map(int, reversed(tensor.shape)))
        )
        for tensor in gguf.GGUFReader(file).tensors
    }
    unet = open_weights(found.path / "unet")
    prefix = "model.diffusion_model."
    assert np.array_equal(
        unet.array("mid_block.attentions.0.proj_in.weight"),
        theirs[f"{prefix}middle_block.1.proj_in.weight"],
    )
    text = open_weights(found.path / "text_encoder_2")
    packed = theirs["conditioner.embedders.1.model.transformer.resblocks.1.attn.in_proj_weight"]
    for name, part in zip("qkv", np.split(packed, 3), strict=True):
        key = f"text_model.encoder.layers.1.self_attn.{name}_proj.weight"
        assert np.array_equal(text.array(key), part)
    projection = theirs["conditioner.embedders.1.model.text_projection"]
    assert np.array_equal(text.array("text_projection.weight"), projection.T)
    assert len(unet.entries) == len([key for key in theirs if key.startswith(prefix)])


def test_a_unet_alone_takes_the_rest_from_a_folder(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """As ComfyUI's files are: no prefix, and odd tensors as rows of 256 with their real shape."""
    folder = tiny_pipeline("sd15")
    tensors = original_unet(*read_folder(folder, "unet"), prefix="")
    writer = gguf.GGUFWriter(tmp_path / "unet.gguf", "sd1")
    for name, tensor in tensors.items():
        array = tensor.contiguous().numpy()
        if array.size % 256 == 0 and array.ndim == 4:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(array.shape))
            data = gguf.quants.quantize(array.reshape(-1, 256), gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    found = resolve(str(tmp_path / "unet.gguf"), reading=Reading(config=str(folder)))

    spec = read_pipeline(found)
    assert spec.components == read_pipeline(resolve(str(folder))).components
    weights = open_weights(found.path / "unet")
    for key, array in read_folder(folder, "unet")[1].items():
        entry = weights.entries[key]
        error = np.abs(weights.array(key) - array.numpy()).max()
        assert error <= (np.abs(array.numpy()).max() / 127 if entry.dtype == "Q8_0" else 0)


def test_a_file_without_a_text_encoder_asks_for_a_folder(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    tensors = original_unet(*read_folder(tiny_pipeline("sd15"), "unet"), prefix="")
    arrays = {key: it.contiguous().numpy() for key, it in tensors.items()}

    with pytest.raises(SourceError) as caught:
        resolve(str(write_gguf(tmp_path / "unet.gguf", arrays)))

    assert "--config FOLDER" in caught.value.hint


def test_a_header_that_is_cut_or_changed_ends_orderly(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    tensors = original_unet(*read_folder(tiny_pipeline("sd15"), "unet"), prefix="")
    arrays = {key: it.contiguous().numpy() for key, it in list(tensors.items())[:40]}
    whole = write_gguf(tmp_path / "whole.gguf", arrays).read_bytes()
    chance = random.Random(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        for _ in range(chance.randrange(1, 4)):
            if len(data) > 8:
                at = chance.randrange(min(len(data), 4000) - 7)
                value = chance.choice((0, 1, 9, 2**31, 2**63 + 5, chance.getrandbits(64)))
                data[at : at + 8] = struct.pack("<Q", value)
        file = tmp_path / "broken.gguf"
        file.write_bytes(bytes(data))
        try:
            opened = GgufFile.open(file)
        except EdgegenError:
            refused += 1
        else:
            assert all(it.offset + it.size_bytes <= len(data) for it in opened.entries.values())
    assert refused > 150
