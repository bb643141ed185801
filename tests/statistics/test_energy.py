"""Joules of an image, from readings whose energy is known."""

from dataclasses import replace

import pytest

from edgegen.core.measurement import Measurement, Run, RunKind, SensorSample
from edgegen.statistics.energy import LEAST_READINGS, contains, image_energies, whole
from tests.statistics.samples import image, measurement


def drawn(readings: dict[float, dict[str, float | None]], kind: RunKind = "steady") -> Run:
    """Return a run of a warm-up (0 to 4 s), a pause, and images from 5 to 11 s and 11 to 17 s."""
    images = (
        image(0, 0.0, [3.829], warmup=True),
        image(1, 5.0, [5.829]),
        image(2, 11.0, [5.829]),
    )
    assert [round(each.end_s, 6) for each in images] == [4.0, 11.0, 17.0]
    samples = tuple(SensorSample(time_s=time, values=read) for time, read in readings.items())
    return Run(kind=kind, started_s=0, launch_s=0, loads=(), images=images, sensors=samples)


def measured(*runs: Run) -> Measurement:
    return replace(measurement(restarts=1, images=1), runs=runs)


def every_second(name: str, value_at: dict[float, float]) -> dict[float, dict[str, float | None]]:
    return {time: {name: value} for time, value in value_at.items()}


def test_constant_power_times_the_time_of_an_image_is_its_energy() -> None:
    readings = every_second("power_w.VDD_IN", {float(t): 10.0 for t in range(19)})
    (energy,) = image_energies(measured(drawn(readings)))
    assert energy.sensor == "power_w.VDD_IN"
    assert energy.image_j == pytest.approx(60.0)
    assert energy.restarts_j == (pytest.approx(60.0),)
    assert (energy.images, energy.method, energy.idle_w) == (2, "integrated power", None)
    assert energy.readings == 12  # at 5 to 10 and 11 to 16 s


def test_the_power_of_warm_ups_and_pauses_does_not_count() -> None:
    readings = every_second("power_w.x", {t / 4: 100.0 if t / 4 < 4.9 else 2.0 for t in range(72)})
    (energy,) = image_energies(measured(drawn(readings)))
    assert energy.image_j == pytest.approx(12.0)


def test_a_ramp_is_cut_on_the_straight_line_between_two_readings() -> None:
    # P(t) = t, read at other times than the images' borders: 5 to 17 s hold (17² - 5²) / 2 J
    readings = every_second("power_w.x", {0.3 + t: 0.3 + t for t in range(18)})
    (energy,) = image_energies(measured(drawn(readings)))
    assert energy.image_j == pytest.approx((17**2 - 5**2) / 2 / 2)


def test_a_counter_is_differenced_between_the_images_borders() -> None:
    readings = every_second("energy_j.package-0", {0.5 + t: 7.0 * (0.5 + t) for t in range(18)})
    (energy,) = image_energies(measured(drawn(readings)))
    assert energy.image_j == pytest.approx(42.0)
    assert energy.method == "counter"


def test_every_process_has_its_own_value_and_sustained_runs_count() -> None:
    low = drawn(every_second("power_w.x", {float(t): 1.0 for t in range(19)}))
    high = drawn(every_second("power_w.x", {float(t): 2.0 for t in range(19)}), "sustained")
    (energy,) = image_energies(measured(low, high))
    assert energy.restarts_j == (pytest.approx(6.0), pytest.approx(12.0))
    assert energy.image_j == pytest.approx(9.0)
    assert energy.images == 4


@pytest.mark.parametrize(
    "readings",
    [
        {},
        {float(t): {"temperature_c.cpu": 50.0} for t in range(19)},
        {float(t): {"power_w.x": None} for t in range(19)},
        {float(t): {"power_w.x": 5.0} for t in (4, 8, 12, 16, 18)[: LEAST_READINGS - 1]},
        {float(t): {"power_w.x": 5.0} for t in range(6, 10)},  # within one image
    ],
    ids=["no sensor", "no power", "no answer", "too few readings", "no image is covered"],
)
def test_what_no_sensor_tells_is_nothing_and_not_zero(
    readings: dict[float, dict[str, float | None]],
) -> None:
    assert image_energies(measured(drawn(readings))) == ()


def test_an_image_during_which_the_sensor_was_silent_is_left_out() -> None:
    answers = {t / 2: 10.0 for t in range(37) if not 12 < t / 2 < 17.5}
    (energy,) = image_energies(measured(drawn(every_second("power_w.x", answers))))
    assert energy.images == 1
    assert energy.image_j == pytest.approx(60.0)


def test_idle_power_is_subtracted_only_where_it_is_known() -> None:
    readings = {float(t): {"power_w.a": 10.0, "power_w.b": 10.0} for t in range(19)}
    a, b = image_energies(measured(drawn(readings)), idle_w={"power_w.a": 4.0})
    assert (a.image_j, a.idle_w) == (pytest.approx(36.0), 4.0)
    assert (b.image_j, b.idle_w) == (pytest.approx(60.0), None)


def test_rails_within_another_are_told_and_the_one_that_holds_all_is_found() -> None:
    rails = ("power_w.VDD_IN", "power_w.VDD_CPU_GPU_CV", "power_w.VDD_SOC")
    readings = {float(t): dict.fromkeys(rails, 3.0) for t in range(19)}
    energies = image_energies(measured(drawn({t: dict(r) for t, r in readings.items()})))
    assert {energy.sensor: energy.within for energy in energies} == {
        "power_w.VDD_CPU_GPU_CV": ("power_w.VDD_IN",),
        "power_w.VDD_IN": (),
        "power_w.VDD_SOC": ("power_w.VDD_IN",),
    }
    top = whole(energies)
    assert top is not None
    assert top.sensor == "power_w.VDD_IN"


def test_no_sum_is_made_of_rails_that_stand_beside_each_other() -> None:
    readings = {
        float(t): {"power_w.VDD_GPU_SOC": 4.0, "power_w.VDD_CPU_CV": 2.0} for t in range(19)
    }
    energies = image_energies(measured(drawn({t: dict(r) for t, r in readings.items()})))
    assert [energy.image_j for energy in energies] == [pytest.approx(12.0), pytest.approx(24.0)]
    assert whole(energies) is None


@pytest.mark.parametrize(
    ("sensors", "expected"),
    [
        (("energy_j.package-0",), None),
        (("energy_j.package-0", "energy_j.package-0.core"), None),
        (("power_w.amdgpu.power",), None),
        (("power_w.combined", "power_w.cpu"), None),
        (("energy_j.psys", "energy_j.package-0"), "energy_j.psys"),
        (("power_w.battery", "power_w.combined"), "power_w.battery"),
        (("power_w.pmic_rails", "power_w.pmic.VDD_CORE"), "power_w.pmic_rails"),
        (("power_w.VDD_IN", "power_w.VDD_MUX"), None),
    ],
)
def test_only_a_sensor_that_is_known_to_see_the_device_stands_for_it(
    sensors: tuple[str, ...], expected: str | None
) -> None:
    readings = {float(t): dict.fromkeys(sensors, 3.0 + t) for t in range(19)}
    top = whole(image_energies(measured(drawn({t: dict(r) for t, r in readings.items()}))))
    assert (None if top is None else top.sensor) == expected


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("energy_j.package-0", "energy_j.package-0.core", True),
        ("energy_j.package-0", "energy_j.package-0.dram", False),
        ("energy_j.package-0", "energy_j.package-1.core", False),
        ("energy_j.package-0", "energy_j.package-0", False),
        ("energy_j.psys", "energy_j.package-1", True),
        ("power_w.pmic_rails", "power_w.pmic.VDD_CORE", True),
        ("power_w.pmic.VDD_CORE", "power_w.pmic_rails", False),
        ("power_w.combined", "power_w.gpu", True),
        ("power_w.POM_5V_IN", "power_w.POM_5V_CPU", True),
        ("power_w.VDD_IN", "power_w.VDD_MUX", False),
        ("power_w.VDD_IN", "power_w.VDD_SYS_DDR", True),
        ("power_w.battery", "energy_j.package-0", True),
    ],
)
def test_what_contains_what(outer: str, inner: str, expected: bool) -> None:
    assert contains(outer, inner) is expected
