"""`edgegen run`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgegen_runner.request import SYNTAXES

from edgegen.cli.main import run as edgegen
from edgegen.core.codec import encode
from edgegen.core.model import Generation
from edgegen.families import facts_of
from tests.tiny_packages import change_manifest, onnx_package


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("tiny") / "package")


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_image_is_named_by_prompt_and_seed_and_never_overwrites_another(
    package: Path, work_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(package), "--prompt", "A Cat, on (the) roof!", "--seed", "7"]
    assert edgegen(arguments) == 0
    assert edgegen(arguments) == 0
    names = sorted(path.name for path in work_folder.glob("*.png"))
    assert names == ["a-cat-on-the-roof-7-2.png", "a-cat-on-the-roof-7.png"]
    output = capsys.readouterr()
    assert "a-cat-on-the-roof-7.png" in output.out
    assert "image 1" in output.err


def test_named_file_and_count_give_one_file_a_seed(package: Path, work_folder: Path) -> None:
    assert edgegen(["run", str(package), "--prompt", "x", "-o", "out/cat.png"]) == 0
    assert edgegen(["run", str(package), "--prompt", "x", "-o", "out/cat.png", "--count", "2"]) == 0
    names = sorted(path.name for path in (work_folder / "out").iterdir())
    assert names == ["cat-0.png", "cat-1.png", "cat.png"]
    assert (work_folder / "out/cat.png").read_bytes() == (
        work_folder / "out/cat-0.png"
    ).read_bytes()


def test_png_says_how_it_was_made(package: Path, work_folder: Path) -> None:
    from PIL import Image

    arguments = ["run", str(package), "--prompt", "größe 🐱", "--steps", "2", "-o", "cat.png"]
    assert edgegen([*arguments, "--scheduler", "euler", "--guidance", "2"]) == 0
    picture = Image.open(work_folder / "cat.png")
    picture.load()
    assert picture.info["prompt"] == "größe 🐱"
    assert picture.info["seed"] == "0"
    assert picture.info["steps"] == "2"
    assert picture.info["scheduler"] == "euler"
    assert picture.info["guidance"] == "2"


def test_json_lists_the_images(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgegen(["run", str(package), "--prompt", "x", "--count", "2", "--json"]) == 0
    images = json.loads(capsys.readouterr().out)["images"]
    assert [image["seed"] for image in images] == [0, 1]
    assert all(Path(image["path"]).is_file() for image in images)
    assert all(image["latency_s"] > 0 for image in images)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "--prompt"),
        (["--prompt", "x", "-o", "two.jpg"], 2, "-o two.png"),
        (["--prompt", "x", "-o", "out/two.WebP"], 2, "-o out/two.png"),
        (["--prompt", "x", "-o", "-"], 2, "-o FILE.png"),
        (["--prompt", "x", "--count", "100000"], 2, "--count"),
        (["--prompt", "x", "--image", "/dev/zero"], 2, "a device"),
        (["--prompt", "x", "--image", __file__], 2, "not a picture"),
        (["--prompt", "x", "--scheduler", "dpmsolver"], 2, "Did you mean 'dpmsolver++'"),
        (["--prompt", "x", "--width", "31"], 2, "multiples of 2"),
        (["--prompt", "x", "--image", "none.png"], 2, "none.png"),
        (["--prompt", "x", "--provider", "CUDAExecutionProvider"], 6, "CUDAExecutionProvider"),
        (["--prompt", "x", "--steps", "0"], 2, "steps"),
    ],
)
def test_impossible_wishes_end_with_a_hint_and_leave_nothing(
    package: Path,
    work_folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    assert edgegen(["run", str(package), *arguments]) == code
    assert says in capsys.readouterr().err
    assert list(work_folder.iterdir()) == []


def test_model_without_text_refuses_a_prompt(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    folder = tmp_path / "unconditional"
    shutil.copytree(package, folder)
    facts = facts_of("unconditional", Generation(width=8, height=8, latent_channels=3))
    change_manifest(folder, family="unconditional", facts=encode(facts))
    assert edgegen(["run", str(folder), "--prompt", "x"]) == 2
    assert "Leave --prompt out" in capsys.readouterr().err


def test_folder_that_is_no_package_and_manifest_with_an_unknown_key(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    assert edgegen(["run", str(tmp_path), "--prompt", "x"]) == 2
    assert "edgegen.json is missing" in capsys.readouterr().err
    folder = tmp_path / "changed"
    shutil.copytree(package, folder)
    change_manifest(folder, famly="x")
    assert edgegen(["run", str(folder), "--prompt", "x"]) == 2
    assert "Did you mean 'family'" in capsys.readouterr().err


def test_prompt_that_is_cut_is_shown(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgegen(["run", str(package), "--prompt", "the " * 80 + "singing"]) == 0
    assert "singing" in capsys.readouterr().err


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_prompt_is_read_in_every_syntax(syntax: str, package: Path, work_folder: Path) -> None:
    arguments = ["--prompt", "x", "--prompt-syntax", syntax, "-o", f"{syntax}.png"]
    assert edgegen(["run", str(package), *arguments]) == 0
    assert (work_folder / f"{syntax}.png").is_file()


@pytest.mark.parametrize(
    ("syntax", "prompt"), [("a1111", "a [cat|dog]"), ("compel", "a cat.swap(dog)")]
)
def test_what_a_syntax_lacks_is_refused_with_its_name(
    syntax: str, prompt: str, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgegen(["run", str(package), "--prompt", prompt, "--prompt-syntax", syntax]) == 2
    said = capsys.readouterr().err
    assert "not supported" in said
    assert "--prompt-syntax plain" in said


def test_an_empty_prompt_draws(package: Path, work_folder: Path) -> None:
    assert edgegen(["run", str(package), "--prompt", ""]) == 0
    assert [path.name for path in work_folder.glob("*.png")] == ["image-0.png"]


def test_a_file_that_is_replaced_is_told(
    package: Path, work_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(package), "--prompt", "x", "-o", "cat.png"]
    assert edgegen(arguments) == 0
    assert "replaced" not in capsys.readouterr().err
    assert edgegen(arguments) == 0
    assert "cat.png was there before, and is replaced" in capsys.readouterr().err
    assert edgegen([*arguments, "--count", "2"]) == 0
    assert "replaced" not in capsys.readouterr().err
    assert edgegen([*arguments, "--count", "2"]) == 0
    assert "cat-0.png and 1 more was there before" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--image", "--mask"])
def test_a_picture_is_not_replaced_by_what_is_drawn_from_it(
    package: Path, work_folder: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (work_folder / "cat.png").write_bytes(b"picture")
    (work_folder / "link.png").symlink_to("cat.png")
    for name in ("cat.png", "link.png"):
        arguments = ["run", str(package), "--prompt", "x", option, "cat.png", "-o", name]
        assert edgegen(arguments) == 2
        assert "which it is drawn from" in capsys.readouterr().err
    assert (work_folder / "cat.png").read_bytes() == b"picture"


def test_a_file_that_is_no_png_is_not_taken_for_a_folder(
    package: Path, work_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work_folder / "notes").write_text("mine")
    assert edgegen(["run", str(package), "--prompt", "x", "-o", "notes"]) == 2
    assert "neither a PNG file nor a folder" in capsys.readouterr().err
    assert (work_folder / "notes").read_text() == "mine"
    assert edgegen(["run", str(package), "--prompt", "x", "-o", "my.images"]) == 0
    assert (work_folder / "my.images" / "x-0.png").is_file()
