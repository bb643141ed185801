"""Built-in models that share files: whole folders, made in the cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgegen.builtin import folder as module
from edgegen.builtin.folder import builtin_folder
from edgegen.builtin.models import BUILTIN_MODELS, BuiltinModel
from edgegen.core.errors import ResourceError

FILES = {
    "whole/index": "1",
    "whole/card": "whole",
    "whole/unet/weights": "large",
    "whole/unet/config": "large",
    "whole/vae/weights": "v",
    "quick/card": "quick",
    "quick/unet/weights": "quick",
    "tiny/vae/weights": "t",
}
QUICK = {"index": "1", "card": "quick", "unet/weights": "quick", "vae/weights": "v"}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three models, of which the second shares with the first, and the third with the second."""
    folder = tmp_path / "shipped"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    models = {
        f"builtin:{name}": BuiltinModel(
            steps=4, guidance=1.0, prompt="", calibration_prompts=(), shares=shares
        )
        for name, shares in (
            ("whole", None),
            ("quick", "builtin:whole"),
            ("tiny", "builtin:quick"),
        )
    }
    monkeypatch.setattr(module, "SHIPPED", folder)
    monkeypatch.setattr(module, "BUILTIN_MODELS", models)
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def read(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def like(path: Path, place: Path) -> Path:
    """Write a file of other bytes, but of the size and the time of another; return its path."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("?" * len(path.read_text()))
    shutil.copystat(path, place)
    return place


def test_a_model_that_shares_nothing_is_where_it_ships(shipped: Path) -> None:
    assert builtin_folder("whole") == shipped / "whole"


def test_a_folder_of_its_own_comes_before_the_shared_one_as_a_whole(shipped: Path) -> None:
    assert read(builtin_folder("quick")) == QUICK
    assert read(builtin_folder("tiny")) == QUICK | {"vae/weights": "t"}


def test_the_folder_is_made_once(shipped: Path) -> None:
    first = builtin_folder("tiny").stat().st_ino
    assert builtin_folder("tiny").stat().st_ino == first


@pytest.mark.parametrize("change", ["changed", "more", "fewer", "damaged", "led astray"])
def test_the_folder_is_made_again_when_edgegen_changed(
    shipped: Path, tmp_path: Path, change: str
) -> None:
    expected = QUICK | {"vae/weights": "t"}
    folder = builtin_folder("tiny")
    if change == "changed":  # the installer replaces the file
        (shipped / "tiny" / "vae" / "weights").unlink()
        (shipped / "tiny" / "vae" / "weights").write_text("new")
        expected["vae/weights"] = "new"
    elif change == "more":
        (shipped / "whole" / "scheduler").mkdir()
        (shipped / "whole" / "scheduler" / "config").write_text("s")
        expected["scheduler/config"] = "s"
    elif change == "fewer":
        (shipped / "whole" / "index").unlink()
        del expected["index"]
    elif change == "damaged":
        (folder / "unet" / "weights").unlink()
    else:  # a file that differs in nothing but its bytes
        (folder / "unet" / "weights").unlink()
        (folder / "unet" / "weights").symlink_to(
            like(shipped / "quick" / "unet" / "weights", tmp_path / "weights")
        )

    assert builtin_folder("tiny") == folder
    assert read(folder) == expected


def test_an_installation_that_moved_gets_a_folder_of_its_own(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = builtin_folder("tiny")
    moved = shipped.rename(shipped.with_name("elsewhere"))
    monkeypatch.setattr(module, "SHIPPED", moved)
    assert builtin_folder("tiny") != before
    assert read(builtin_folder("tiny")) == QUICK | {"vae/weights": "t"}


def test_an_old_installation_of_equal_sizes_and_times_keeps_its_folder_and_the_new_has_its_own(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"
    for name in FILES:
        like(shipped / name, new / name)
    expected = {shipped: QUICK | {"vae/weights": "t"}}
    expected[new] = {name: "?" * len(text) for name, text in expected[shipped].items()}
    made = set()
    for installation in (shipped, new) * 2:
        monkeypatch.setattr(module, "SHIPPED", installation)
        folder = builtin_folder("tiny")
        assert read(folder) == expected[installation]
        made.add((folder, folder.stat().st_ino, folder.stat().st_ctime_ns))
    assert len(made) == 2, "neither is made again for the other"


def test_an_installation_that_is_reached_by_two_paths_has_one_folder(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = builtin_folder("tiny")
    inode = folder.stat().st_ino
    (tmp_path / "link").symlink_to(shipped)
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "link")
    assert builtin_folder("tiny") == folder
    assert folder.stat().st_ino == inode


def test_a_disk_without_links_gets_copies(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = builtin_folder("quick")
    assert read(folder) == QUICK
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    inode = folder.stat().st_ino
    assert builtin_folder("quick").stat().st_ino == inode, "copies are taken for current, too"


def test_a_cache_that_cannot_be_written_is_named_with_its_setting(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(ResourceError) as caught:
        builtin_folder("quick")
    assert "EDGEGEN_CACHE_DIR" in str(caught.value.hint)


def test_every_model_is_whole() -> None:
    for name in BUILTIN_MODELS:
        folder = builtin_folder(name.removeprefix("builtin:"))
        assert (folder / "model_index.json").is_file()
        for component in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
            assert (folder / component).is_dir(), component
