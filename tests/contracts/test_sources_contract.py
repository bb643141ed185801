"""A new kind of source is a class and a line in the table: here, all weights in one file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import DTypeLike, NDArray
from safetensors.numpy import load_file

from edgegen.core.codec import decode, encode
from edgegen.core.errors import SourceError
from edgegen.core.model import PipelineSpec
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.exporters.base import ExportJob, load_exporter
from edgegen.exporters.opened import open_component
from edgegen.models import pipeline_source
from edgegen.models.pipeline_source import SourceSpec, folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.axes import fix_axes
from edgegen.reference import golden
from edgegen.reference.case import plan_case
from edgegen.reference.pipeline import load_reference
from edgegen.reference.trajectory import run_case
from tests.conftest import TinyPipeline
from tests.exporters.harness import Heard

# torch 2.13's Tensor.__array__ under numpy 2.4
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@dataclass(frozen=True)
class Entry:
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True)
class Part:
    """The weights of one component in an archive of all."""

    name: str
    archive: Mapping[str, NDArray[Any]]
    takes_all_keys: bool = False

    @property
    def entries(self) -> Mapping[str, Entry]:
        return {
            key.removeprefix(f"{self.name}."): Entry(str(it.dtype), it.shape, it.nbytes)
            for key, it in self.archive.items()
            if key.startswith(f"{self.name}.")
        }

    def array(
        self, key: str, dtype: DTypeLike | None = None, *, again: bool = False
    ) -> NDArray[Any]:
        array = self.archive[f"{self.name}.{key}"]
        return array.astype(dtype or array.dtype)


@dataclass(frozen=True)
class OneFile:
    """All weights in one archive; the configurations in the folder beside it."""

    path: Path

    @property
    def configs(self) -> Path:
        return self.path.with_suffix("")

    def weights(self, folder: str, variant: str | None = None) -> Part:
        return Part(folder, dict(np.load(self.path)))


@pytest.fixture(scope="module")
def folder(tiny_pipeline: TinyPipeline) -> Path:
    return tiny_pipeline("ddim")


@pytest.fixture(scope="module")
def spec(folder: Path) -> PipelineSpec:
    return read_pipeline(resolve(str(folder)))


@pytest.fixture
def one_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SourceSpec:
    """The model with its weights in one file, and none in the folder of its configurations."""
    monkeypatch.setitem(pipeline_source.SOURCES, "one-file", OneFile)  # type: ignore[arg-type]  # a Mapping only for readers
    configs = tmp_path / "model"
    shutil.copytree(folder, configs, ignore=shutil.ignore_patterns("*.safetensors"))
    arrays = {
        f"{file.parent.name}.{key}": array
        for file in folder.rglob("*.safetensors")
        for key, array in load_file(file).items()
    }
    np.savez(tmp_path / "model.npz", **arrays)
    return SourceSpec(kind="one-file", path=str(tmp_path / "model.npz"))


def exported(spec: PipelineSpec, source: SourceSpec, destination: Path) -> dict[str, bytes]:
    """Return the files that an exporter writes of a source that was sent to it."""
    destination.mkdir()
    job = ExportJob(
        target="onnx",
        component=fix_axes(spec.components[0], spec, "dynamic"),
        source=source,
        destination=str(destination),
        recipe=load_recipe("fp32", load_target("onnx")),
        shapes="dynamic",
        options={"operators": "plain"},
    )
    sent = decode(ExportJob, encode(job), source="a job")
    heard = Heard()
    load_exporter("onnx").export(sent, open_component(sent, heard), heard)
    return {file.name: file.read_bytes() for file in destination.iterdir()}


def drawn(spec: PipelineSpec, source: SourceSpec, destination: Path) -> NDArray[Any]:
    destination.mkdir()
    opened = open_source(source)
    case = plan_case(spec, opened.configs, full=False)
    reference = load_reference(spec, opened)
    with torch.inference_mode(), reference.weights:
        run_case(reference, spec, case, destination, lambda _: None)
    return golden.read_array(destination, golden.IMAGE_NAME)


def test_an_exporter_writes_the_same_artifact_from_any_source(
    spec: PipelineSpec, folder: Path, one_file: SourceSpec, tmp_path: Path
) -> None:
    expected = exported(spec, folder_source(folder), tmp_path / "from-folder")
    assert expected
    assert exported(spec, one_file, tmp_path / "from-file") == expected


def test_torch_draws_the_same_from_any_source(
    spec: PipelineSpec, folder: Path, one_file: SourceSpec, tmp_path: Path
) -> None:
    expected = drawn(spec, folder_source(folder), tmp_path / "from-folder")
    assert np.array_equal(drawn(spec, one_file, tmp_path / "from-file"), expected)


def test_an_unknown_kind_of_source_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(SourceError, match="'foldr'") as caught:
        open_source(SourceSpec(kind="foldr", path="model"))
    assert "folder" in caught.value.hint
