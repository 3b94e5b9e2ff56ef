"""Servers by pid file, with real processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.cluster.errors import ClusterError
from dev.cluster.processes import Component, Process, Processes

WAITS = "import time; print('started', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    for folder in ("run", "logs"):
        (tmp_path / folder).mkdir()
    made = Processes(tmp_path / "run", tmp_path / "logs")
    yield made
    for name in made.names():
        made.stop(name)


def component(
    program: str, ready: Callable[[], bool] = lambda: True, **environment: str
) -> Component:
    return Component("server", [sys.executable, "-c", program], environment, [], ready)


def started(processes: Processes, program: str = WAITS, **environment: str) -> Process:
    """Start and wait until the program itself runs."""
    log = processes.log("server")
    before = log.read_text().count("started") if log.exists() else 0
    server = component(program, lambda: log.read_text().count("started") > before, **environment)
    processes.ensure(server)
    processes.wait(server, 20)
    process = processes.running("server")
    assert process is not None
    return process


def test_the_pid_file_names_the_program_itself(processes: Processes) -> None:
    process = started(processes)
    assert WAITS.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes()


def test_the_same_component_is_not_started_twice(processes: Processes) -> None:
    process = started(processes)
    processes.ensure(component(WAITS))
    assert processes.running("server") == process


def test_a_changed_component_is_restarted(processes: Processes) -> None:
    process = started(processes)
    assert started(processes, WAITS, COLOUR="green").pid != process.pid
    assert not process.alive()


def test_a_changed_file_makes_another_component(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("a")
    before = Component("server", [], {}, [file], lambda: True).digest()
    file.write_text("b")
    assert Component("server", [], {}, [file], lambda: True).digest() != before


@pytest.mark.parametrize("program", [WAITS, STUBBORN], ids=["obedient", "stubborn"])
def test_a_stopped_process_is_gone(processes: Processes, program: str) -> None:
    process = started(processes, program)
    process.stop(grace_seconds=0.2)
    assert not process.alive()
    processes.stop("server")
    assert processes.names() == []


def test_a_reused_pid_is_not_our_process(processes: Processes) -> None:
    process = started(processes)
    other = Process(process.pid, process.started + 1, process.boot, process.digest)
    earlier_boot = Process(process.pid, process.started, "another boot", process.digest)
    for stranger in (other, earlier_boot):
        assert not stranger.alive()
        stranger.stop(grace_seconds=0.1)
    assert process.alive()


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert not Process(child.pid, int(fields[19]), boot, "").alive()
    child.wait()


@pytest.mark.parametrize("text", ["", "{", json.dumps({"pid": 1}), "[]"])
def test_an_unreadable_pid_file_names_nobody(processes: Processes, text: str) -> None:
    processes.pid_file("server").write_text(text)
    assert processes.running("server") is None


def test_a_server_that_ends_is_an_error_with_its_last_words(processes: Processes) -> None:
    server = component("raise SystemExit('no such flag')", lambda: False)
    processes.ensure(server)
    with pytest.raises(ClusterError, match="no such flag") as error:
        processes.wait(server, 20)
    assert error.value.log == processes.log("server")


def test_a_server_without_an_answer_is_an_error(processes: Processes) -> None:
    server = component(WAITS, lambda: False)
    processes.ensure(server)
    begun = time.monotonic()
    with pytest.raises(ClusterError, match="no answer"):
        processes.wait(server, 0.3)
    assert time.monotonic() - begun < 10
