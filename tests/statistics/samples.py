"""A measurement made up of known numbers, for tests of what reads measurements."""

import functools
import random
from collections.abc import Sequence
from dataclasses import replace

from edgegen.core.measurement import (
    SCHEMA_VERSION,
    Environment,
    GoldenCheck,
    ImageSample,
    Load,
    Measurement,
    MemoryPeak,
    PackageIdentity,
    PageCache,
    Phase,
    Run,
    RunKind,
    SensorSample,
    StartTemperature,
    Step,
    Workload,
)
from edgegen.statistics.analysis import Analysis, analyse


def image(
    index: int,
    start_s: float,
    step_seconds: Sequence[float],
    *,
    warmup: bool = False,
    text_s: float = 0.02,
    decode_s: float = 0.15,
    between_s: float = 0.001,
) -> ImageSample:
    """An image whose parts follow each other without gaps, but for `between_s` at its end."""
    now = start_s + text_s
    steps = []
    for i, taken_s in enumerate(step_seconds):
        steps.append(
            Step(
                index=i,
                timestep=999.0 - i,
                start_s=now,
                end_s=now + taken_s,
                runtime_s=taken_s * 0.995,
            )
        )
        now += taken_s
    phases = (
        Phase(name="text_encoder", start_s=start_s, end_s=start_s + text_s, runtime_s=text_s),
        Phase(name="denoise", start_s=start_s + text_s, end_s=now, runtime_s=now - start_s),
        Phase(name="vae_decoder", start_s=now, end_s=now + decode_s, runtime_s=decode_s),
    )
    end_s = now + decode_s + between_s
    runtime_s = text_s + decode_s + 0.995 * sum(step_seconds)
    return ImageSample(
        index=index,
        seed=0,
        warmup=warmup,
        start_s=start_s,
        end_s=end_s,
        runtime_s=runtime_s,
        sha256="ab" * 32,
        phases=phases,
        steps=tuple(steps),
    )


def run(
    kind: RunKind, started_s: float, images: int, generator: random.Random, *, steps: int = 8
) -> Run:
    """A process that loads three components and makes a warm-up image and some more."""
    load_scale = 4.0 if kind == "cold" else 1.0
    loads, now = [], 0.05
    for component, seconds in (("text_encoder", 0.03), ("unet", 0.21), ("vae_decoder", 0.06)):
        taken_s = seconds * load_scale * generator.uniform(0.97, 1.03)
        loads.append(
            Load(
                component=component,
                start_s=now,
                end_s=now + taken_s,
                providers=("CPUExecutionProvider",),
            )
        )
        now += taken_s
    made, noise, base_s = [], 0.0, 0.100 * generator.uniform(0.985, 1.015)
    samples = []
    for index in range(images):
        step_seconds = []
        for _ in range(steps):
            noise = 0.6 * noise + generator.gauss(0, 0.002)
            step_seconds.append(base_s + noise + (0.03 if index == 0 else 0))
        made.append(image(index, now, step_seconds, warmup=index == 0))
        now = made[-1].end_s + 0.004
        samples.append(
            SensorSample(
                time_s=now,
                values={
                    "frequency_mhz.cpu0": 2400.0 - 3 * index,
                    "temperature_c.package": 48.0 + 4 * (1 - 0.6**index),
                    "temperature_c.gpu": None,
                },
            )
        )
    return Run(
        kind=kind,
        started_s=started_s,
        launch_s=0.35 * generator.uniform(0.95, 1.05),
        loads=tuple(loads),
        images=tuple(made),
        sensors=tuple(samples),
        memory=MemoryPeak(
            peak_pss_bytes=1_310_000_000,
            peak_anonymous_bytes=420_000_000,
            peak_file_bytes=890_000_000,
            peak_resident_bytes=1_320_000_000,
            read_bytes=880_000_000,
        )
        if kind == "memory"
        else None,
        page_cache=PageCache(
            file_bytes=900_000_000,
            resident_bytes=0 if kind == "cold" else 900_000_000,
            how="files evicted from the page cache" if kind == "cold" else "files as they lay",
        )
        if kind in ("cold", "steady")
        else None,
    )


def measurement(*, restarts: int = 3, images: int = 4, steps: int = 8) -> Measurement:
    """A measurement of `restarts` × `images` steady images, with all other runs."""
    generator = random.Random(3)
    runs = [run("cold", 1.0, 1, generator, steps=steps)]
    runs += [
        run("steady", 5.0 + 8 * i, images + 1, generator, steps=steps) for i in range(restarts)
    ]
    runs.append(run("memory", 40.0, 1, generator, steps=steps))
    return Measurement(
        schema_version=SCHEMA_VERSION,
        package=PackageIdentity(
            manifest_sha256="0123456789abcdef" * 4,
            model="example/tiny-diffusion",
            revision="8a7b6c5d4e3f",
            weights_sha256="fedcba9876543210" * 4,
            family="stable-diffusion",
            target="onnx",
            recipe="fp16-storage",
            profile="host",
            package_bytes=901_000_000,
        ),
        workload=Workload(
            prompt='a lighthouse at dawn, <oil> & "canvas"',
            negative_prompt="blurry",
            width=512,
            height=512,
            steps=steps,
            guidance=7.5,
            seed=0,
            scheduler="DPMSolverMultistepScheduler",
            providers=("CPUExecutionProvider",),
            threads=2,
        ),
        environment=Environment(
            device="local",
            machine="x86_64",
            operating_system="Debian GNU/Linux 12 (bookworm), Linux 6.1.0",
            processor="Example Processor 9000",
            cores=4,
            memory_bytes=16_000_000_000,
            governor="performance",
            virtual_machine=False,
            load_average=(0.12, 0.10, 0.09),
            versions={"edgegen": "0.1.0", "onnxruntime": "1.32.0", "numpy": "2.4.0"},
            started_at="2026-01-02T03:04:05+00:00",
        ),
        runs=tuple(runs),
        golden=(
            GoldenCheck(
                layer="component", name="unet", psnr_db=92.1, threshold_db=60.0, passed=True
            ),
            GoldenCheck(layer="image", name="image", threshold_db=45.0, passed=True),
        ),
        unseen=("power: no sensor",),
    )


def disturbed(original: Measurement) -> Measurement:
    """The same on an emulated, busy machine, with too few images."""
    environment = replace(
        original.environment,
        emulated=True,
        virtual_machine=True,
        hypervisor="QEMU",
        load_average=(3.7, 2.0, 1.0),
        governor="powersave",
    )
    return replace(original, environment=environment, quick=True, golden=())


SLOWDOWN_S = 75.0
SLOWDOWN_RATIO = 1.3


def sustained_run(
    *,
    duration_s: float = 150.0,
    step_s: float = 0.5,
    ratio: float = SLOWDOWN_RATIO,
    slower_from_s: float = SLOWDOWN_S,
    throttles: bool = True,
) -> Run:
    """A process that makes images of 8 steps; steps take `ratio` times as long from a moment on.

    Load and first image begin at 1 s. Where it `throttles`, the clock falls from 2400 to 1800 MHz
    and a flag is set at that moment. It heats from 48 °C up; the rails draw 6 W, 4.5 W afterwards.
    """
    generator = random.Random(5)
    made: list[ImageSample] = []
    now = 1.0
    while now < 1.0 + duration_s:
        steps, at = [], now + 0.02
        for _ in range(8):
            slow = ratio if at >= slower_from_s else 1.0
            steps.append(step_s * slow * (1 + generator.gauss(0, 0.01)))
            at += steps[-1]
        made.append(image(len(made), now, steps, warmup=not made))
        now = made[-1].end_s + 0.004
    samples = []
    for second in range(int(now) + 2):
        slow = throttles and second >= slower_from_s
        samples.append(
            SensorSample(
                time_s=float(second),
                cost_s=0.003,
                values={
                    "frequency_mhz.arm": 1800.0 if slow else 2400.0,
                    "temperature_c.soc": round(48 + 36 * (1 - 0.985**second), 1),
                    "throttle_flag.throttled": float(slow),
                    "power_w.pmic_rails": 4.5 if slow else 6.0,
                    "power_w.pmic.VDD_CORE": 3.0 if slow else 4.5,
                },
            )
        )
    load = Load(component="unet", start_s=0.4, end_s=0.9, providers=("CPUExecutionProvider",))
    return Run(
        kind="sustained",
        started_s=8.0,
        launch_s=0.35,
        loads=(load,),
        images=tuple(made),
        sensors=tuple(samples),
        page_cache=PageCache(
            file_bytes=900_000_000, resident_bytes=900_000_000, how="files as they lay"
        ),
    )


def sustained(run_: Run | None = None) -> Measurement:
    """A sustained measurement on a board that was reached over the network, and throttled."""
    usual = measurement(restarts=1)
    return replace(
        usual,
        environment=replace(
            usual.environment,
            device="ssh://pi@board",
            model="Raspberry Pi 5 Model B Rev 1.0",
            processor="Cortex-A76",
            machine="aarch64",
        ),
        runs=(usual.runs[0], run_ or sustained_run()),
        unseen=(),
        start_temperature=StartTemperature(
            sensor="temperature_c.soc", first_c=55.0, last_c=48.0, waited_s=62.0, reached=True
        ),
    )


@functools.cache
def throttled() -> Analysis:
    """The throttled measurement, analysed: that takes seconds."""
    return analyse(sustained())
