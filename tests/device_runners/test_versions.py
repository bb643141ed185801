"""Versions where the file system, or its policy, has no hard links: Android's."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from edgegen_runner.agent import pruning, records, versions
from edgegen_runner.agent.paths import Folders

CONTENTS = {"a/model": b"one", "b/model": b"two", "shared": b"both"}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    def link(*_: object, **__: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", link)
    found = Folders(tmp_path / "home")
    found.blobs.mkdir(parents=True)
    return found


def put(folders: Folders, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    folders.blob(sha256).write_bytes(data)
    return sha256


def deploy(folders: Folders, version: str, *paths: str) -> dict[str, Any]:
    files = [[path, put(folders, CONTENTS[path])] for path in paths]
    request = {"name": "cats", "version": version, "files": files}
    versions.link(folders, request)
    versions.switch(folders, request)
    return request


def read_current(folders: Folders) -> dict[str, bytes]:
    current = folders.package("cats") / "current"
    return {str(p.relative_to(current)): p.read_bytes() for p in current.rglob("*") if p.is_file()}


def test_a_version_of_symbolic_links_counts_as_whole_while_its_blobs_are_there(
    folders: Folders,
) -> None:
    deploy(folders, "one", "a/model", "shared")
    deploy(folders, "two", "b/model", "shared")
    folder = folders.version("cats", "one")
    assert (folder / "shared").is_symlink()
    assert records.is_whole(folder)
    versions.rollback(folders, {"name": "cats"})
    assert read_current(folders) == {"a/model": b"one", "shared": b"both"}
    folders.blob(hashlib.sha256(b"two").hexdigest()).unlink()
    assert not records.is_whole(folders.version("cats", "two"))


def test_prune_keeps_the_blobs_of_what_is_current_though_it_was_damaged(folders: Folders) -> None:
    deploy(folders, "one", "a/model", "shared")
    request = deploy(folders, "two", "b/model", "shared")
    folders.blob(hashlib.sha256(b"both").hexdigest()).write_bytes(b"bad!")
    assert versions.verify(folders, request) == {"bad": 1}
    (found,) = versions.status(folders)
    assert [each["whole"] for each in found["versions"]] == [False, False]
    pruning.prune(folders, {"keep": 1, "runner": ""})
    assert read_current(folders) == {"b/model": b"two"}
    put(folders, b"both")
    versions.link(folders, request)
    assert read_current(folders) == {"b/model": b"two", "shared": b"both"}
    assert records.is_whole(folders.version("cats", "two"))


def test_a_record_that_is_broken_costs_no_blob_that_is_linked(folders: Folders) -> None:
    request = deploy(folders, "one", "a/model", "shared")
    (record,) = folders.package("cats").glob("versions/*.json")
    record.write_bytes(b"\xff{")
    assert not records.is_whole(folders.version("cats", "one"))
    pruning.prune(folders, {"keep": 0, "runner": ""})
    assert read_current(folders) == {"a/model": b"one", "shared": b"both"}
    versions.link(folders, request)
    assert records.is_whole(folders.version("cats", "one"))


def test_a_record_of_an_older_edgegen_has_no_sizes_and_still_counts(folders: Folders) -> None:
    deploy(folders, "one", "a/model")
    deploy(folders, "two", "b/model")
    (folder,) = folders.package("cats").glob("versions/one")
    record = folder.with_name("one.edgegen-files.json")
    record.write_text('{"files": ["' + hashlib.sha256(b"one").hexdigest() + '"]}')
    assert versions.rollback(folders, {"name": "cats"})["version"] == "one"


def test_a_path_may_not_lead_out_of_a_version(folders: Folders) -> None:
    for path in ("../x", "/etc/x", "a/../../x", ""):
        with pytest.raises(Exception, match="no relative path"):
            versions.link(folders, {"name": "cats", "version": "1", "files": [[path, "0" * 64]]})
