"""A history travels as a file: what comes back is the same, and nothing else comes in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.codec import dump_json
from edgegen.core.errors import ConfigError
from edgegen.history.exchange import Imported, export, import_file
from edgegen.history.keep import keep
from edgegen.history.record import Query
from edgegen.history.store import History
from tests.history.results import evaluation
from tests.statistics.samples import measurement, sustained

USUAL = measurement()


def test_what_was_exported_is_imported_once_and_says_where_it_is_from(tmp_path: Path) -> None:
    file = tmp_path / "theirs.jsonl"
    with History.open(tmp_path / "theirs.sqlite", write=True) as theirs:
        theirs.add_all([USUAL, sustained()])
        assert export(theirs, Query(), file).measurements == 2
        one = export(theirs, Query(device="raspberry"), tmp_path / "one.jsonl")
        assert (one.measurements, one.evaluations) == (1, 0)
    with History.open(tmp_path / "mine.sqlite", write=True) as mine:
        mine.add(USUAL)
        assert import_file(mine, file) == Imported(file=str(file), added=1, known=1)
        assert import_file(mine, file) == Imported(file=str(file), added=0, known=2)
        sources = {each.device_title: each.source for each in mine.find(Query())}
        assert sources == {
            "Example Processor 9000": None,
            "Raspberry Pi 5 Model B Rev 1.0": "theirs.jsonl",
        }
        (pi,) = mine.find(Query(device="raspberry"))
        assert mine.measurement(pi) == sustained()


def test_what_was_drawn_with_given_loras_stays_out_whichever_way_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path))
    given = replace(USUAL, workload=replace(USUAL.workload, loras=("style.safetensors:0.8",)))
    files = [tmp_path / "bench.json", tmp_path / "evaluation.json"]
    judged = replace(evaluation(), loras=("style.safetensors:0.8",))
    files[0].write_text(dump_json(given))
    files[1].write_text(dump_json(judged))
    assert keep(given, judged) is None
    with History.open(write=True) as mine:
        for file in files:
            done = import_file(mine, file)
            assert done == Imported(file=str(file), added=0, known=0, left_out=1)
        assert not mine.add(given)
        assert mine.find(Query()) == mine.find_evaluations(Query()) == ()


def test_a_result_of_bench_or_evaluate_is_imported_as_it_is(tmp_path: Path) -> None:
    bench, quality = tmp_path / "bench.json", tmp_path / "evaluation.json"
    bench.write_text(dump_json(USUAL))
    quality.write_text(json.dumps(json.loads(dump_json(evaluation()))))
    with History.open(tmp_path / "mine.sqlite", write=True) as mine:
        assert import_file(mine, bench).added == 1
        assert import_file(mine, quality).added == 1
        assert not mine.add_evaluation(evaluation())
        assert mine.add_evaluation(evaluation(manifest="02"))
        (record,) = mine.find_evaluations(Query(manifest_sha256="01" * 32))
        assert mine.evaluation(record) == evaluation()
        assert (record.source, record.suites) == ("evaluation.json", evaluation().suites)
        assert len(mine.find_evaluations(Query(target="onnx", recipe="fp16-storage"))) == 2
        for other in (Query(recipe="fp32"), Query(device="raspberry"), Query(threads=1)):
            assert mine.find_evaluations(other) == ()
        assert mine.add_evaluation(replace(evaluation(), arithmetic="bfloat16"))
        (rounded,) = mine.find_evaluations(Query(arithmetic="bfloat16"))
        assert (rounded.arithmetic, record.arithmetic) == ("bfloat16", None)
        assert len(mine.find_evaluations(Query(arithmetic="own"))) == 2
        written = export(mine, Query(model="scenes"), tmp_path / "all.jsonl")
        assert (written.measurements, written.evaluations) == (0, 3)
    with History.open(tmp_path / "others.sqlite", write=True) as others:
        assert import_file(others, tmp_path / "all.jsonl").added == 3


def _line(**changed: object) -> str:
    return json.dumps({"schema_version": 1, "kind": "measurement", **changed})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a text", "not JSON"),
        ("[1, 2]", "not an object"),
        ("{}", "missing"),
        (dump_json(USUAL).replace('"steps": 8', '"steps": "8"'), "workload.steps"),
        (dump_json(USUAL).replace('"schema_version": 1', '"schema_version": 2'), "schema_version"),
        (_line(content_sha256="00" * 32, value=json.loads(dump_json(USUAL))), "not what was exp"),
        (_line(content_sha256="00" * 32, value={}), "missing"),
        (_line(content_sha256="00" * 32, value={}, more=1), "more"),
        (_line(kind="poem", content_sha256="00" * 32, value={}), "kind"),
        (dump_json(USUAL).replace("2026-01-02T03", "the day"), "not a moment"),
        (b"\xff\xfe", "UTF-8"),
        (b"{" + b" " * 3000 + b"}", "a value of over"),
        (b"{\n" + b" \n" * 1500 + b"}", "a value of over"),
    ],
    ids=range(15),
)
def test_what_is_no_result_is_refused(
    tmp_path: Path, content: str | bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said == "a value of over":
        monkeypatch.setattr("edgegen.history.exchange.MAXIMUM_JSON_BYTES", 2000)
    file = tmp_path / "theirs.jsonl"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with History.open(tmp_path / "mine.sqlite", write=True) as mine:
        with pytest.raises(ConfigError, match=said):
            import_file(mine, file)
        assert mine.find(Query()) == ()


def test_a_bad_line_keeps_out_the_good_ones_and_is_named(tmp_path: Path) -> None:
    file = tmp_path / "theirs.jsonl"
    with History.open(tmp_path / "theirs.sqlite", write=True) as theirs:
        theirs.add_all([USUAL, replace(USUAL, quick=True)])
        export(theirs, Query(), file)
    first, second = file.read_text().splitlines(keepends=True)
    file.write_text(first + "\n" + second.replace("lighthouse", "greenhouse"))
    with History.open(tmp_path / "mine.sqlite", write=True) as mine:
        with pytest.raises(ConfigError, match="line 3"):
            import_file(mine, file)
        assert mine.find(Query()) == ()
