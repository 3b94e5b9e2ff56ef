"""Would the model notice? Each safety rule is taken away in turn, and a promise must break.

The table is the proof that an invariant can fail and that the histories get there: a rule whose
loss goes unnoticed is either not needed or not tested.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.model.cluster import Cluster, Experiment
from tests.model.histories import random_history
from tests.model.history import MAX_FAILURES, Broken
from tests.model.operator import Operator
from tests.model.play import Play
from tune_operator.lifecycle import decide as decide_module
from tune_operator.lifecycle import settle as settle_module
from tune_operator.lifecycle.decide import Decision
from tune_operator.lifecycle.evidence import ExitKnowledge, Unread
from tune_operator.lifecycle.observation import AttemptKey, Observation, Progress
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import TrialState
from tune_trainer.protocol.keys import CheckpointRef

HISTORIES = 400
"""How many histories a loss may take to show; the first few dozen do for most."""

Patch = pytest.MonkeyPatch
Ending = tuple[ExitKnowledge, tuple[CheckpointRef, ...]]


def no_exit_record(patch: Patch) -> None:
    read = Operator.ending

    def ending(self: Operator, key: AttemptKey) -> Generator[None, None, Ending]:
        known, committed = yield from read(self, key)
        return (known if known is Unread.UNDECIDED else None), committed

    patch.setattr(Operator, "ending", ending)


def silent_store_is_empty(patch: Patch) -> None:
    read = Operator.ending

    def ending(self: Operator, key: AttemptKey) -> Generator[None, None, Ending]:
        known, committed = yield from read(self, key)
        return (None if known is Unread.UNDECIDED else known), committed

    patch.setattr(Operator, "ending", ending)


def create_before_the_intent(patch: Patch) -> None:
    def carry_out(self: Operator, look: Observation, decision: Decision) -> Iterator[None]:
        for trial, attempt in decision.starts:
            self.create(trial, attempt)
        yield from self.write(look, decision)
        yield from self.act(decision.actions)

    patch.setattr(Operator, "carry_out", carry_out)


def cache_is_believed(patch: Patch) -> None:
    def confirm(self: Operator, trial: TrialState) -> Iterator[None]:
        yield

    patch.setattr(Operator, "confirm", confirm)


def plan_of_everything(patch: Patch) -> None:
    def plan(_: TrialState, committed: tuple[CheckpointRef, ...]) -> tuple[CheckpointRef, ...]:
        return tuple(sorted(committed, reverse=True)[:4])

    patch.setattr(settle_module, "resume_plan", plan)


def plan_of_the_last_attempt_only(patch: Patch) -> None:
    def plan(trial: TrialState, committed: tuple[CheckpointRef, ...]) -> tuple[CheckpointRef, ...]:
        own = [ref for ref in committed if ref.attempt == trial.attempt]
        return tuple(sorted(own, reverse=True)[:4])

    patch.setattr(settle_module, "resume_plan", plan)


def any_pod_of_the_attempt(patch: Patch) -> None:
    def pod_of(self: Observation, trial: TrialState) -> PodView | None:
        mine = (trial.name, trial.attempt)
        return next((pod for pod in self.pods if (pod.trial, pod.attempt) == mine), None)

    patch.setattr(Observation, "pod_of", pod_of)


def session_for_whoever_asks(patch: Patch) -> None:
    ask = Operator.session

    def session(self: Operator, trial: str, attempt: int, uid: str) -> Any:
        known = self.state.trial(trial)
        return known.plan if known and known.open else ask(self, trial, attempt, uid)

    patch.setattr(Operator, "session", session)


def reports_of_whoever_sends(patch: Patch) -> None:
    def report(self: Operator, uid: str, trial: str, news: Progress) -> None:
        known = self.state.trial(trial)
        self.progress[trial] = replace(news, attempt=known.attempt if known else 0, seq=99)

    patch.setattr(Operator, "report", report)


def write_without_a_version(patch: Patch) -> None:
    write = Cluster.write_status

    def write_status(self: Cluster, _: int, status: Mapping[str, Any]) -> Experiment:
        known = self.experiment
        return write(self, known.version if known else 0, status)

    patch.setattr(Cluster, "write_status", write_status)


def attempts_do_not_grow(patch: Patch) -> None:
    begin = decide_module._Step._begin

    def same(self: Any, trial: TrialState) -> None:
        begin(self, trial)
        if trial.attempt:
            self._put(replace(self.trials[trial.index], attempt=trial.attempt))
            self.starts[-1] = (trial.name, trial.attempt)

    patch.setattr(decide_module._Step, "_begin", same)


def release_what_is_unknown(patch: Patch) -> None:
    patch.setattr(decide_module._Step, "_from_the_future", lambda *_: False)


def one_more_attempt(patch: Patch) -> None:
    def exhausted(trial: TrialState, _: int) -> bool:
        return trial.failures + trial.disruptions > MAX_FAILURES + 1

    patch.setattr(settle_module, "exhausted", exhausted)


def settled_but_not_closed(patch: Patch) -> None:
    settle = settle_module.settle

    def again(trial: TrialState, *rest: Any) -> settle_module.Settled:
        made = settle(trial, *rest)
        if made.trial.finished:
            return made
        return replace(made, trial=replace(made.trial, open=True, pod_uid=trial.pod_uid))

    patch.setattr(decide_module, "settle", again)


def a_pod_created_by_a_stale_operator() -> None:
    """The bound Pod is torn away; who still believes the attempt unbound creates it again."""
    play = Play()
    first, second = play.operators
    for _ in range(2):
        first.finish()  # the finalizer; then claim, intents and Pods
        first.see_experiment()
    play.look(1)  # the second binds them
    for name in list(play.cluster.pods):
        play.tear_away(0)
        first.see_pod(name)
    first.heard = first.experiment
    first.finish()
    second.relist()
    second.finish()
    play.come_to_an_end(deleted=False)


def an_ending_while_the_store_is_away() -> None:
    """A trainer commits, nobody hears of it, it crashes, and the store does not answer."""
    play = Play()
    operator = play.operators[0]
    for _ in range(3):
        play.look(0)
    for pod in play.cluster.pods.values():
        play._advance(pod)
        play._advance(pod)
    for trainer in play.trainers.values():
        play._ask(trainer, operator)
        trainer.iteration += 1
        play._commit(trainer)
    play.store_turns(0)
    for pod in list(play.cluster.pods.values()):
        play._stop(pod, 1)
    play.look(0)
    play.come_to_an_end(deleted=False)


def any_history() -> None:
    for seed in range(HISTORIES):
        random_history(seed)


@dataclass(frozen=True)
class Mutation:
    """A rule taken away, the promises of which the first to break must be one, and where."""

    lost: Callable[[Patch], None]
    breaks: frozenset[str]
    example: Callable[[], None]


def mutation(
    lost: Callable[[Patch], None], *breaks: str, example: Callable[[], None] = any_history
) -> Mutation:
    return Mutation(lost, frozenset(breaks), example)


MUTATIONS = [
    mutation(no_exit_record, "P4"),
    mutation(silent_store_is_empty, "P6", example=an_ending_while_the_store_is_away),
    mutation(create_before_the_intent, "intent first"),
    mutation(cache_is_believed, "P3"),
    mutation(plan_of_everything, "P5"),
    mutation(plan_of_the_last_attempt_only, "P6"),
    mutation(any_pod_of_the_attempt, "P1", example=a_pod_created_by_a_stale_operator),
    mutation(session_for_whoever_asks, "P1"),
    mutation(reports_of_whoever_sends, "P5"),
    mutation(write_without_a_version, "P1", "P2", "P3", "memory", "stop intent"),
    mutation(attempts_do_not_grow, "P1", "P2"),
    mutation(release_what_is_unknown, "P8"),
    mutation(one_more_attempt, "P2"),
    mutation(settled_but_not_closed, "P2"),
]


@pytest.mark.parametrize("mutated", MUTATIONS, ids=lambda mutated: mutated.lost.__name__)
def test_a_lost_rule_breaks_its_promise(mutated: Mutation, monkeypatch: Patch) -> None:
    mutated.lost(monkeypatch)
    with pytest.raises(Broken) as broken:
        mutated.example()
    assert broken.value.promise in mutated.breaks, str(broken.value)


@pytest.mark.parametrize(
    "example", [a_pod_created_by_a_stale_operator, an_ending_while_the_store_is_away]
)
def test_with_the_rule_the_example_holds(example: Callable[[], None]) -> None:
    example()
