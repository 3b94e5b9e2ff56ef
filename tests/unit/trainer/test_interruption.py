"""What a signal means in each phase, and who ends the process."""

import math
import threading

import pytest

from tune_trainer.interruption import Interruption
from tune_trainer.pace import Pace

WAIT = 20.0


class Process:
    """An interruption whose process only notes its exit code."""

    def __init__(self, grace: float = 0.2) -> None:
        self.code: int | None = None
        self.left = threading.Event()
        self.gave_up: list[tuple[str, float]] = []
        self.hurried = threading.Event()
        self.interruption = Interruption(grace, self._leave)

    def start(self) -> None:
        self.interruption.starting(self._give_up, self.hurried.set)

    def _leave(self, code: int) -> None:
        assert self.code is None
        self.code = code
        self.left.set()

    def _give_up(self, signal: str, seconds: float) -> int:
        self.gave_up.append((signal, seconds))
        return 0

    def notice(self, name: str) -> None:
        self.interruption.notice(name)

    def ended(self) -> int | None:
        assert self.left.wait(WAIT)
        return self.code


class Steps:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def shortest_remaining(self) -> float:
        return self.seconds


def test_without_a_session_there_is_nothing_to_write() -> None:
    process = Process()
    process.notice("SIGTERM")
    assert process.code == 75


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_before_training_there_is_nothing_to_save(name: str) -> None:
    process = Process(grace=3600)
    process.start()
    process.notice(name)
    assert process.ended() == 0
    [(signal, seconds)] = process.gave_up
    assert signal == name
    assert 0 < seconds < 3600
    assert process.hurried.is_set()


def test_an_iteration_in_time_ends_by_itself() -> None:
    process = Process(grace=3600)
    process.start()
    process.interruption.training(Steps(1.0))
    process.notice("SIGTERM")
    assert process.interruption.requested.is_set()
    assert process.interruption.signal == "SIGTERM"
    process.interruption.ended(0)
    assert process.code is None


def test_an_iteration_that_is_late_is_given_up() -> None:
    process = Process(grace=0.2)
    process.start()
    process.interruption.training(Steps(0.0))
    process.notice("SIGTERM")
    assert process.ended() == 0
    assert process.gave_up[0][1] <= 0.2


def test_an_iteration_that_cannot_be_in_time_is_not_waited_for() -> None:
    process = Process(grace=3600)
    process.start()
    process.interruption.training(Steps(3599.0))
    process.notice("SIGTERM")
    assert process.ended() == 0


def test_an_upload_gets_the_time_that_is_not_waited_for_an_iteration() -> None:
    process = Process(grace=3600)
    process.start()
    waited: list[float] = []

    def settle(seconds: float) -> None:
        assert process.gave_up == []
        waited.append(seconds)

    process.interruption.training(Steps(3599.0), settle)
    assert process.interruption.seconds_left() == math.inf
    process.notice("SIGTERM")
    assert process.ended() == 0
    assert waited == [3590.0]
    assert len(process.gave_up) == 1
    assert 3580 < process.interruption.seconds_left() <= 3590


def test_a_second_sigint_ends_at_once() -> None:
    process = Process(grace=3600)
    process.start()
    process.interruption.training(Steps(0.0))
    process.notice("SIGINT")
    process.notice("SIGTERM")
    assert process.code is None
    process.notice("SIGINT")
    assert process.code == 130


def test_after_the_end_a_signal_only_hurries() -> None:
    process = Process()
    process.start()
    process.interruption.ended(1)
    process.notice("SIGTERM")
    assert process.code == 1


def test_an_end_that_hangs_is_cut_at_the_grace() -> None:
    process = Process(grace=0.2)
    process.start()
    process.interruption.training(Steps(0.0))
    process.notice("SIGTERM")
    process.interruption.ended(0)
    assert process.ended() == 0
    assert process.gave_up == []


def test_the_pace_is_that_of_the_fastest_iteration() -> None:
    now = [0.0]
    pace = Pace(lambda: 2.0, clock=lambda: now[0])
    assert pace.shortest_remaining() == 0.0
    pace.begin()
    assert pace.shortest_remaining() == 0.0  # nothing is known: wait
    now[0] = 10.0
    assert pace.end() == 10.0
    pace.begin()
    now[0] = 17.0
    pace.end()
    assert pace.shortest_remaining() == 0.0  # between iterations
    pace.begin()
    now[0] = 20.0
    assert pace.shortest_remaining() == 7.0 - 3.0 + 2.0
    now[0] = 90.0
    assert pace.shortest_remaining() == 2.0
