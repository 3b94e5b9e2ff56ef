"""What a local trial shows, on a terminal and without one."""

import io
from typing import Any

import pytest

from tests.unit.trainer.operator_server import session_response
from tune_trainer.local.display import Display
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.result import Result


class Stream(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class Shown:
    """A display with a clock of the test's."""

    def __init__(self, *, terminal: bool, **session: Any) -> None:
        self.now = 0.0
        self.stream = Stream(terminal=terminal)
        self.display = Display(session_response(**session), self.stream, lambda: self.now)

    def result(self, iteration: int, value: float) -> None:
        metrics = {"training_iteration": iteration, "value": value, "time_this_iter_s": 0.25}
        self.display.results([Result(iteration, metrics)])

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("session", "line"),
    [
        ({}, "iteration 2/10  value 3  best 5 (iteration 1)  0.25 s each"),
        ({"mode": "min"}, "iteration 2/10  value 3  best 3 (iteration 2)  0.25 s each"),
        ({"criteria": {"value": 9.0}}, "iteration 2  value 3  best 5 (iteration 1)  0.25 s each"),
        ({"metric": "training_iteration"}, "iteration 2/10  0.25 s each"),
    ],
    ids=["max", "min", "no known end", "no objective"],
)
def test_the_line(session: dict[str, Any], line: str) -> None:
    shown = Shown(terminal=False, **session)
    shown.result(1, 5.0)
    shown.result(2, 3.0)
    assert shown.display.line() == line


def test_nan_is_never_best() -> None:
    shown = Shown(terminal=False)
    shown.result(1, float("nan"))
    assert shown.display.best is None
    shown.result(2, 1.0)
    shown.result(3, float("nan"))
    assert shown.display.best == (1.0, 2)


def test_without_a_terminal_a_line_a_second_and_the_last() -> None:
    shown = Shown(terminal=False)
    for iteration in range(1, 8):
        shown.now += 0.4
        shown.result(iteration, iteration)
    shown.display.saved([CheckpointRef(1, 6)])
    shown.display.close()
    assert [line.split("  ")[0] for line in shown.lines] == [
        "iteration 1/10", "iteration 4/10", "iteration 7/10", "iteration 7/10",
    ]  # fmt: skip
    assert shown.lines[-1].endswith("saved 6")


def test_on_a_terminal_one_line_is_redrawn_below_what_is_noted() -> None:
    shown = Shown(terminal=True)
    shown.result(1, 1.0)
    shown.display.note("a warning")
    shown.result(5, 2.0)
    shown.display.close()
    first, second, last = shown.stream.getvalue().split("\r\x1b[K")[1:]
    assert first.startswith("[##..................] iteration 1/10")
    assert second == f"a warning\n{first}"
    assert last.startswith("[##########..........] iteration 5/10")
    assert last.endswith("\n")


def test_what_ended_is_not_drawn_again() -> None:
    shown = Shown(terminal=False)
    shown.result(1, 1.0)
    shown.display.close()
    shown.display.close()
    shown.display.saved([CheckpointRef(1, 1)])
    assert len(shown.lines) == 1
