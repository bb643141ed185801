"""The documents say what the code does: commands, options, names, codes, links and figures."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from edgegen_runner.schedulers import SCHEDULERS, SHORT_NAMES

from edgegen.cli.main import COMMANDS
from edgegen.cli.main import edgegen as command_line
from edgegen.core import errors
from edgegen.core.errors import INTERRUPTED_EXIT_CODE, EdgegenError
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target, load_targets
from edgegen.devices.profiles import profile_names
from edgegen.families import held_families

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
COMMANDS_PAGE = ROOT / "docs/guides/commands.md"
SUPPORT = ROOT / "docs/reference/support.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("demo/*.md")])
LARGEST_PICTURE_BYTES = 300_000

_FENCE = re.compile(r"^```[a-z]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


def names_of(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def blocks(text: str) -> list[str]:
    return _FENCE.findall(text)


def prose(text: str) -> str:
    return _FENCE.sub("", text)


def commands_in(text: str) -> list[list[str]]:
    """Return the words of every `edgegen …` that a text tells to type, `edgegen` left out."""
    whole = (block.replace("\\\n", " ") for block in blocks(text))
    lines = [line.strip() for block in whole for line in block.splitlines()]
    found = [line.removeprefix("$ ") for line in lines if line.startswith("$ edgegen ")]
    found += [code for code in _CODE.findall(prose(text)) if code.startswith("edgegen ")]
    return [[word for word in shlex.split(line)[1:] if word != "…"] for line in found]


def table_under(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a line that begins with `heading`."""
    lines = iter(text[text.index(f"\n{heading}") :].splitlines()[1:])
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return [row for row in rows if not set("".join(row)) <= {"-"}]


def codes_of(cell: str) -> list[str]:
    return _CODE.findall(cell)


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def commands_page() -> str:
    return COMMANDS_PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def support() -> str:
    return SUPPORT.read_text(encoding="utf-8")


def test_the_readme_begins_with_the_two_commands(readme: str) -> None:
    assert blocks(readme)[0].split("\n") == ["make demo", "make test", ""]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_what_is_typed_with_make_is_a_target_of_the_makefile() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in DOCUMENTS:
        typed = set(re.findall(r"\bmake ([\w-]+)[`\n]", path.read_text(encoding="utf-8")))
        assert typed <= targets, path


@pytest.mark.parametrize("name", names_of(DOCUMENTS))
def test_every_relative_link_leads_to_a_file(name: str) -> None:
    path = ROOT / name
    for link in _LINK.findall(prose(path.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors_of(target), link


def anchors_of(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", names_of(DOCUMENTS))
def test_every_command_of_edgegen_parses(name: str) -> None:
    for words in commands_in((ROOT / name).read_text(encoding="utf-8")):
        if words[0].startswith("-"):
            continue
        assert words[0] in COMMANDS, words
        context = click.Context(command_line, info_name="edgegen")
        command = command_line.get_command(context, words[0])
        assert command is not None
        parser = command.make_parser(click.Context(command, context, info_name=words[0]))
        try:
            parser.parse_args(words[1:])
        except click.UsageError as error:
            pytest.fail(f"edgegen {shlex.join(words)}: {error.format_message()}")


def test_the_readme_shows_every_command(readme: str) -> None:
    assert {words[0] for words in commands_in(readme)} >= set(COMMANDS)


def test_the_readme_is_short(readme: str) -> None:
    assert len(readme.splitlines()) <= 100


def test_the_table_of_exit_codes_is_that_of_the_errors(commands_page: str) -> None:
    told = {
        name: int(code)
        for code, names, _ in table_under(commands_page, "## Exit codes")[1:]
        for name in codes_of(names)
    }
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, EdgegenError)
    }
    assert told == {name: value.exit_code for name, value in classes.items()}
    codes = {row[0] for row in table_under(commands_page, "## Exit codes")[1:]}
    assert {"0", str(INTERRUPTED_EXIT_CODE)} <= codes


def test_the_table_of_schedulers_is_that_of_the_runner(support: str) -> None:
    told = {
        codes_of(name)[0]: set(codes_of(short))
        for name, short in table_under(support, "| scheduler")[1:]
    }
    known: dict[str, set[str]] = {name: set() for name in SCHEDULERS}
    for short, (name, _) in SHORT_NAMES.items():
        known[name].add(short)
    assert told == known


def test_the_table_of_recipes_is_that_of_the_target(support: str) -> None:
    target = load_target("onnx")
    rows = table_under(support, "| recipe (ONNX)")[1:]
    assert [codes_of(row[0])[0] for row in rows] == list(target.recipes)
    assert [codes_of(row[0])[0] for row in rows if "(default)" in row[0]] == [target.default_recipe]
    for name, storage, compute in rows:
        recipe = load_recipe(codes_of(name)[0], target)
        assert storage == recipe.storage
        assert compute.partition(";")[0] == recipe.compute
        halves = recipe.compute == "float16"  # but for the layers that networks declare
        assert (";" in compute) == (halves or bool(recipe.rules)), "exceptions are told"


def test_the_table_of_families_is_that_of_the_targets(support: str) -> None:
    told = [codes_of(row[0])[0] for row in table_under(support, "| family")[1:]]
    assert set(told) == {family for it in load_targets().values() for family in held_families(it)}


def test_every_profile_is_listed(support: str) -> None:
    (paragraph,) = re.findall(r"^Profiles: (.+?)(?:\n\n|\Z)", support, re.MULTILINE | re.DOTALL)
    assert codes_of(paragraph) == list(profile_names())


def test_what_the_documents_call_a_file_of_the_project_is_there() -> None:
    plain = re.compile(r"(\w+)/[\w./-]+\.(?:py|toml|json|md)")
    checked = 0
    for path in DOCUMENTS:
        for code in _CODE.findall(prose(path.read_text(encoding="utf-8"))):
            match = plain.fullmatch(code)
            roots = [it for it in (ROOT, ROOT / "edgegen") if match and (it / match[1]).is_dir()]
            if roots:
                assert any((root / code).is_file() for root in roots), f"{path.name}: {code}"
                checked += 1
    assert checked > 10


def test_pictures_of_the_documents_are_small() -> None:
    pictures = list(ROOT.glob("docs/images/*"))
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < LARGEST_PICTURE_BYTES, picture
        assert picture.read_bytes().startswith((b"\x89PNG", b"<svg ")), picture


def test_the_licence_is_the_whole_text() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
