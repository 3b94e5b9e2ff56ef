"""Several processes open one run over a faulty store: what was acknowledged stays, in one order.

Every request of every process waits for the machine, which lets it pass, fail, land late or be
answered late, kills processes at any await, and sets the status back. Each commit adds one trial,
so that the state of a run is the log of its commits.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.faulty_store import Fault, FaultyStore, Operation
from tune_operator.experiment import records
from tune_operator.experiment.chain import Reader
from tune_operator.experiment.claim import Claim, Displaced, Owner
from tune_operator.experiment.journal import Journal
from tune_operator.experiment.opening import Opening
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_operator.store.errors import StoreError
from tune_operator.store.memory import MemoryStore
from tune_trainer.protocol.keys import RunKeys, parse_segment_key, trial_name

KEYS = RunKeys.of("", "ns", "digits", "uid")
OWNER = Owner("cluster", "ns", "digits", "uid")
FAULTS = [*[None] * 6, *Fault]
Log = list[int]


class StatusError(Exception):
    """A write of the status that lost, or whose answer did."""


class Status:
    """The object's status, written by compare-and-swap."""

    def __init__(self) -> None:
        self.term = 0
        self.version = 0

    def write(self, term: int) -> None:
        self.term, self.version = term, self.version + 1


class Process:
    """One operator, which believes to be the only one; it does one thing at a time."""

    def __init__(self, objects: MemoryStore, status: Status, nonce: str) -> None:
        self.store = FaultyStore(objects, lambda _: Fault.HANG)
        self.status = status
        self.opening = Opening(KEYS, OWNER, lambda: nonce)
        self.journal: Journal | None = None
        self.task: asyncio.Task[Any] | None = None
        self.doomed = False
        self._term: Operation | None = None

    @property
    def claim(self) -> Claim | None:
        """What it owns the run by, as soon as it believes to."""
        return self.journal.claim if self.journal else None

    @property
    def waiting(self) -> list[Operation]:
        """Its requests that wait for the machine."""
        term = [self._term] if self._term and self._term.waiting else []
        return term or self.store.waiting

    def work(self, number: int) -> Coroutine[Any, Any, object]:
        """The next thing to do: open, write again what is pending, or commit this number."""
        if self.journal is None:
            return self.open()
        if self.journal.pending:
            return self.journal.flush(self.store)
        state = self.journal.state
        fresh = TrialState(trial_name(len(state.trials)), config={"number": number})
        after = RunState(trials=(*state.trials, fresh))
        return self.journal.commit(self.store, records.changes(state, after))

    async def open(self) -> None:
        seen = self.status.version

        async def take(term: int) -> None:
            self._term = Operation("take", str(term))
            fault = await self._term.pause()
            if fault not in (None, Fault.UNHEARD) or self.status.version != seen:
                raise StatusError
            self.status.write(term)
            if fault is not None:
                raise StatusError

        self.journal = await self.opening.proceed(self.store, self.status.term, take)


def log(state: RunState) -> Log:
    return [trial.config["number"] for trial in state.trials]


class JournalMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.objects = MemoryStore()
        self.status = Status()
        self.processes: list[Process] = []
        self.late: list[FaultyStore] = []
        self.acknowledged: Log = []
        self.number = 0

    @precondition(lambda self: len(self.processes) < 3)
    @rule(low=st.booleans())
    def launch(self, low: bool) -> None:
        """A nonce may be lower than all before it: only with a status set back does it matter."""
        self.number += 1
        nonce = f"{50_000 - self.number if low else 50_000 + self.number:016d}"
        process = Process(self.objects, self.status, nonce)
        self.processes.append(process)
        self.late.append(process.store)
        self._begin(process)

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), count=st.integers(1, 3), fault=st.sampled_from(FAULTS))
    def advance(self, data: st.DataObject, count: int, fault: Fault | None) -> None:
        """Some requests of a process pass; the last one meets the fault."""
        process = data.draw(st.sampled_from(self.processes))
        if process.task is None:
            self._begin(process)
        for left in reversed(range(count)):
            if process.waiting:
                process.waiting[0].go(None if left or fault is Fault.HANG else fault)
                self._settle(process)

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """A process meets no fault until it has done what it is doing."""
        process = data.draw(st.sampled_from(self.processes))
        if process.task is None:
            self._begin(process)
        while process.waiting:
            process.waiting[0].go()
            self._settle(process)

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), fault=st.sampled_from([None, Fault.LATE, Fault.LOST]))
    def kill(self, data: st.DataObject, fault: Fault | None) -> None:
        """A process ends at whatever it waits for; the request may be under way."""
        process = data.draw(st.sampled_from(self.processes))
        self.processes.remove(process)
        if process.task is not None:
            task, process.task = process.task, None
            if process.waiting:
                process.waiting[0].go(fault)
            task.cancel()
            self._run(asyncio.wait([task]))

    @precondition(lambda self: any(store.late for store in self.late))
    @rule(data=st.data())
    def land(self, data: st.DataObject) -> None:
        """A write that its owner gave up long ago arrives."""
        store = data.draw(st.sampled_from([store for store in self.late if store.late]))
        self._run(store.land(data.draw(st.sampled_from(store.late))))

    @rule(term=st.integers(0, 2))
    def set_status_back(self, term: int) -> None:
        """Somebody restores the object from a backup."""
        if term < self.status.term:
            self.status.write(term)

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        found = self._replay()
        assert found[: len(self.acknowledged)] == self.acknowledged
        assert len(set(found)) == len(found)

    def teardown(self) -> None:
        """In the end the last one to open has everything, and works."""
        try:
            self._end()
        finally:
            self.loop.close()

    def _end(self) -> None:
        for process in self.processes:
            if process.task is not None:
                process.task.cancel()
                self._run(asyncio.wait([process.task]))
        for store in self.late:
            self._run(store.land())
        last = Process(self.objects, self.status, f"{99_999:016d}")
        last.store.script = lambda _: None
        for number in (0, -1):
            task = self.loop.create_task(last.work(number))
            for _ in range(100):
                self._run(asyncio.sleep(0))
                if last.waiting:
                    last.waiting[0].go()
            task.result()
        assert last.journal is not None
        assert self._replay() == log(last.journal.state)
        assert self._replay()[: len(self.acknowledged)] == self.acknowledged
        assert self._replay()[-1] == -1

    def _begin(self, process: Process) -> None:
        self.number += 1
        process.doomed = self._outranked(process.claim)
        process.task = self.loop.create_task(process.work(self.number))
        self._settle(process)

    def _settle(self, process: Process) -> None:
        """Run until the process waits for the machine, or has done what it was doing."""
        for _ in range(6):
            self._run(asyncio.sleep(0))
        if process.task is None or not process.task.done():
            return
        task, process.task = process.task, None
        match task.exception():
            case None:
                self._acknowledge(process)
            case Displaced():
                self.processes.remove(process)
                # A term that somebody else took is found in the status, before his claim lands.
                assert process.claim is None or self._outranked(process.claim)
            case StoreError() | StatusError():
                pass
            case error:
                raise error

    def _acknowledge(self, process: Process) -> None:
        """The process may act on its state now: it must be what everybody reads from now on."""
        assert not process.doomed, "it began when another had claimed the run already"
        assert process.journal is not None
        mine, found = log(process.journal.state), self._replay()
        assert found[: len(mine)] == mine
        if len(mine) > len(self.acknowledged):
            self.acknowledged = mine

    def _outranked(self, claim: Claim | None) -> bool:
        found = [ref for ref in map(parse_segment_key, self.objects.objects) if ref]
        return claim is not None and any(Claim(ref.term, ref.nonce) > claim for ref in found)

    def _replay(self) -> Log:
        """What anybody reads who looks now, without claiming anything."""
        reader = Reader(KEYS)
        listed = [ref for ref in map(parse_segment_key, self.objects.objects) if ref]
        self._run(reader.read(self.objects, listed))
        return log(reader.state)

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        self.loop.run_until_complete(work)


JournalMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestJournal = JournalMachine.TestCase
