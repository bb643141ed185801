"""Peers get a model with the names that their transformers knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks.peer_models import for_peers


def test_text_encoders_have_older_names_and_the_rest_is_linked(tmp_path: Path) -> None:
    model = tmp_path / "model"
    for name in ("text_encoder", "text_encoder_2", "unet"):
        (model / name).mkdir(parents=True)
        (model / name / "config.json").write_text("{}")
    (model / "model_index.json").write_text("{}")
    weight = np.arange(6, dtype=np.float16).reshape(2, 3)
    tensors = {"embeddings.weight": weight, "text_projection.weight": weight + 1}
    newer, older = (model / name / "model.safetensors" for name in ("text_encoder", "unet"))
    save_file(tensors, newer, metadata={"format": "pt"})
    save_file({"text_model.embeddings.weight": weight}, model / "text_encoder_2" / newer.name)
    save_file(tensors, older)

    laid = for_peers(model, tmp_path / "peers")
    assert for_peers(model, laid) == laid
    read = load_file(laid / "text_encoder" / newer.name)
    assert read.keys() == {"text_model.embeddings.weight", "text_projection.weight"}
    assert np.array_equal(read["text_model.embeddings.weight"], weight)
    again = load_file(laid / "text_encoder_2" / newer.name)
    assert again.keys() == {"text_model.embeddings.weight"}
    assert (laid / "unet" / newer.name).resolve() == older
    assert (laid / "model_index.json").is_symlink()
