"""Every place for one fault, and for two: nothing that a random search could have missed.

The reference run has 2 trials with 3 attempts each: the first crashes, the second is evicted, the
third completes. Whatever befalls the operator at any one of its writes, attempts and counters at
the end are the same: a crash of the operator is no event in the life of a trial.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import combinations

import pytest

from tests.cases import ran
from tests.model.cases import THOROUGH
from tests.model.history import hold
from tests.model.play import Play
from tests.model.process import Process
from tests.model.wire import Call
from tune_operator.kube.transport import Object
from tune_operator.lifecycle.pod_view import project
from tune_operator.lifecycle.trial_state import Phase
from tune_trainer.protocol.exit_record import Outcome

pytestmark = pytest.mark.timeout(300)  # pure computing: a busy machine takes its time
ROUNDS = 120


class Fault(StrEnum):
    """What can befall one write."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    LOST_ANSWER = "lost answer"
    CRASH_LATE = "crash before, and it arrives after the restart"
    REFUSED = "refused"
    LATE = "given up, and it arrives after the next write"


class Script(Play):
    """A run in which trainers end as they are told, and faults strike writes by their number.

    ``endings`` has a letter for each attempt: f(ailed), e(victed), c(ompleted).
    """

    def __init__(self, endings: str, trials: int, faults: Mapping[int, Fault]) -> None:
        super().__init__(operators=1)
        self.edit_spec(lambda spec: spec.update(numSamples=trials))
        self.endings = endings
        self.last_iteration = len(endings)  # one for each attempt
        self.faults = faults
        self.writes = 0
        self.late: list[Call] = []

    @property
    def operator(self) -> Process:
        """The only one."""
        return self.operators[0]

    def run(self) -> None:
        """To the end, which is always the same."""
        for _ in range(ROUNDS):
            self.wait_seconds(1.0)
            for pod in self.pods():
                self._follow_script(pod)
            self._let_it_work()
            if self.history.state.ended is not None and not self.pods():
                break
        over = self.history.state.ended is not None and not self.pods()
        hold("P13", over, f"no end is reached: {self.history.state}")
        expected = self.endings.count("f"), self.endings.count("e")
        for trial in self.history.state.trials:
            found = (trial.phase, trial.attempt, trial.failures, trial.disruptions)
            same = found == (Phase.TERMINATED, len(self.endings), *expected)
            hold("P8", same, f"a fault of the operator shows in {trial}")

    def _let_it_work(self) -> None:
        self.operator.hear_all()
        while self.operator.wire.calls:
            call = self.operator.wire.calls[0]
            if call.writes:
                self.writes += 1
                self._write(call, self.faults.get(self.writes))
            else:
                self.operator.passes(call)
            self.operator.hear_all()

    def _write(self, call: Call, fault: Fault | None) -> None:
        wire = self.operator.wire
        match fault:
            case None:
                self.operator.passes(call)
            case Fault.CRASH_BEFORE | Fault.CRASH_AFTER | Fault.CRASH_LATE:
                if fault is Fault.CRASH_AFTER:
                    wire.happens(call)
                self.crash(0)
                self.orphans.clear()
            case Fault.REFUSED:
                wire.fails(call)
            case Fault.LOST_ANSWER:
                wire.loses(call)
            case Fault.LATE:
                wire.hangs(call)
                wire.calls.remove(call)
        for late in self.late:
            late.happen()
        self.late = [call] if fault in (Fault.LATE, Fault.CRASH_LATE) else []
        self.operator.turn()

    def _follow_script(self, pod: Object) -> None:
        view = project(pod)
        trainer = self.trainers.get(view.uid)
        ending = ""
        if trainer is not None and trainer.seq > 0 and not trainer.asking and not view.deleted:
            ending = self.endings[trainer.attempt - 1]
        if trainer is not None and ending == "f":
            self._record(trainer, Outcome.FAILED)
            self._stop(pod, 1)
        elif ending == "e":
            self.evict(self.pods().index(pod))
        else:
            self.behave(pod, self.operator)


def play(endings: str, trials: int, faults: Mapping[int, Fault]) -> int:
    """One run with these faults. How many writes it had."""
    with Script(endings, trials, faults) as script:
        script.run()
    return script.writes


def placements(endings: str, trials: int) -> Iterator[int]:
    """All writes of the run when nothing goes wrong."""
    return iter(range(1, play(endings, trials, {}) + 1))


ONE = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.LOST_ANSWER)
# A crash before a write is much like one after the write before it.
TWO = (Fault.CRASH_AFTER, Fault.LOST_ANSWER)


@pytest.mark.parametrize("fault", Fault if THOROUGH else ONE)
def test_one_fault_at_any_write(fault: Fault, request: pytest.FixtureRequest) -> None:
    number = 0
    for number in placements("fec", 2):
        play("fec", 2, {number: fault})
    ran(request.node.nodeid, number - 1)  # the test itself counts as one


@pytest.mark.parametrize("second", Fault if THOROUGH else TWO[:1])
@pytest.mark.parametrize("first", Fault if THOROUGH else TWO)
def test_two_faults_at_any_writes_of_a_short_run(
    first: Fault, second: Fault, request: pytest.FixtureRequest
) -> None:
    pairs = list(combinations(placements("c", 1), 2))
    for one, two in pairs:
        play("c", 1, {one: first, two: second})
    ran(request.node.nodeid, len(pairs) - 1)
