"""Operators come, crash and forget; no result is lost and none arrives out of order."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tune_trainer.protocol.messages import ResultsRequest, ResultsResponse
from tune_trainer.spool import Spool

REQUEST = 100
"""Bytes of a request: two results or three."""


@dataclass
class Operator:
    """One process: takes in results in memory, journals them later, restarts from the journal."""

    journal: list[int]
    durable: int = 0
    memory: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = list(self.journal)
        self.durable = self.received

    @property
    def received(self) -> int:
        return self.memory[-1] if self.memory else 0

    def take(self, request: ResultsRequest, at_most: int = 100) -> ResultsResponse:
        if request.after <= self.received:
            fresh = [result.seq for result in request.results if result.seq > self.received]
            self.memory += fresh[:at_most]
        return ResultsResponse(self.received, self.durable)

    def commit(self) -> None:
        self.journal[:] = self.memory
        self.durable = self.received


class Crashes(RuleBasedStateMachine):
    """One trainer, its operator, the one before it that froze and wakes, and a lossy network."""

    @initialize(bound=st.sampled_from([4, 1000]))
    def start(self, bound: int) -> None:
        self.spool = Spool("value", "max", bound, 1 << 20)
        self.journal: list[int] = []
        self.operator = self.frozen = Operator(self.journal)
        self.late: list[ResultsRequest] = []
        self.refused: set[int] = set()

    @rule(value=st.integers(0, 9))
    def train(self, value: int) -> None:
        self.spool.add({"value": value})

    @rule()
    def report(self) -> None:
        self.exchange(self.operator)

    @rule()
    def report_to_the_frozen(self) -> None:
        self.exchange(self.frozen)

    @rule(at_most=st.integers(0, 1))
    def report_to_the_full(self, at_most: int) -> None:
        answer = self.operator.take(self.request(), at_most)
        self.spool.answered(answer.received, answer.durable)

    @rule()
    def lose_an_answer(self) -> None:
        self.operator.take(self.request())

    @rule()
    def refuse(self) -> None:
        request = self.request()
        self.refused |= {result.seq for result in request.results}
        self.spool.refused(request.results)

    @rule()
    def hold_a_request(self) -> None:
        self.late.append(self.request())

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def let_it_arrive(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.late) - 1))
        self.operator.take(self.late.pop(index))

    @rule()
    def journal_it(self) -> None:
        self.operator.commit()

    @rule()
    def crash(self) -> None:
        self.operator = Operator(self.journal)

    @rule()
    def freeze(self) -> None:
        self.frozen, self.operator = self.operator, Operator(self.journal)

    @invariant()
    def in_order(self) -> None:
        for seqs in (self.operator.memory, self.journal, self.held()):
            assert seqs == sorted(set(seqs))

    @invariant()
    def nothing_is_lost(self) -> None:
        safe = {*self.journal, *self.held(), *self.refused}
        assert len(safe) + self.spool.merged >= self.spool.seq
        assert self.spool.seq in safe | {0}
        if not self.spool.merged:
            had = {*self.operator.memory, *self.refused}
            assert had >= set(range(1, self.operator.received + 1))
            assert self.held() == list(range(self.spool.durable + 1, self.spool.seq + 1))

    @invariant()
    def durable_is_what_it_says(self) -> None:
        assert self.spool.durable <= max(self.journal, default=0)

    def teardown(self) -> None:
        """When the faults stop, the operator has all of it, and the trainer keeps none of it."""
        self.spool.add({"value": 0})
        for _ in range(2 * self.spool.seq + 2):
            self.exchange(self.operator)
        assert self.operator.received == self.spool.seq
        self.operator.commit()
        self.spool.add({"value": 0})
        self.exchange(self.operator)
        self.in_order()
        self.nothing_is_lost()
        assert self.held() == [self.spool.seq]

    def exchange(self, operator: Operator) -> None:
        answer = operator.take(self.request())
        self.spool.answered(answer.received, answer.durable)

    def request(self) -> ResultsRequest:
        return ResultsRequest(1, self.spool.unsent(REQUEST), after=self.spool.received)

    def held(self) -> list[int]:
        return [result.seq for result in self.spool.undurable()]


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
