from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.core.codec import (
    MAXIMUM_INTEGER,
    MAXIMUM_ITEMS,
    MAXIMUM_JSON_BYTES,
    decode,
    dump_json,
    encode,
    load_json,
    load_json_object,
    load_toml,
    parse_json_object,
)
from edgegen.core.errors import ConfigError
from edgegen.core.model import PipelineSpec
from edgegen.core.package import Artifact, Evidence, PackageManifest
from edgegen.core.profile import DeviceProfile
from edgegen.core.recipe import Recipe
from edgegen.core.target import TargetSpec


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Make any value of a type that the codec writes."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = {field.name: values_of(hints[field.name]) for field in dataclasses.fields(kind)}
        return st.builds(kind, **fields)  # type: ignore[arg-type]  # a class
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values_of(argument) for argument in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=2)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=8),
        int: st.integers(-MAXIMUM_INTEGER, MAXIMUM_INTEGER),
        bool: st.booleans(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        types.NoneType: st.none(),
    }
    return simple[kind]


@pytest.mark.parametrize(
    "cls", [PipelineSpec, PackageManifest, Evidence, DeviceProfile, Recipe, TargetSpec]
)
def test_a_value_survives_being_written_and_read(cls: type[Any]) -> None:
    @settings(max_examples=40, deadline=None)
    @given(values_of(cls))
    def survives(value: Any) -> None:
        text = dump_json(value)
        assert decode(cls, parse_json_object(text, source="a file"), source="a file") == value

    survives()


def test_the_same_value_is_written_with_the_same_bytes() -> None:
    recipe = decode(Recipe, RECIPE, source="r")
    assert dump_json(recipe) == dump_json(decode(Recipe, json.loads(dump_json(recipe)), source="r"))


RECIPE: dict[str, Any] = {
    "name": "mine",
    "description": "",
    "storage": "float16",
    "compute": "float32",
    "tolerance": {"component_psnr_db": 60, "trajectory_psnr_db": 50, "image_psnr_db": 45},
    "rules": [{"component": "vae_*", "compute": "float32"}],
}


def changed(**values: Any) -> dict[str, Any]:
    return {**RECIPE, **values}


@pytest.mark.parametrize(
    ("data", "says", "hint"),
    [
        (changed(storge="float16"), "unknown key 'storge'", "Did you mean 'storage'?"),
        (
            changed(rules=[{"layer": "*"}]),
            "unknown key 'rules[0].layer'",
            "Did you mean 'layers'?",
        ),
        (changed(compute="fp16"), "compute is 'fp16'", "Known: float16, float32."),
        (changed(compute=["float16"]), "compute is ['float16']", ""),
        (changed(storage=["float16"]), "storage is ['float16']", ""),
        (changed(name=3), "name is 3, which is not a text", "Give name a text."),
        (changed(name=None), "name is None, which is not a text", ""),
        (changed(rules={}), "rules is {}, which is not a list", "Give rules a list."),
        (changed(rules="all"), "rules is 'all', which is not a list", ""),
        (changed(rules=["all"]), "rules[0] is 'all', which is not a table", ""),
        (changed(tolerance=5), "tolerance is 5, which is not a table", "keys component_psnr_db, "),
        ({**RECIPE, "tolerance": {}}, "'tolerance.component_psnr_db' is missing", ""),
        ([RECIPE], "which is not a table", ""),
    ],
)
def test_what_a_recipe_does_not_have_is_named(data: Any, says: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        decode(Recipe, data, source="mine.toml")
    assert str(raised.value).startswith("mine.toml: ")
    assert says in str(raised.value)
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), True, "60", None, pytest.param(10**400, id="huge")]
)
def test_a_figure_that_is_no_finite_number_is_refused(value: object) -> None:
    tolerance = {**RECIPE["tolerance"], "image_psnr_db": value}
    with pytest.raises(ConfigError, match="image_psnr_db"):
        decode(Recipe, changed(tolerance=tolerance), source="r")


def test_a_whole_number_is_read_as_a_float() -> None:
    tolerance = decode(Recipe, RECIPE, source="r").tolerance
    assert tolerance.image_psnr_db == 45.0
    assert isinstance(tolerance.image_psnr_db, float)


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        (str, 1, "a text"),
        (float, "1", "a number"),
        (int, 1.5, "a whole number"),
        (bool, 1, "true or false"),
        (tuple[int, ...], "1", "a list"),
        (Mapping[str, int], [], "a table"),
        (int | None, "1", "a whole number"),
        (Recipe, 1, "a table"),
    ],
)
def test_an_error_names_what_belongs_there_as_people_call_it(
    kind: Any, value: object, wanted: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        decode(kind, value, source="mine.toml", at="key")
    assert str(raised.value) == f"mine.toml: key is {value!r}, which is not {wanted}."


def test_a_bool_is_not_a_number() -> None:
    @dataclass(frozen=True)
    class Counted:
        count: int

    with pytest.raises(ConfigError, match="count is True"):
        decode(Counted, {"count": True}, source="c")


def test_what_a_value_checks_itself_is_an_error_of_the_file() -> None:
    @dataclass(frozen=True)
    class Positive:
        number: int

        def __post_init__(self) -> None:
            if self.number < 1:
                raise ValueError("number is not positive")

    with pytest.raises(ConfigError, match=r"p\.json: number is not positive"):
        decode(Positive, {"number": 0}, source="p.json")


def test_nan_is_never_written() -> None:
    recipe = decode(Recipe, RECIPE, source="r")
    tolerance = dataclasses.replace(recipe.tolerance, image_psnr_db=float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        dump_json(dataclasses.replace(recipe, tolerance=tolerance))


def test_what_json_cannot_hold_is_not_written() -> None:
    with pytest.raises(TypeError, match="Path"):
        encode({"path": Path("x")})


def test_a_missing_optional_value_is_left_out_and_read_as_none() -> None:
    spec = decode(PipelineSpec, PIPELINE, source="p")
    assert spec.revision is None
    assert "revision" not in encode(spec)
    assert decode(PipelineSpec, encode(spec), source="p") == spec


PIPELINE: dict[str, Any] = {
    "source": "x",
    "revision": None,
    "family": "unconditional",
    "pipeline_class": "DDPMPipeline",
    "components": [],
    "generation": {"width": 32, "height": 32, "latent_channels": 3},
    "facts": {
        "guidance": "none",
        "takes_text": False,
        "takes_negative_prompt": False,
        "starts": ["noise"],
    },
    "scheduler": {"class_name": "DDPMScheduler"},
    "licence": None,
}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "a key occurs twice"),
        ('{"a": {"b": 1, "b": 1}}', "a key occurs twice"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": 1', "is not JSON"),
        ("[1]", "holds a list, not an object"),
        ('"a"', "holds a text, not an object"),
        ("1.5", "holds a number, not an object"),
        ("null", "holds null, not an object"),
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a": ' + "1" * 5000 + "}", "is not JSON"),
        ('{"a": ["\\ud800"]}', "surrogates not allowed"),
        ('{"\\uDFFF": 1}', "surrogates not allowed"),
    ],
    ids=range(14),
)
def test_json_that_is_not_one_plain_object_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        parse_json_object(text, source="edgegen.json")
    assert str(raised.value).startswith("edgegen.json ")
    assert raised.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "name = ",
        "a = 1\na = 2",
        "x = " + "[\n" * 20_000,
        "x = " + "{a=" * 300,
        "x = " + "[" * 1000,
        "x = " + "9" * 1000 + "\n" + "y = 1" * 3,
        "x = 2026-02-31",
    ],
    ids=["cut", "twice", "deep", "deep-tables", "deep-line", "digits", "no-such-day"],
)
def test_toml_that_cannot_be_read_is_an_error_of_the_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.toml is not TOML"):
        load_toml(Recipe, path)


@pytest.mark.parametrize(
    "value",
    ["0x" + "f" * 900, "9" * 900, "1e999", "-" + "9" * 900, "2026-01-01", "[[[[[[[[[1]]]]]]]]]"],
)
@pytest.mark.parametrize("key", ["storage", "palette_channels", "rules", "tolerance", "none"])
def test_numbers_and_lists_of_any_size_are_an_error_of_the_file(
    key: str, value: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    lines = [f'{name} = "{text}"' for name, text in RECIPE.items() if isinstance(text, str)]
    path.write_text(
        "\n".join([*(it for it in lines if not it.startswith(key)), f"{key} = {value}"])
    )
    with pytest.raises(ConfigError, match=rf"mine\.toml: .*{key}") as raised:
        load_toml(Recipe, path)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a" + ".a" * 100_000 + " = 1", "larger than 128 KiB"),
        ("a" + ".a" * 1_000 + " = 1", "line 1 has over 1024 characters"),
        ("a = [" + "\n0," * 300_000 + "]", "larger than 128 KiB"),
    ],
    ids=["long-key", "long-line", "long-list"],
)
def test_toml_that_would_take_long_to_read_is_not_read(
    text: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as raised:
        load_toml(Recipe, path)
    assert raised.value.hint


def test_a_list_of_more_entries_than_any_file_of_ours_has_is_refused() -> None:
    rules = [{}] * (MAXIMUM_ITEMS + 1)
    with pytest.raises(ConfigError, match="rules has 100,001 entries"):
        decode(Recipe, changed(rules=rules), source="r")


def test_an_integer_that_no_size_or_count_can_be_is_refused() -> None:
    artifact = {"path": "a", "sha256": "0", "size_bytes": 2**63}
    with pytest.raises(ConfigError, match=r"size_bytes is a number of 19 digits or more"):
        decode(Artifact, artifact, source="m")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_or_a_device_is_not_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    make(path)
    for read in (lambda: load_json_object(path), lambda: load_toml(Recipe, path)):
        with pytest.raises(ConfigError, match=r"cannot be read: it is a (pipe|device), not a file"):
            read()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json does not exist"):
        load_json(Recipe, tmp_path / "none.json")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_json_object(path)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_toml(Recipe, tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(MAXIMUM_JSON_BYTES + 1)
    with pytest.raises(ConfigError, match="larger than 16,384 KiB"):
        load_json_object(path)


def test_decoded_values_can_be_hashed() -> None:
    assert hash(decode(Recipe, RECIPE, source="r")) == hash(decode(Recipe, RECIPE, source="r"))
