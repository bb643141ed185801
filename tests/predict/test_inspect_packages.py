"""`edgegen inspect` says what packages would take of a device."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgegen.cli.main import run
from edgegen.devices.profiles import load_profile
from edgegen.models.source import resolve
from edgegen.packaging.model_facts import read_facts
from edgegen.packaging.wanted import Wanted
from edgegen.predict.survey import survey
from tests.conftest import TinyPipeline


@pytest.mark.slow
def test_inspect_says_what_packages_take_and_break_of_a_device_and_traces_only_once(
    tiny_pipeline: TinyPipeline,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edgegen.exporters import traces

    model = str(tiny_pipeline("sd15"))
    arguments = ["inspect", model, "-p", "ipad-pro-m4", "-t", "onnx:fp16-storage", "-t", "coreml"]
    assert run([*arguments, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["packages"]
    assert [(it["target"], it["recipe"]) for it in first][:2] == [
        ("onnx", "fp16-storage"),
        ("coreml", "fp32"),
    ]
    onnx, coreml, refused = first[0], first[1], [it for it in first if "refused" in it]
    assert onnx["fits"] == "unknown"
    assert onnx["memory"]["all"]["peak_bytes"] > onnx["memory"]["sequential"]["peak_bytes"]
    assert "vae_encoder" not in onnx["memory"]["all"]["components"]
    assert onnx["memory"]["all"]["unmeasured"]  # the iPad computes with Core ML
    assert coreml["memory"]["all"]["unmeasured"]
    assert "int4" in {it["recipe"] for it in refused}  # it takes a later system

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("traced again")

    monkeypatch.setattr(traces, "call", refuse)
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    for words in ("onnx fp16-storage", "one at a time", "largest buffer", "no measurement"):
        assert words in shown

    small = replace(
        load_profile("ipad-pro-m4"), application_memory_bytes=10_000_000, largest_buffer_bytes=1
    )
    facts = read_facts(resolve(model))
    (outlook,) = survey(facts, [Wanted("onnx", "fp16-storage")], profile=small)
    assert outlook.fits == "unknown"  # ONNX Runtime with Core ML, which nobody measured
    small = replace(small, application_memory_bytes=1_000_000)
    (outlook,) = survey(facts, [Wanted("onnx", "fp16-storage")], profile=small)
    assert outlook.fits == "no"
    assert [it.startswith(("memory ", "largest buffer ")) for it in outlook.doubts] == [True, True]


def test_a_size_without_a_package_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "builtin:emoji", "--width", "128"]) == 2
    assert "--profile" in capsys.readouterr().err
