"""How the scores of the built-in models are kept and told; nothing is drawn."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.builtin_scores_report import (
    MODELS,
    READER,
    REFERENCE,
    Drawn,
    Found,
    asked,
    markdown,
    merged,
    package_names,
    recipes_table,
)
from benchmarks.compression_frontier_report import Frontier, Placed
from benchmarks.machine import Machine
from edgegen.scenes.combinations import Split
from edgegen.scenes.scores import Score, sampled_requests

MACHINE = Machine(
    processor="Z80",
    cores=1,
    memory_bytes=16 << 30,
    operating_system="Linux",
    python="3.11.7",
    virtual_machine=False,
    load_average=0.1,
)
SCORE = Score(
    pictures=8, things=0.5, count=1.0, colour=1.0, size=1.0, placement=None, all_right=0.5
)
MODEL = MODELS[0]
SAMPLED = Drawn(
    model=MODEL,
    drawn_by=REFERENCE,
    requests="sampled",
    asked="a",
    machine=MACHINE,
    scores={"trained, plain": SCORE},
)
OF_PACKAGES = replace(SAMPLED, requests="of packages")
PACKAGE = replace(OF_PACKAGES, drawn_by=package_names()[0], psnr_db=40.0)


def put_together(*rows: Drawn) -> Found:
    found = Found()
    for row in rows:
        found = merged(found, row, None if row.model == READER else "weights")
    return found


def test_rows_are_ordered_by_model_requests_and_package() -> None:
    reader = replace(SAMPLED, model=READER, drawn_by="the reader itself")
    other = replace(SAMPLED, model="a/folder")
    later = replace(PACKAGE, drawn_by=package_names()[1])
    rows = (reader, SAMPLED, OF_PACKAGES, PACKAGE, later, other)
    assert put_together(*reversed(rows)).drawn == rows


def test_a_row_replaces_the_one_that_it_repeats_and_no_other() -> None:
    better = replace(PACKAGE, psnr_db=50.0)
    found = put_together(SAMPLED, OF_PACKAGES, PACKAGE, better, SAMPLED)
    assert found.drawn == (SAMPLED, OF_PACKAGES, better)


def test_packages_of_other_pictures_go_when_others_are_drawn() -> None:
    others = replace(OF_PACKAGES, asked="b")
    assert put_together(SAMPLED, OF_PACKAGES, PACKAGE, others).drawn == (SAMPLED, others)


def test_what_other_weights_drew_goes() -> None:
    found = put_together(SAMPLED, OF_PACKAGES, PACKAGE)
    retrained = merged(found, SAMPLED, "other weights")
    assert retrained.drawn == (SAMPLED,)
    assert retrained.weights == {MODEL: "other weights"}


def test_other_captions_and_other_seeds_are_asked_otherwise() -> None:
    requests = sampled_requests(Split.TRAINED, 2)
    assert asked(requests) == asked(list(requests))
    assert asked(requests) != asked(requests[1:])
    assert asked(requests) != asked([replace(requests[0], seed=9), *requests[1:]])


def test_the_page_has_every_row_and_the_table_every_package() -> None:
    failed = replace(PACKAGE, drawn_by=package_names()[1], failure="out of memory", psnr_db=None)
    found = put_together(SAMPLED, OF_PACKAGES, PACKAGE, failed)
    page = markdown(found)
    assert "| trained, plain | 8 | 50.0% | 100.0% | 100.0% | 100.0% |  | 50.0% |" in page
    assert f"| {package_names()[0]} | 40.0 | 50.0% |  | 50.0% |" in page
    assert "out of memory" in page
    lines = recipes_table(found).splitlines()
    assert len(lines) == 3 + len(package_names())
    assert lines[2].startswith("| *diffusers, float32* | *4 of 8* |")
    assert lines[3].startswith(f"| {package_names()[0]} | 40.0 dB · 4 | not drawn |")
    assert lines[4].startswith(f"| {package_names()[1]} | not drawn |")


def test_what_was_not_drawn_is_taken_from_the_frontier() -> None:
    target, _, recipe = package_names()[1].partition(" ")
    place = Placed(
        model=MODELS[0],
        target=target,
        recipe=recipe,
        stored="s",
        asked="a",
        pictures=10,
        right=9,
        psnr_db=33.3,
    )
    mix = replace(place, recipe="mixed-1MB", mix_of=recipe, psnr_db=60.0)
    places = Frontier(machine=MACHINE, placed=(place, mix))
    lines = recipes_table(put_together(SAMPLED, OF_PACKAGES, PACKAGE), places).splitlines()
    assert lines[3].startswith(f"| {package_names()[0]} | 40.0 dB · 4 | not drawn |")
    assert lines[4].startswith(f"| {package_names()[1]} | 33.3 dB · 9 of 10 | not drawn |")
