"""A run that is told how each attempt ends, with faults at numbered writes of the operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from tests.model.history import hold
from tests.model.play import Play
from tests.model.process import Process
from tests.model.wire import Call
from tune_operator.kube.transport import Object
from tune_operator.lifecycle.pod_view import project
from tune_operator.lifecycle.trial_state import Phase
from tune_trainer.protocol.exit_record import Outcome

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
