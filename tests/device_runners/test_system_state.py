"""What a Linux system says of itself, from copies of its files."""

from pathlib import Path

import pytest
from edgegen_runner.agent import system_state

from edgegen.devices.answers import read_answer
from edgegen.devices.facts import SystemState

VIRTUAL_X86 = (
    "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu hypervisor sse\n"
)
REAL_X86 = "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM)\nflags\t\t: fpu sse\n"
RASPBERRY_PI_5 = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"


def read_system_state(root: Path = Path("/"), *, machine: str | None = None) -> SystemState:
    """Return the state as the host reads it from the agent's answer."""
    answer = system_state.read_system_state(root, machine=machine)
    return read_answer(SystemState, "local", "state", answer)


def system(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_a_virtual_machine_is_told_by_the_processors_flag(tmp_path: Path) -> None:
    assert read_system_state(system(tmp_path, proc__cpuinfo=VIRTUAL_X86), machine="x86_64") == (
        read_system_state(tmp_path, machine="x86_64")
    )
    assert read_system_state(tmp_path, machine="x86_64").virtual_machine is True


def test_an_x86_machine_without_the_flag_is_a_real_one(tmp_path: Path) -> None:
    system(tmp_path, proc__cpuinfo=REAL_X86)
    assert read_system_state(tmp_path, machine="x86_64").virtual_machine is False


def test_an_arm_machine_without_a_hypervisors_name_is_not_known_to_be_real(tmp_path: Path) -> None:
    system(tmp_path, proc__cpuinfo=RASPBERRY_PI_5)
    state = read_system_state(tmp_path, machine="aarch64")
    assert state.virtual_machine is None
    assert state.emulated is False


@pytest.mark.parametrize(
    ("vendor", "product", "name"),
    [
        ("QEMU", "Standard PC", "QEMU"),
        ("Amazon EC2", "m7g.large", "Amazon EC2"),
        ("Microsoft Corporation", "Virtual Machine", "Hyper-V"),
        ("Microsoft Corporation", "Surface Pro 9", None),
        ("Google", "Google Compute Engine", "Google Compute Engine"),
        ("Google", "Kohaku", None),
    ],
)
def test_a_hypervisor_is_named_by_the_firmwares_vendor(
    tmp_path: Path, vendor: str, product: str, name: str | None
) -> None:
    system(
        tmp_path, sys__class__dmi__id__sys_vendor=vendor, sys__class__dmi__id__product_name=product
    )
    assert read_system_state(tmp_path, machine="aarch64").hypervisor == name


def test_an_x86_processor_that_claims_to_be_arm_is_emulated(tmp_path: Path) -> None:
    # qemu-user shows the host's own /proc/cpuinfo.
    system(tmp_path, proc__cpuinfo=REAL_X86)
    assert read_system_state(tmp_path, machine="aarch64").emulated is True
    assert read_system_state(tmp_path, machine="x86_64").emulated is False


def test_governor_load_and_system_are_read(tmp_path: Path) -> None:
    system(
        tmp_path,
        sys__devices__system__cpu__cpu0__cpufreq__scaling_governor="ondemand\n",
        proc__loadavg="1.25 0.50 0.10 2/99 9218\n",
    )
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").write_text('ID=x\nPRETTY_NAME="A Linux 12"\n')
    state = read_system_state(tmp_path)
    assert state.governor == "ondemand"
    assert state.load_average == (1.25, 0.5, 0.1)
    assert state.operating_system.startswith("A Linux 12, ")


def test_what_a_system_does_not_say_is_none(tmp_path: Path) -> None:
    state = read_system_state(tmp_path, machine="riscv64")
    assert state.governor is None
    assert state.load_average is None
    assert state.virtual_machine is None
    assert state.emulated is False


def test_this_machine_can_be_read() -> None:
    assert read_system_state().operating_system
