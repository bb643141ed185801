"""Ranges of activations: measured on the model's own trajectories, for every layer there is."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgegen.core.calibration import Calibration, LayerRange
from edgegen.core.codec import decode, dump_json, load_json
from edgegen.core.errors import ExportError, SourceError
from edgegen.core.model import PipelineSpec
from edgegen.exporters.capture import capture, layer_of
from edgegen.models.pipeline_source import folder_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.reference.calibrate import make_calibration
from edgegen.reference.calibrate_child import Job, _run
from edgegen.reference.calibration import Observer
from edgegen.reference.calibration_cases import (
    FEW_STEPS,
    MANY_PARAMETERS,
    PROMPTS,
    STEPS,
    card_prompts,
    choose_prompts,
    plan_calibration,
)
from edgegen.reference.case import PROMPT, SEED
from edgegen.reference.clipping import best_range
from edgegen.reference.histogram import BINS, SAMPLED_VALUES, Histogram, Sampled
from tests.conftest import TinyPipeline
from tests.tiny_models import FAMILIES

# torch 2.13's Tensor.__array__ under numpy 2.4; diffusers' Euler scheduler goes through it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LAYER_OPERATORS = (torch.ops.aten.linear.default, torch.ops.aten.conv2d.default)


def is_layer(node: torch.fx.Node) -> bool:
    """Say whether a node multiplies with a weight; some resample with kernels that are computed."""
    if node.target not in LAYER_OPERATORS:
        return False
    weight = node.args[1]
    return isinstance(weight, torch.fx.Node) and weight.op != "call_function"


def spec_of(folder: Path) -> PipelineSpec:
    return read_pipeline(resolve(str(folder)))


def histogram_of(*values: torch.Tensor) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def calibrate_here(
    spec: PipelineSpec, folder: Path, destination: Path, *, trajectories: int
) -> Calibration:
    """Do in this process what the calibration's own does, on the first trajectories."""
    job = Job(
        spec=spec,
        source=folder_source(folder),
        destination=str(destination),
        cases=plan_calibration(spec, folder, full=False)[:trajectories],
        components=tuple(it.name for it in spec.components),
    )
    _run(job, lambda *_, **__: None)
    return load_json(Calibration, destination)


def quantization_error(values: torch.Tensor, low: float, high: float) -> float:
    """Return the mean squared error of 256 evenly spaced numbers, computed value by value."""
    exact = values.double()
    step = (high - low) / 255
    rounded = torch.clamp(torch.round(exact / step), round(low / step), round(high / step))
    return float(((rounded * step - exact) ** 2).mean())


def best_of(*values: torch.Tensor) -> tuple[float, float]:
    histogram = histogram_of(*values)
    return best_range(histogram.counts, histogram.edges, histogram.minimum, histogram.maximum)


@pytest.mark.filterwarnings("ignore:The decode_latents method is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=() if family == "ddpm" else pytest.mark.slow)
        for family in FAMILIES
    ],
)
def test_every_linear_and_convolutional_node_of_a_capture_has_a_range(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    spec = spec_of(folder)
    calibration = calibrate_here(spec, folder, tmp_path / "calibration.json", trajectories=1)
    assert {it.name for it in spec.components} == set(calibration.components)
    for component in spec.components:
        graph = capture(component, folder / component.folder, shapes="fixed").graph
        wanted = {layer_of(node) for node in graph.nodes if is_layer(node)}
        assert wanted == set(calibration.components[component.name]), component.name
        for layer in wanted:
            found = calibration.layer(component.name, layer)
            assert found.input_low <= 0 <= found.input_high, layer
            assert found.output_low < found.output_high, layer
            assert found.output_minimum < found.output_maximum, layer


@pytest.mark.slow
def test_a_calibration_is_the_same_each_time_and_can_be_read_from_its_file(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15", dtype="float16")
    spec = spec_of(folder)
    made = make_calibration(
        spec, folder_source(folder), tmp_path / "new" / "made.json", log=tmp_path / "log"
    )
    again = calibrate_here(spec, folder, tmp_path / "again.json", trajectories=len(STEPS))
    assert made.path.read_bytes() == (tmp_path / "again.json").read_bytes()
    assert load_json(Calibration, made.path) == made.calibration == again
    assert 0 < made.peak_weight_bytes < 1 << 20  # streamed: the text encoder alone has more
    assert made.cost.stage == "calibration"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["made.json"]


def test_a_range_is_that_of_what_went_through_the_layer(tiny_pipeline: TinyPipeline) -> None:
    folder = tiny_pipeline("ddpm")
    spec = spec_of(folder)
    module = torch.nn.Module()
    module.conv_in = torch.nn.Conv2d(1, 1, 1)
    module.conv_in.weight.data.fill_(-2.0)
    assert module.conv_in.bias is not None
    module.conv_in.bias.data.fill_(0.5)
    observer = Observer()
    with torch.inference_mode(), observer.watching(spec.components, {"unet": module}):
        module.conv_in(torch.tensor([[[[0.25, 3.0]]]]))
        module.conv_in(torch.tensor([[[[-1.0, 1.0]]]]))
    with torch.inference_mode():
        module.conv_in(torch.tensor([[[[100.0]]]]))  # nobody watches any more
    found = observer.calibration().layer("unet", "conv_in")
    assert (found.input_minimum, found.input_maximum) == (-1.0, 3.0)
    assert (found.output_minimum, found.output_maximum) == (-5.5, 2.5)


def test_a_layer_without_a_range_is_an_error_that_names_it() -> None:
    with pytest.raises(ExportError, match=r"unet: no range .* 'mid_block.conv'"):
        Calibration(components={"unet": {}}).layer("unet", "mid_block.conv")


def test_ranges_survive_json_to_the_last_bit() -> None:
    values = np.random.default_rng(0).normal(size=8).astype(np.float32)
    names = (f"{a}_{b}" for a in ("input", "output") for b in ("minimum", "maximum", "low", "high"))
    layer = LayerRange(**dict(zip(names, map(float, values), strict=True)))
    calibration = Calibration(components={"unet": {"conv_in": layer}})
    assert decode(Calibration, json.loads(dump_json(calibration)), source="test") == calibration


@pytest.mark.slow
def test_what_stays_in_floats_is_not_measured(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    folder = tiny_pipeline("sd15")
    spec = spec_of(folder)
    quantized = ("text_encoder", "unet")
    some, whole = (
        make_calibration(
            spec, folder_source(folder), tmp_path / f"{number}.json", components=components
        ).calibration.components
        for number, components in enumerate((quantized, None))
    )
    assert tuple(some) == quantized
    assert some == {name: whole[name] for name in quantized}
    assert set(whole) == {it.name for it in spec.components}


@pytest.mark.slow
def test_a_model_that_computes_nan_is_refused(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_pipeline("ddpm"), folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    largest = tensors["conv_in.weight"].abs().max()
    tensors["conv_in.weight"] = tensors["conv_in.weight"] / largest * 3e38
    save_file(tensors, weights)
    with pytest.raises(SourceError, match=r"unet computes values in 'conv_in' that are not finite"):
        make_calibration(spec_of(folder), folder_source(folder), tmp_path / "calibration.json")
    assert not (tmp_path / "calibration.json").exists()


def test_the_bins_do_not_depend_on_the_order_in_which_tensors_come() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [
        torch.randn(999, generator=generator) * scale + offset
        for scale, offset in ((0.01, 0.0), (1.0, -3.0), (40.0, 0.0), (2.0, 100.0))
    ]
    whole = histogram_of(torch.cat(parts))
    assert whole.counts.sum() == 4 * 999
    for order in itertools.permutations(parts):
        histogram = histogram_of(*order)
        assert np.array_equal(histogram.counts, whole.counts)
        assert np.array_equal(histogram.edges, whole.edges)


@pytest.mark.parametrize("scale", [1.0, -1.0, 2.0**-40, 1000.0])
def test_each_value_lies_in_its_bin_and_the_bins_are_few_too_many(scale: float) -> None:
    values = torch.rand(5000, generator=torch.Generator().manual_seed(1)) * scale
    histogram = histogram_of(values)
    expected, _ = np.histogram(values.double().numpy(), histogram.edges)
    assert np.array_equal(histogram.counts, expected)
    width = histogram.edges[1] - histogram.edges[0]
    assert BINS / 2 - 1 <= float(values.abs().max()) / width <= BINS


@pytest.mark.parametrize("place", [0, 12_345, -1])
def test_of_a_large_tensor_a_share_of_each_channel_is_counted_and_every_extreme(
    place: int,
) -> None:
    values = torch.randn(3, 1000, 320, generator=torch.Generator().manual_seed(5))
    values.view(-1)[place] = 90.0
    seen = Sampled.of(values)
    assert SAMPLED_VALUES / 2 < len(seen.values) <= SAMPLED_VALUES + 1
    channels = torch.arange(320.0).expand(3, 1000, 320)
    shares = torch.bincount(Sampled.of(channels.contiguous()).values.int(), minlength=320)
    assert shares.min() > 0.8 * shares.max()
    histogram = histogram_of(values)
    assert histogram.maximum == 90.0
    assert histogram.minimum == float(values.min())
    assert histogram.counts.sum() == pytest.approx(values.numel(), rel=1e-3)


def test_samples_of_several_calls_give_a_range_that_is_as_good_as_that_of_all_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(6)
    calls = [4 * torch.randn(2, 561, 320, generator=generator) for _ in range(8)]
    values = torch.cat(list(map(torch.nn.functional.silu, calls)))
    sampled = best_of(*values.split(2))
    monkeypatch.setattr("edgegen.reference.histogram.SAMPLED_VALUES", values.numel())
    whole = best_of(values)
    assert quantization_error(values, *sampled) < 1.02 * quantization_error(values, *whole)


def test_an_input_that_is_changed_in_place_is_looked_at_again(tiny_pipeline: TinyPipeline) -> None:
    module = torch.nn.Module()
    module.conv_in, module.conv_out = torch.nn.Conv2d(1, 1, 1), torch.nn.Conv2d(1, 1, 1)
    observer = Observer()
    value = torch.rand(1, 1, 4, 4)
    with (
        torch.inference_mode(),
        observer.watching(spec_of(tiny_pipeline("ddpm")).components, {"unet": module}),
    ):
        module.conv_in(value)
        module.conv_out(value)
        value += 5
        module.conv_in(value)
    found = observer.calibration()
    assert found.layer("unet", "conv_out").input_maximum < 1
    assert found.layer("unet", "conv_in").input_maximum > 5


def test_zeros_alone_have_no_range() -> None:
    histogram = histogram_of(torch.zeros(7))
    assert histogram.is_zero
    assert (histogram.minimum, histogram.maximum) == (0.0, 0.0)


def test_a_value_that_is_not_finite_is_refused() -> None:
    for value in (torch.nan, torch.inf, -torch.inf):
        with pytest.raises(ValueError, match="not finite"):
            histogram_of(torch.tensor([0.0, value]))


def draws(name: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    normal = torch.randn(10_000, generator=generator)
    match name:
        case "normal":
            return normal
        case "positive":
            return normal.abs()
        case "heavy tails":
            return normal**5
        case "silu":
            return torch.nn.functional.silu(4 * normal)
    return torch.cat([0.05 * normal, torch.tensor([90.0])])  # one outlier, as in CLIP's states


@pytest.mark.parametrize("name", ["normal", "positive", "heavy tails", "silu", "outlier"])
def test_no_other_range_quantizes_noticeably_better(name: str) -> None:
    values = draws(name)
    low, high = best_of(values)
    assert low <= 0 <= high
    assert abs(low / ((high - low) / 255) - round(low / ((high - low) / 255))) < 1e-6
    found = quantization_error(values, low, high)
    least, most = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    shares = np.geomspace(0.02, 1.0, 20)
    others = [
        quantization_error(values, least * a, most * b)
        for a in (shares if least else (1.0,))
        for b in shares
    ]
    assert found <= min(others) * 1.03


def test_tails_are_clipped_and_an_even_distribution_is_not() -> None:
    tails = torch.randn(400_000, generator=torch.Generator().manual_seed(4))
    least, most = float(tails.min()), float(tails.max())
    low, high = best_of(tails)
    assert least * 0.95 < low < 0 < high < most * 0.95
    assert quantization_error(tails, low, high) < 0.9 * quantization_error(tails, least, most)
    even = torch.linspace(-1.0, 2.0, 30_000)
    low, high = best_of(even)
    assert low == pytest.approx(-1.0, abs=0.02)
    assert high == pytest.approx(2.0, abs=0.02)


def test_trajectories_differ_from_each_other_and_from_the_golden_case(
    tiny_pipeline: TinyPipeline,
) -> None:
    folder = tiny_pipeline("sd15")
    cases = plan_calibration(spec_of(folder), folder, full=False)
    assert [case.steps for case in cases] == [*STEPS]
    assert [case.prompt for case in cases] == [*PROMPTS]
    assert len({SEED, *(case.seed for case in cases)}) == len(cases) + 1
    assert PROMPT not in PROMPTS


@pytest.mark.parametrize(
    ("parameters", "steps"), [(MANY_PARAMETERS, STEPS), (MANY_PARAMETERS + 1, FEW_STEPS)]
)
def test_a_large_model_is_calibrated_in_as_many_trajectories_of_fewer_steps(
    parameters: int, steps: tuple[int, ...], tiny_pipeline: TinyPipeline
) -> None:
    folder = tiny_pipeline("sd15")
    spec = spec_of(folder)
    components = tuple(
        replace(it, parameters=parameters if it.role == "denoiser" else 10**10)
        for it in spec.components
    )
    cases = plan_calibration(replace(spec, components=components), folder, full=False)
    small = plan_calibration(spec, folder, full=False)
    assert sum(FEW_STEPS) < sum(STEPS) / 2
    assert cases == tuple(
        replace(case, steps=count) for case, count in zip(small, steps, strict=True)
    )


def test_a_model_without_text_is_given_none(tiny_pipeline: TinyPipeline) -> None:
    folder = tiny_pipeline("ddpm")
    cases = plan_calibration(spec_of(folder), folder, full=False)
    assert {(case.prompt, case.negative_prompt) for case in cases} == {(None, None)}


def test_the_examples_of_a_models_card_come_first(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    spec = spec_of(tiny_pipeline("sd15"))
    (tmp_path / "README.md").write_text(
        "---\nlicense: mit\nwidget:\n- text: \"a 'red' fox: running\"\n  output:\n    url: a.png\n"
        "- src: b.png\n  text: 'two owls'\ntags:\n- text: no example\n---\n- text: nor this\n"
    )
    assert choose_prompts(spec, tmp_path) == ("a 'red' fox: running", "two owls", *PROMPTS[:2])


@pytest.mark.parametrize("card", ["", "# A model\nwidget:\n- text: x\n", "---\nwidget: [\n"])
def test_a_card_without_examples_gives_none(card: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card)
    assert card_prompts(tmp_path / "README.md") == ()


def test_the_built_in_model_is_given_captions_that_it_knows() -> None:
    model = resolve("builtin:emoji")
    assert "hamburger" in choose_prompts(read_pipeline(model), model.path)
