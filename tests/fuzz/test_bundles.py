"""Bundles of anybody: tar files and bundle.json of any content."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.progress import SilentStep
from edgegen.runner.bundle.archive import Contents, Part, content_id, write_archive
from edgegen.runner.bundle.build import read_bundle
from tests.fuzz.harness import case, fuzzing
from tests.fuzz.played import spoiled_line

SIZES = st.sampled_from([0, 1, 511, 512, 513, 5000])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A bundle as `edgegen runner build` writes it, but small."""
    from edgegen.core.codec import dump_json

    root = tmp_path_factory.mktemp("bundle") / "root"
    (root / "lib").mkdir(parents=True)
    (root / "python").write_text("#!/bin/sh\n")
    (root / "python").chmod(0o755)
    (root / "lib" / "libc.so.6").write_bytes(b"\x7fELF" * 200)
    part = Part(name="p", version="1", licence="MIT", sha256="0" * 64, size_bytes=1, source="x")
    contents = Contents(
        schema_version=1,
        id=content_id(root),
        platform="android-arm64",
        runtime="onnxruntime",
        python="3.11",
        compiled_by="3.11.2",
        parts=(part,),
    )
    (root / "bundle.json").write_text(dump_json(contents))
    path = root.with_name("bundle.tar")
    write_archive(root, contents.folder, path, SilentStep())
    data = path.read_bytes()
    assert read_bundle(path).id == contents.id
    return data


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles") / "bundle.tar"


def fields(whole: bytes) -> Any:
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        member = tar.getmembers()[1]
        file = tar.extractfile(member)
        assert file is not None
        return json.loads(file.read())


@fuzzing()
@given(data=st.data())
def test_bytes_that_changed_end_orderly(data: st.DataObject, whole: bytes, place: Path) -> None:
    spoiled = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 6))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    place.write_bytes(spoiled[: data.draw(st.integers(0, len(spoiled)) | st.just(len(spoiled)))])
    with case("bundle: bytes"):
        bundle = read_bundle(place)
        assert bundle.id == fields(whole)["id"], "other files than those of its id"


@fuzzing()
@given(data=st.data())
def test_a_bundle_may_say_anything_of_itself(
    data: st.DataObject, whole: bytes, place: Path
) -> None:
    says = data.draw(spoiled_line(fields(whole)))
    with tarfile.open(place, "w", format=tarfile.USTAR_FORMAT) as tar:
        folder = f"android-arm64-{fields(whole)['id'][:12]}"
        top = tarfile.TarInfo(folder)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        entry = tarfile.TarInfo(f"{folder}/bundle.json")
        entry.size = len(says)
        tar.addfile(entry, io.BytesIO(says))
    with case("bundle: bundle.json"):
        read_bundle(place)


NAMES = st.sampled_from(
    ["../x", "/etc/x", "a/../../x", "a//b", "./a", "a\\b", "é", "a\nb", "x" * 90, "$(reboot)", ""]
) | st.text(max_size=10)


@fuzzing()
@given(
    names=st.lists(NAMES, max_size=6),
    kinds=st.lists(st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6", b"L", b"x", b"\0", b"S"])),
    mode=st.sampled_from([0o644, 0o755, 0o4755, 0o777, 0]),
    size=SIZES,
    how=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_an_archive_may_hold_anything(
    names: list[str], kinds: list[bytes], mode: int, size: int, how: int, whole: bytes, place: Path
) -> None:
    folder = f"android-arm64-{fields(whole)['id'][:12]}"
    others = [(f"{folder}/{name}", kind) for name, kind in zip(names, kinds, strict=False)]
    with tarfile.open(place, "w", format=how, errors="surrogateescape") as tar:
        first = json.dumps(fields(whole)).encode()
        for name, data, kind in (
            (folder, b"", b"5"),
            (f"{folder}/bundle.json", first, b"0"),
            *((name, b"x" * size, kind) for name, kind in others),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.linkname = kind, mode, "/etc/passwd"
            entry.size = len(data) if kind in (b"0", b"\0", b"S") else 0
            try:
                tar.addfile(entry, io.BytesIO(data))
            except (ValueError, UnicodeEncodeError):
                continue  # a name that this form cannot hold
    with case("bundle: tar"):
        read_bundle(place)
