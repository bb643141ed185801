"""A device whose agent answers anything: facts, lists of its store, sizes, paths, pictures."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.cli import deploy as deploy_commands
from edgegen.cli import devices as devices_commands
from edgegen.cli.console import Console
from edgegen.core.progress import SilentProgress
from edgegen.devices import store
from edgegen.devices.device import Device
from edgegen.devices.discovery import _listing
from edgegen.measure.cooling import wait_until_cool
from edgegen.runner.provision import why_not
from edgegen.runner.received import Announced, fetch_picture
from tests.fuzz.harness import case, fuzzing
from tests.fuzz.played import HOME, PlayedTransport, device, done, facts, line, spoiled_line

SHA = hashlib.sha256(b"data").hexdigest()
STORE = done(
    packages=[
        {
            "name": "cats",
            "current": "ab12",
            "path": f"{HOME}/packages/cats/current",
            "versions": [
                {
                    "version": "ab12",
                    "size_bytes": 1000,
                    "whole": True,
                    "at": "2026-11-29T08:00:00+00:00",
                    "by": "pi@host",
                    "rolled_back_at": None,
                }
            ],
        }
    ]
)
PRUNED = done(versions=[["cats", "ab12"]], others=["runtimes/x"], blobs=3, freed_bytes=1000)


def console() -> Console:
    return Console(quiet=True, output=io.StringIO(), errors=io.StringIO())


@fuzzing()
@given(data=st.data())
def test_facts_of_any_kind_end_orderly(data: st.DataObject) -> None:
    answer = data.draw(spoiled_line(facts()))
    with case("device: facts"), device([answer]) as there:
        listing = _listing(there.address, there.look_again(tried=True), why_not)
        devices_commands._show_one(console(), listing)
        there.start_runner()
        there.start_watched(["/bin/true"])


@fuzzing()
@given(answer=spoiled_line(STORE))
def test_a_store_of_any_kind_ends_orderly(answer: bytes) -> None:
    with case("device: store"), device([answer]) as there:
        packages = store.status(there)
        rows = [row for package in packages for row in deploy_commands._rows(package)]
        console().table("Packages", ("", "", "", "", "", ""), rows)
        console().json({"packages": packages})


@fuzzing()
@given(answer=spoiled_line(PRUNED))
def test_what_was_pruned_may_be_anything(answer: bytes) -> None:
    with case("device: pruned"), device([answer]) as there:
        console().json({"done": store.prune(there, keep=1)})


def push(there: Device, folder: Path) -> None:
    source = folder / "data"
    source.write_bytes(b"data")
    file = store.File(path="data", source=source, sha256=SHA, size_bytes=4)
    store.send_blobs(there, [file], SilentProgress())


ANSWERS: list[tuple[str, list[dict[str, Any]], Callable[[Device, Path], object]]] = [
    ("missing", [done(blobs=[[SHA, 0]])], push),
    ("rollback", [done(before="ab", version="cd")], lambda there, _: store.rollback(there, "x")),
    ("lock", [done()], lambda there, _: there.agent.lock("test")),
    ("state", [done()], lambda there, _: there.state()),
    (
        "temperature",
        [done(sensor="x", temperature_c=40.0, at_s=1.0)],
        lambda there, _: wait_until_cool(there, SilentProgress(), wanted_c=50.0, longest_s=0.0),
    ),
    ("error", [{"event": "error", "kind": "full", "message": "x"}], lambda there, _: there.state()),
]


@fuzzing()
@given(data=st.data(), answer=st.sampled_from(ANSWERS))
def test_answers_of_any_kind_end_orderly(
    data: st.DataObject,
    answer: tuple[str, list[dict[str, Any]], Callable[[Device, Path], object]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    name, lines, job = answer
    answers = [data.draw(spoiled_line(each)) for each in lines]
    more = [line(facts()), line({"event": "ready"}), line(done())]
    with case(f"device: {name}"), device([*answers, *more]) as there:
        job(there, tmp_path_factory.getbasetemp())


@fuzzing()
@given(data=st.data(), size=st.integers(-2, 3000) | st.sampled_from([-1, 10**30, 1 << 62, "x"]))
def test_a_picture_of_any_size_or_content_ends_orderly(
    data: st.DataObject, size: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    picture = data.draw(st.binary(max_size=400))
    answers = [line({"event": "bytes", "size": size}), picture, line(done())]
    place = tmp_path_factory.getbasetemp() / "received.png"
    place.write_bytes(b"what was there")
    with case("device: picture"), device(answers) as there:
        fetch_picture(there, f"{HOME}/runs/x/0.png", place, Announced(width=8, height=8))
    assert place.read_bytes() == b"what was there"
    assert len(list(place.parent.glob(".edgegen-*"))) == 0


FIRST_WORDS = st.sampled_from([b"have /x", b"need", b"shell", b"none", b"full", b"disk", b"old"])


@fuzzing()
@given(first=st.one_of(st.binary(max_size=60), FIRST_WORDS), rest=st.lists(st.binary(max_size=60)))
def test_a_device_that_says_anything_at_first_ends_orderly(first: bytes, rest: list[bytes]) -> None:
    output = b"\n".join([first, *rest]) + b"\n"
    with case("device: first words"), Device(PlayedTransport(output), b"runner") as there:
        there.agent.request("status")
