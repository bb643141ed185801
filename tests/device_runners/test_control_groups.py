"""What control groups allow, on trees of files as containers see them (synthetic)."""

from pathlib import Path

import pytest
from edgegen_runner.agent.facts import describe
from edgegen_runner.agent.paths import Folders
from edgegen_runner.sensors import control_groups
from edgegen_runner.sensors.readers import find_sensors, read_all

from edgegen.devices.control_groups import cpu_quota
from edgegen.devices.host import host_profile, read_memory
from edgegen.doctor.system import check_machine
from tests.device_runners.sensor_tools import plant

GIB = 1 << 30
MACHINE = "MemTotal:  16777216 kB\nMemAvailable:  8388608 kB"  # 16 GiB

TREES = {
    "version 2, nested": (
        "0::/a.slice/b.scope",
        {
            "a.slice/cpu.max": "150000 100000",
            "a.slice/b.scope/cpu.max": "max 100000",
            "a.slice/cpu.stat": "nr_periods 321\nnr_throttled 318\nthrottled_usec 16000000",
            "a.slice/memory.max": str(2 * GIB),
            "a.slice/memory.current": str(GIB),
            "a.slice/memory.stat": f"anon 5\ninactive_file {GIB // 2}",
            "a.slice/b.scope/memory.max": "max",
        },
    ),
    "version 2, a container": (
        "0::/",
        {
            "cpu.max": "150000 100000",
            "cpu.stat": "nr_periods 321\nnr_throttled 318\nthrottled_usec 16000000",
            "memory.max": str(2 * GIB),
            "memory.current": str(GIB),
            "memory.stat": f"inactive_file {GIB // 2}",
        },
    ),
    "version 2, a group of the outside": (
        "0::/../../system.slice/docker.service",
        {
            "cpu.max": "150000 100000",
            "cpu.stat": "nr_periods 321\nnr_throttled 318\nthrottled_usec 16000000",
            "memory.high": str(2 * GIB),
            "memory.current": str(GIB // 2),
        },
    ),
    "version 1, nested": (
        "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n0::/",
        {
            "cpu,cpuacct/docker/cpu.cfs_quota_us": "75000",
            "cpu,cpuacct/docker/cpu.cfs_period_us": "50000",
            "cpu,cpuacct/docker/cpu.stat": (
                "nr_periods 321\nnr_throttled 318\nthrottled_time 16000000000"
            ),
            "cpu,cpuacct/docker/1/cpu.cfs_quota_us": "-1",
            "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
            "memory/docker/memory.limit_in_bytes": str(2 * GIB),
            "memory/docker/memory.usage_in_bytes": str(GIB),
            "memory/docker/memory.stat": f"cache 7\ntotal_inactive_file {GIB // 2}",
            "memory/memory.limit_in_bytes": "9223372036854771712",
        },
    ),
    "version 1, a container": (
        "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1",
        {
            "cpu/cpu.cfs_quota_us": "150000",
            "cpu/cpu.cfs_period_us": "100000",
            "cpu/cpu.stat": "nr_periods 321\nnr_throttled 318\nthrottled_time 16000000000",
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/memory.usage_in_bytes": str(GIB // 2),
            "memory/memory.stat": f"hierarchical_memory_limit {2 * GIB}",
        },
    ),
}


def grow(root: Path, name: str) -> Path:
    own, files = TREES[name]
    plant(root, {"proc/self/cgroup": own, "proc/meminfo": MACHINE})
    return plant(root, {f"sys/fs/cgroup/{file}": text for file, text in files.items()})


@pytest.mark.parametrize("name", TREES)
def test_the_lowest_quota_and_limit_of_all_groups_count(tmp_path: Path, name: str) -> None:
    root = grow(tmp_path, name)
    assert control_groups.cpu_quota(root) == 1.5
    assert control_groups.memory_limit(root) == control_groups.MemoryLimit(
        limit_bytes=2 * GIB, left_bytes=3 * GIB // 2
    )
    assert control_groups.throttling(root) == control_groups.Throttling(
        periods=321, throttled_periods=318, throttled_s=pytest.approx(16)
    )


@pytest.mark.parametrize("name", TREES)
def test_the_hosts_own_profile_reads_the_same_as_a_devices_agent(tmp_path: Path, name: str) -> None:
    root = grow(tmp_path, name)
    memory = read_memory(root)
    assert control_groups.memory_limit(root) == control_groups.MemoryLimit(
        limit_bytes=memory.limit_bytes or 0, left_bytes=memory.limit_left_bytes or 0
    )
    assert cpu_quota(root) == control_groups.cpu_quota(root)
    assert "1.5 cores' time" in host_profile(root).notes
    told = {finding.name: finding.found for finding in check_machine(root)}
    assert told["CPU quota"].startswith("1.5 cores' time")
    assert told["memory limit"].startswith("2.15 GB")
    facts = describe(Folders(tmp_path / "edgegen"), root)
    assert facts["cpu_quota"] == 1.5
    assert facts["memory_limit_bytes"] == 2 * GIB
    assert facts["available_memory_bytes"] == memory.usable_bytes


@pytest.mark.parametrize("name", TREES)
def test_the_quotas_counters_are_sensors(tmp_path: Path, name: str) -> None:
    values = read_all(find_sensors(grow(tmp_path, name), readers=("cgroup_cpu",)))
    assert values == {
        "throttle_count.cgroup": 318,
        "period_count.cgroup": 321,
        "throttled_s.cgroup": pytest.approx(16),
    }


@pytest.mark.parametrize(("quota", "cores", "threads"), [(1.5, 8, 2), (0.3, 8, 1), (4, 4, None)])
def test_threads_are_as_many_as_the_quota_feeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: float, cores: int, threads: int | None
) -> None:
    monkeypatch.setattr(control_groups, "usable_cores", lambda: cores)
    plant(tmp_path, {"proc/self/cgroup": "0::/"})
    plant(tmp_path, {"sys/fs/cgroup/cpu.max": f"{quota * 1e5:.0f} 100000"})
    assert control_groups.threads_within_quota(tmp_path) == threads


@pytest.mark.parametrize(
    "text", ["max 100000", "", "0 0", "-1 100000", "150000", "nan 100000", "1e999 1", "a b c"]
)
def test_what_is_no_quota_limits_nothing(tmp_path: Path, text: str) -> None:
    plant(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": text})
    assert control_groups.cpu_quota(tmp_path) is None
    assert control_groups.throttling(tmp_path) is None


def test_a_limit_above_the_machines_memory_limits_nothing(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/self/cgroup": "0::/", "proc/meminfo": MACHINE})
    plant(tmp_path, {"sys/fs/cgroup/memory.max": str(17 * GIB)})
    assert control_groups.memory_limit(tmp_path) is None


@pytest.mark.parametrize(
    "path", ["//", "//../..", "/a//b/../..//", "", "/" + "x/" * 30_000, "a b:c"]
)
def test_no_path_of_a_group_leads_out_of_the_hierarchy_or_hangs(tmp_path: Path, path: str) -> None:
    plant(tmp_path, {"proc/self/cgroup": f"0::{path}\nnonsense\n1:x\n:::"})
    top = tmp_path / "sys/fs/cgroup"
    for group in control_groups.groups(tmp_path, "cpu"):
        assert group.folder == top or top in group.folder.parents
