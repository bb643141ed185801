"""A remembered trace is only that of the libraries and modules which made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.model import Component
from edgegen.exporters import traces


def test_another_version_of_a_toolkit_or_of_a_module_is_another_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = Component(
        name="unet",
        role="denoiser",
        folder="unet",
        class_name="UNet2DConditionModel",
        parameters=1,
        inputs=(),
        outputs=(),
    )
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    made_by = dict(traces._made_by())
    assert {"torch", "diffusers", "transformers", "exporters/capture.py"} <= set(made_by)
    assert any(it.startswith("networks/") for it in made_by)
    places = {traces._place(component, tmp_path)}
    for changed in ("torch", "transformers", "exporters/trace_child.py"):
        monkeypatch.setattr(traces, "_made_by", lambda it=changed: {**made_by, it: "another"})
        places.add(traces._place(component, tmp_path))
    assert len(places) == 4
