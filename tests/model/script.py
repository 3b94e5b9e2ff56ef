"""A run that is told how each attempt ends, with faults at numbered writes of the operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from tests.model.history import PLACE, hold
from tests.model.play import Play
from tests.model.process import GRACE_SECONDS, Process
from tests.model.wire import Call
from tune_operator.experiment.retention import PACE_SECONDS
from tune_operator.kube.transport import Object
from tune_operator.lifecycle.pod_view import project
from tune_operator.lifecycle.trial_state import Phase
from tune_trainer.protocol.exit_record import Outcome

ROUNDS = 120
PACE = int(PACE_SECONDS)


class Fault(StrEnum):
    """What can befall one write."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    LOST_ANSWER = "lost answer"
    CRASH_LATE = "crash before, and it arrives after the restart"
    REFUSED = "refused"
    LATE = "given up, and it arrives after the next write"
    THROTTLED = "429"
    OVERTAKEN = "somebody else writes the experiment first"


class Script(Play):
    """A run in which trainers end as they are told, and faults strike writes by their number.

    ``endings`` has a letter for each attempt of each trial: f(ailed), e(victed), c(ompleted).
    """

    def __init__(
        self, endings: Sequence[str], faults: Mapping[int, Fault], *, collects: bool = False
    ) -> None:
        super().__init__(operators=1, collects=collects)
        self.edit_spec(lambda spec: spec.update(numSamples=len(endings)))
        self.endings = endings
        self.last_iteration = max(map(len, endings))  # one for each attempt
        self.faults = faults
        self.writes = 0
        self.late: list[Call] = []

    @property
    def operator(self) -> Process:
        """The only one."""
        return self.operators[0]

    def run(self) -> None:
        """To the end, which is always the same."""
        self._until("the end", lambda: self.history.state.ended is not None and not self.pods())
        for trial, ends in zip(self.history.state.trials, self.endings, strict=True):
            found = (trial.phase, trial.attempt, trial.failures, trial.disruptions)
            same = found == (Phase.TERMINATED, len(ends), ends.count("f"), ends.count("e"))
            hold("P8", same, f"a fault of the operator shows in {trial}")

    def _until(self, what: str, reached: Callable[[], bool]) -> None:
        for _ in range(ROUNDS):
            self.wait_seconds(1.0)
            for pod in self.pods():
                self._follow_script(pod)
            self._let_it_work()
            if reached():
                return
        hold("P13", holds=False, what=f"{what} is not reached: {self.history.state}")

    def trains(self, attempt: int) -> bool:
        """All trials report in this attempt."""
        here = [t for t in self.trainers.values() if t.attempt == attempt and t.seq > 0]
        return len(here) == len(self.endings)

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
            case Fault.REFUSED | Fault.THROTTLED:
                wire.fails(call, throttled=fault is Fault.THROTTLED)
            case Fault.LOST_ANSWER:
                wire.loses(call)
            case Fault.LATE:
                wire.hangs(call)
                wire.calls.remove(call)
            case Fault.OVERTAKEN:
                self._annotate()
                self.operator.passes(call)
        for late in self.late:
            late.happen()
        self.late = [call] if fault in (Fault.LATE, Fault.CRASH_LATE) else []
        self.operator.turn()

    def _annotate(self) -> None:
        note = {"note": str(self.writes)}
        if PLACE in self.server.objects:
            self.server.change(PLACE, lambda obj: obj["metadata"].update(annotations=note))

    def _follow_script(self, pod: Object) -> None:
        view = project(pod)
        trainer = self.trainers.get(view.uid)
        ending = ""
        if trainer is not None and trainer.seq > 0 and not trainer.asking and not view.deleted:
            ending = self.endings[int(trainer.trial)][trainer.attempt - 1]
        if trainer is not None and ending == "f":
            self._record(trainer, Outcome.FAILED)
            self._stop(pod, 1)
        elif ending == "e":
            self.evict(self.pods().index(pod))
        else:
            self.behave(pod, self.operator)


class Stopping(Script):
    """A run that is suspended, resumed and deleted while its trainers train."""

    def __init__(self, faults: Mapping[int, Fault]) -> None:
        super().__init__(("cc", "cc"), faults)
        self.last_iteration = ROUNDS

    def run(self) -> None:
        """Until nothing is left."""
        self._until("training", lambda: self.trains(1))
        self.suspend(0)
        self._until("rest", lambda: self.history.state.released and not self.pods())
        self.suspend(0)
        self._until("training after the suspension", lambda: self.trains(2))
        self.delete_now()
        self._until("deletion", lambda: self.history.experiment is None and not self.pods())
        for trial in self.history.state.trials:
            counted = trial.failures + trial.disruptions + trial.infrastructure
            hold("P8", (trial.attempt, counted) == (2, 0), f"a stop or a fault shows in {trial}")
        hold("P7", self.history.state.released, "nobody else may take the run")


class Losing(Script):
    """A node falls silent under its trials, which go on elsewhere; in the end it comes back."""

    def __init__(self, faults: Mapping[int, Fault]) -> None:
        super().__init__(("c", "c"), faults)
        self.last_iteration = 2

    def run(self) -> None:
        """Until those that were lost have completed in their second attempt."""
        self._until("training", lambda: self.trains(1))
        nodes = [pod["spec"]["nodeName"] for pod in self.pods()]  # in the order of trials
        self.endings = ["ec" if node == nodes[0] else "c" for node in nodes]
        self.nodes.turn(nodes[0], self.clocks.wall)
        self._until("the end", lambda: self.history.state.ended is not None)
        self.nodes.mend()
        super().run()

    def _follow_script(self, pod: Object) -> None:
        self.controllers(1)
        if not self.nodes.loses(pod):  # of what runs there nobody hears
            self.behave(pod, self.operator)


class Collected(Script):
    """A run of which the first checkpoint goes when the last attempt has committed."""

    def __init__(self, faults: Mapping[int, Fault]) -> None:
        super().__init__(("fec",), faults, collects=True)
        self.last_iteration = 5

    def run(self) -> None:
        """To the end, and until all of it is done; what a crash leaves behind then may stay."""
        super().run()
        for _ in range(2 * PACE + int(GRACE_SECONDS)):
            self.wait_seconds(1.0)
            self._let_it_work()
        deleted = self.history.retention.data_deleted
        hold("P6", deleted or self.faults, "no garbage was ever deleted")


def play(endings: Sequence[str], faults: Mapping[int, Fault]) -> int:
    """One run with these faults. How many writes it had."""
    with Script(endings, faults) as script:
        script.run()
    return script.writes


def play_collected(faults: Mapping[int, Fault]) -> int:
    """The same of a run that has garbage."""
    with Collected(faults) as script:
        script.run()
    return script.writes


def play_losing(faults: Mapping[int, Fault]) -> int:
    """The same of a run that loses a node."""
    with Losing(faults) as script:
        script.run()
    return script.writes


def play_stopping(faults: Mapping[int, Fault]) -> int:
    """The same of a run that is suspended, resumed and deleted."""
    with Stopping(faults) as script:
        script.run()
    return script.writes
