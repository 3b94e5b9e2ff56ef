"""Taking a cluster down: the order, and what belongs to it."""

import threading
from pathlib import Path

import pytest

from dev.cluster import cgroups, teardown
from dev.cluster.commands import Cancelled, Commands
from dev.cluster.errors import ClusterError
from dev.cluster.locks import locked

MOUNTS = r"""
22 1 8:1 / / rw - ext4 /dev/vda rw
30 22 0:30 / /c/a/run/sandbox rw - tmpfs shm rw
31 30 0:31 / /c/a/run/sandbox/deep rw - tmpfs shm rw
32 22 0:32 / /c/ab/run rw - tmpfs shm rw
33 22 0:33 / /c/a/with\040blank rw - tmpfs shm rw
34 22 0:34 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
35 22 0:35 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw
""".strip()


def test_mounts_of_the_cluster_come_deepest_first() -> None:
    assert teardown.mounts_below("/c/a", MOUNTS) == [
        "/c/a/run/sandbox/deep",
        "/c/a/run/sandbox",
        "/c/a/with blank",
    ]


def test_cgroup_hierarchies_of_both_versions_are_found() -> None:
    found = cgroups.hierarchies(MOUNTS)
    assert found == [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/unified")]


def test_what_starts_pods_stops_first_and_the_store_of_the_api_last() -> None:
    names = ["containerd", "etcd", "kube-apiserver", "kubelet", "kube-scheduler", "minio"]
    order = teardown.stop_order(names)
    assert order[0] == "kubelet"
    assert order[-3:] == ["containerd", "kube-apiserver", "etcd"]
    assert sorted(order) == sorted(names)


def test_a_lock_excludes_and_survives_the_removal_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    waiting, seen = threading.Event(), []

    def second() -> None:
        with locked(path, waiting.set):
            seen.append("second")

    thread = threading.Thread(target=second)
    with locked(path):
        thread.start()
        assert waiting.wait(10)
        seen.append("first")
        path.unlink()
    thread.join(10)
    assert seen == ["first", "second"]
    assert path.exists()


def test_a_command_s_answer_and_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert Commands().run(["sh", "-c", "echo out; echo err >&2"], log) == "out\n"
    assert set(log.read_text().split()) == {"out", "err"}


def test_a_failed_command_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="false") as error:
        Commands().run(["false"], tmp_path / "log")
    assert error.value.log == tmp_path / "log"


def test_cancel_ends_what_runs_and_what_would(tmp_path: Path) -> None:
    commands = Commands()
    outcome: list[BaseException] = []
    started = threading.Event()

    def run() -> None:
        try:
            script = "echo up >&2; exec sleep 600"
            commands.watch(["sh", "-c", script], tmp_path / "log", lambda _line: started.set())
        except ClusterError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    commands.cancel()
    thread.join(10)
    assert isinstance(outcome[0], Cancelled)
    with pytest.raises(Cancelled):
        commands.run(["true"], tmp_path / "log")
