"""Results on disk as pages, Markdown, CSV and tables, by `edgegen report`."""

import csv as csv_reader
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from edgegen_runner.png import encode_png

from edgegen.cli.main import run
from edgegen.core.choice import Choice
from edgegen.core.codec import decode, dump_json
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.kept_pictures import KeptPicture, KeptPictures
from edgegen.report import choice_files
from edgegen.report.picture_pairs import LARGEST_SIDE, PictureFolder, reduced, thumbnail
from edgegen.report.quality import format_metric
from edgegen.report.results import read_results
from edgegen.report.strips import Strip, strips
from tests.report.choices import choice, evaluation, write_pictures, write_result
from tests.report.page_reader import read
from tests.statistics.samples import measurement


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("choice")
    write_result(place, choice())
    return place


def told(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = run(["report", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_choice_is_shown_with_every_candidate(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = told(capsys, folder)
    assert code == 0
    assert "fits: smallest" in shown
    assert sum(", openvino" in line for line in shown.splitlines()) == 12


def test_a_choice_is_written_as_page_markdown_and_csv(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, markdown, csv = (tmp_path / name for name in ("p.html", "p.md", "p.csv"))
    words = (folder / "choice.json", "-o", page, "--markdown", markdown, "--csv", csv)
    code, shown, said = told(capsys, *words)
    assert (code, shown) == (0, "")
    assert said.count("Written: ") == 3
    checker = read(page.read_text(encoding="utf-8"))
    assert decode(Choice, json.loads(checker.scripts[0]), source="page") == choice()
    assert [tag for tag, _ in checker.tags].count("img") > 8  # of the winner's evaluation
    assert markdown.read_text(encoding="utf-8").startswith("# Choice for Raspberry Pi 5")
    assert len(csv.read_text(encoding="utf-8").splitlines()) == 37


def test_what_was_read_is_written_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(told(capsys, folder, "--json")[1])
    assert decode(Choice, shown, source="output") == choice()
    files = sorted((folder / "measurements").iterdir())
    several = json.loads(told(capsys, *files[:2], "--json")[1])
    assert len(several["measurements"]) == 2


def test_choose_writes_its_reports_beside_the_result(folder: Path) -> None:
    written = choice_files.write(folder)
    assert [path.name for path in written] == ["report.html", "report.md", "report.csv"]
    assert all(path.parent == folder and path.stat().st_size for path in written)


def test_files_that_are_gone_leave_their_parts_out_and_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "choice.json").write_text(dump_json(choice()), encoding="utf-8")
    result = choice_files.read(tmp_path)
    assert len(result.missing) > 10
    assert "Pictures of" not in result.page()
    _, _, said = told(capsys, tmp_path)
    assert f"lacks {len(result.missing)} files that the choice names: evaluations/" in said


def test_a_row_that_names_a_file_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    whole = choice()
    evil = replace(whole.rows[0], evaluation="../../secret.json")
    (tmp_path / "choice.json").write_text(dump_json(replace(whole, rows=(evil,))), encoding="utf-8")
    with pytest.raises(IntegrityError, match="leaves the folder"):
        read_results([tmp_path])


def test_evaluations_make_one_page_with_what_is_in_and_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = sorted((folder / "evaluations").iterdir())
    for places, title in (([first], "Quality of scenes"), ([first, second], "Quality of 2 packag")):
        code, _, _ = told(capsys, *places, "-o", tmp_path / "q.html", "--csv", tmp_path / "q.csv")
        assert code == 0
        text = read((tmp_path / "q.html").read_text(encoding="utf-8")).text
        assert any(part.startswith(title) for part in text)
        assert {"known", "stress", "1 black, 1 noise", "0.833"} <= set(text)
        rows = list(csv_reader.DictReader(io.StringIO((tmp_path / "q.csv").read_text())))
        assert len(rows) == 24 * len(places)
        assert {row["fault"] for row in rows} == {"", "noise", "black"}
        assert {row["right"] for row in rows} == {"yes", "no", ""}
    assert "stress" in told(capsys, first)[1]


def test_the_pictures_of_an_evaluation_lie_beside_it(tmp_path: Path) -> None:
    one = evaluation(choice().winners[0].way)
    (tmp_path / "evaluation.json").write_text(dump_json(one), encoding="utf-8")
    write_pictures(tmp_path / "pictures", one)
    text = read_results([tmp_path]).page()
    assert text.count("data:image/png;base64,") >= 14
    assert "the model itself" in text


def test_one_measurement_makes_the_page_of_bench_and_several_one_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = measurement(images=3)
    other = replace(usual, workload=replace(usual.workload, steps=4))
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, value in zip(files, (usual, other), strict=True):
        file.write_text(dump_json(value), encoding="utf-8")
    assert told(capsys, files[0], "-o", tmp_path / "one.html")[0] == 0
    assert "edgegen bench" in (tmp_path / "one.html").read_text(encoding="utf-8")
    assert told(capsys, *files, "-o", tmp_path / "two.html", "--csv", tmp_path / "two.csv")[0] == 0
    checker = read((tmp_path / "two.html").read_text(encoding="utf-8"))
    assert "They drew with another steps: 8, 4." in checker.text
    assert len(json.loads(checker.scripts[0])["measurements"]) == 2
    tips = [str(each.get("data-tip")) for _, each in checker.tags if "data-tip" in each]
    assert sum("restart" in tip for tip in tips) == 18
    rows = list(csv_reader.DictReader(io.StringIO((tmp_path / "two.csv").read_text())))
    assert [row["steps"] for row in rows] == ["8", "4"]
    assert "965 … 990 ms" in told(capsys, *files)[1]
    assert "Steady image" in told(capsys, files[0])[1]


def test_results_of_several_kinds_and_several_choices_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    bench = tmp_path / "bench.json"
    bench.write_text(dump_json(measurement(images=1)), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"choice\.json is a choice, .*bench\.json is a measur"):
        read_results([folder, bench])
    with pytest.raises(ConfigError, match="2 choices do not fit one report"):
        read_results([folder, folder])
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="is no choice, evaluation or measurement"):
        read_results([other])
    with pytest.raises(ConfigError, match="holds no result"):
        read_results([tmp_path])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("-o", "page.pdf"), "does not say what to write"),
        (("-o", "nowhere/page.html"), "its folder does not exist"),
        (("-o", "a.md", "--markdown", "a.md"), "named twice"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(
    words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = told(capsys, "not-here.json", *words)
    assert code == 2
    assert why in said


def test_large_pictures_are_made_smaller_by_means_of_areas(tmp_path: Path) -> None:
    import numpy as np

    pixels = np.zeros((300, 600, 3), np.uint8)
    pixels[:, ::2] = 200
    small = reduced(pixels, LARGEST_SIDE)
    assert small.shape == (128, 256, 3)
    assert abs(float(small.mean()) - 100) < 1
    assert reduced(pixels[:10, :10], LARGEST_SIDE).shape == (10, 10, 3)
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    png = thumbnail(tmp_path / "a.png")
    assert png is not None
    assert png.startswith(b"\x89PNG")
    assert thumbnail(tmp_path / "b.png") is None
    assert thumbnail(tmp_path / "missing.png") is None


def test_a_suite_of_any_name_has_its_pictures(tmp_path: Path) -> None:
    one = evaluation(choice().winners[0].way)
    own = replace(one, pictures=tuple(replace(it, suite="my suite/1") for it in one.pictures[:1]))
    png = encode_png(__import__("numpy").zeros((2, 2, 3), "uint8"))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.png").write_bytes(png)
    (tmp_path / "elsewhere.png").write_bytes(png)
    kept = KeptPicture(
        index=0, suite="my suite/1", number=0, reference="../elsewhere.png", package="0.png"
    )
    listed = KeptPictures(schema_version=1, pictures=(kept,))
    (tmp_path / "pictures" / "pictures.json").write_text(dump_json(listed), encoding="utf-8")
    pair = PictureFolder(tmp_path, own).pair(0)
    assert pair.package == png
    assert pair.reference is None
    other = replace(own, pictures=one.pictures[:1])
    assert PictureFolder(tmp_path, other).pair(0).package is None


def test_the_page_of_several_measurements_and_of_quality_load_nothing(tmp_path: Path) -> None:
    usual = measurement(images=3)
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(dump_json(usual), encoding="utf-8")
    text = read_results([tmp_path / "a.json", tmp_path / "b.json"]).page()
    text += read_results([_evaluation_in(tmp_path)]).page()
    shown = re.sub(r'"raw">.*?</script>|base64,[^"]*', "", text, flags=re.DOTALL)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", shown)


def _evaluation_in(folder: Path) -> Path:
    file = folder / "evaluation.json"
    file.write_text(dump_json(evaluation(choice().winners[0].way)), encoding="utf-8")
    return file


def test_differences_that_nobody_sees_look_small() -> None:
    values = ((0.0, "a"), (0.00001, "b"))
    chart = strips([Strip(label="x", values=values)], str, axis="FLIP", title="t", least_span=0.02)
    places = [float(it) for it in re.findall(r'cx="([\d.]+)"', chart)]
    assert abs(places[1] - places[0]) < 1
    assert "-0" not in chart
    assert format_metric("flip", 0.00001) == "< 0.001"
    assert format_metric("flip", 0.0) == "0"
