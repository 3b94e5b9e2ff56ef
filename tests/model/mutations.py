"""The safety rules, each with the patch that takes it away and the promise that then breaks.

The patches are as small as the rule and hit the operator's own code. `docs/reliability.md` shows
this table; `test_mutations.py` proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.model import deletions, examples
from tests.model.history import MAX_FAILURES
from tests.model.script import play
from tune_operator.api.constants import POD_FINALIZER
from tune_operator.experiment import collector as collector_module
from tune_operator.experiment import look as look_module
from tune_operator.experiment import namespace_end
from tune_operator.experiment.collector import Collector
from tune_operator.experiment.deletion_causes import DeletionCauses
from tune_operator.experiment.journal import Journal
from tune_operator.experiment.look import Ending, Looker
from tune_operator.experiment.opening import Opening
from tune_operator.experiment.reports import Reports
from tune_operator.experiment.run import Run
from tune_operator.experiment.status_writer import StatusWriter
from tune_operator.experiment.survey import Survey, read_data
from tune_operator.kube import executor as executor_module
from tune_operator.kube import patches
from tune_operator.kube.errors import NotFound
from tune_operator.kube.executor import Executor
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle import (
    classify,
    ending,
    judging,
    releasing,
    starting,
    status,
    stopping,
    verdicts,
)
from tune_operator.lifecycle import decide as decide_module
from tune_operator.lifecycle import retention as retention_module
from tune_operator.lifecycle import settle as settle_module
from tune_operator.lifecycle.actions import CreatePod, DeletePod
from tune_operator.lifecycle.decide import Decision
from tune_operator.lifecycle.draft import Draft
from tune_operator.lifecycle.evidence import Evidence, Unread
from tune_operator.lifecycle.observation import Experiment, Observation
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.retention import Lineage
from tune_operator.lifecycle.trial_state import StopIntent, TrialState
from tune_operator.lifecycle.verdicts import Counts, Verdict
from tune_operator.reconciler import Reconciler
from tune_operator.reports.sink import NotReady, Outdated
from tune_operator.store.errors import StoreError
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import CheckpointRef, TrialKeys, parse_manifest_key
from tune_trainer.protocol.messages import ResultsResponse

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutation:
    """A rule taken away by ``take_away``; ``promises``: one of them breaks first.

    ``example`` is a history that shows it; without one any random history may.
    """

    rule: str
    take_away: Callable[[Patch], None]
    promises: tuple[str, ...]
    example: Callable[[], None] | None = None

    @property
    def name(self) -> str:
        """Of the patch, for people and for test ids."""
        return self.take_away.__name__

    @property
    def breaks(self) -> str:
        """The promises in one line."""
        return " or ".join(self.promises)


def no_exit_record(patch: Patch) -> None:
    async def read(*_: object) -> None:
        return None

    patch.setattr(look_module, "read_exit_record", read)


def silent_store_is_empty(patch: Patch) -> None:
    ask = Looker._ending

    async def read(self: Looker, *attempt: Any) -> Ending:
        found = await ask(self, *attempt)
        return replace(found, exit=None) if found.exit is Unread.UNDECIDED else found

    patch.setattr(Looker, "_ending", read)


def create_before_the_intent(patch: Patch) -> None:
    record = Reconciler._record

    async def act_first(self: Reconciler, run: Run, look: Observation, decision: Decision) -> bool:
        await self._act(run, self._creates(run, look, decision))
        return await record(self, run, look, decision)

    patch.setattr(Reconciler, "_record", act_first)


def status_before_the_journal(patch: Patch) -> None:
    record = Reconciler._record

    async def show_first(self: Reconciler, run: Run, look: Observation, decision: Decision) -> bool:
        await self._show(run, self._render(run, look, decision))
        return await record(self, run, look, decision)

    patch.setattr(Reconciler, "_record", show_first)


def pods_before_the_status(patch: Patch) -> None:
    async def record_and_act(
        self: Reconciler, run: Run, look: Observation, decision: Decision
    ) -> bool:
        done = await record(self, run, look, decision)
        await self._act(run, self._creates(run, look, decision))
        return done

    record = Reconciler._record
    patch.setattr(Reconciler, "_record", record_and_act)


def no_look_after_a_commit(patch: Patch) -> None:
    async def look(*_: object) -> None:
        return None

    patch.setattr(Journal, "_look", look)


def no_look_after_a_claim(patch: Patch) -> None:
    read = Opening._read

    async def once(self: Opening, store: Any) -> Any:
        return await read(self, store) if self._claim is None else []

    patch.setattr(Opening, "_read", once)


def unacknowledged_is_forgotten(patch: Patch) -> None:
    """What may have landed is taken for what has not: the next commit takes its key."""

    async def flush(self: Journal, store: Any) -> None:
        try:
            await write(self, store)
        except StoreError:
            self._seq -= len(self._pending)
            self._pending.clear()
            raise

    write = Journal.flush
    patch.setattr(Journal, "flush", flush)


def no_finalizer(patch: Patch) -> None:
    patch.setattr(Experiment, "has_finalizer", property(lambda _: True, lambda *_: None), False)


def cache_is_believed(patch: Patch) -> None:
    async def confirm(*_: object) -> None:
        return None

    patch.setattr(Looker, "_confirm", confirm)


def plan_of_everything(patch: Patch) -> None:
    def plan(_: TrialState, committed: tuple[CheckpointRef, ...]) -> tuple[CheckpointRef, ...]:
        return tuple(sorted(committed, reverse=True)[:4])

    async def all_of_the_trial(self: Looker, run: Run, trial: TrialState) -> Ending:
        found = await ask(self, run, trial)
        if run.store is None or found.exit is Unread.UNDECIDED:
            return found
        keys = await run.store.list(run.keys.trial(trial.name).manifests())
        refs = [ref for ref in map(parse_manifest_key, keys) if ref is not None]
        return replace(found, committed=tuple(refs))

    ask = Looker._ending
    patch.setattr(Looker, "_ending", all_of_the_trial)
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
    def trial(self: Reports, run: Run, view: PodView, attempt: int) -> TrialState:
        known = run.durable.trial(view.trial)
        if known is None or not known.open:
            return ask(self, run, view, attempt)
        return replace(known, pod_uid=known.pod_uid or view.uid)

    ask = Reports._trial
    patch.setattr(Reports, "_trial", trial)


def write_without_a_version(patch: Patch) -> None:
    write = StatusWriter.write

    async def blind(self: StatusWriter, run: Run, new: Mapping[str, Any]) -> None:
        meta = {k: v for k, v in run.obj["metadata"].items() if k != "resourceVersion"}
        run.obj = {**run.obj, "metadata": meta}
        await write(self, run, new)

    patch.setattr(StatusWriter, "write", blind)


def attempts_do_not_grow(patch: Patch) -> None:
    begin = starting._begin

    def same(draft: Draft, trial: TrialState) -> None:
        begin(draft, trial)
        if trial.attempt:
            draft.put(replace(draft.trials[trial.index], attempt=trial.attempt))
            draft.starts[-1] = (trial.name, trial.attempt)

    patch.setattr(starting, "_begin", same)


def attempts_by_the_journal_alone(patch: Patch) -> None:
    patch.setattr(starting, "FAR_AHEAD", -1)  # no trace is looked at


def untracked_pods(patch: Patch) -> None:
    create = Executor._create

    async def without(self: Any, action: CreatePod) -> Any:
        meta = action.body["metadata"]
        others = [name for name in meta["finalizers"] if name != POD_FINALIZER]
        body = {**action.body, "metadata": {**meta, "finalizers": others}}
        return await create(self, replace(action, body=body))

    patch.setattr(Executor, "_create", without)


def release_by_name(patch: Patch) -> None:
    remove = patches.remove_finalizer

    def anybodys(*of: Any, **how: Any) -> patches.Patch | None:
        steps = remove(*of, **how)
        return steps and [step for step in steps if step["path"] != "/metadata/uid"]

    patch.setattr(patches, "remove_finalizer", anybodys)


def gone_before_its_pods(patch: Patch) -> None:
    patch.setattr(executor_module, "_any_open", lambda _: False)


def release_what_is_unknown(patch: Patch) -> None:
    patch.setattr(releasing, "_from_the_future", lambda *_: False)


def no_stop_intent(patch: Patch) -> None:
    def delete(draft: Draft) -> None:
        for trial in draft.open:
            pod = draft.o.pod_of(trial)
            if trial.stop_intent:
                draft.put(replace(trial, stop_intent=StopIntent.NONE))
            if trial.stop_intent and pod and pod.deleted is None and not pod.terminal:
                draft.actions.append(DeletePod(pod.namespace, pod.name, pod.uid))

    patch.setattr(decide_module, "delete_stopped", delete)


def stop_intent_is_dropped(patch: Patch) -> None:
    def forgetful(draft: Draft) -> None:
        if not stopping.intent_for_all(draft):
            for trial in draft.open:
                draft.put(replace(trial, stop_intent=StopIntent.NONE))
        stop(draft)

    stop = stopping.stop
    patch.setattr(decide_module, "stop", forgetful)


def one_more_attempt(patch: Patch) -> None:
    def exhausted(trial: TrialState, _: object) -> bool:
        return trial.failures + trial.disruptions > MAX_FAILURES + 1

    patch.setattr(settle_module, "exhausted", exhausted)


def settled_but_not_closed(patch: Patch) -> None:
    settle = settle_module.settle

    def again(trial: TrialState, *rest: Any) -> settle_module.Settled:
        made = settle(trial, *rest)
        if made.trial.finished:
            return made
        return replace(made, trial=replace(made.trial, open=True, pod_uid=trial.pod_uid))

    patch.setattr(judging, "settle", again)


def _count_as(patch: Patch, other: Callable[[Counts], Counts]) -> None:
    count = settle_module._count

    def wrong(trial: TrialState, counts: Counts, **how: Any) -> TrialState:
        return count(trial, other(counts), **how)

    patch.setattr(settle_module, "_count", wrong)


def disruptions_are_failures(patch: Patch) -> None:
    swapped = {Counts.FAILURE: Counts.DISRUPTION, Counts.DISRUPTION: Counts.FAILURE}
    _count_as(patch, lambda counts: swapped.get(counts, counts))


def rejections_are_failures(patch: Patch) -> None:
    failure = {Counts.INFRASTRUCTURE: Counts.FAILURE}
    _count_as(patch, lambda counts: failure.get(counts, counts))


def nothing_is_counted(patch: Patch) -> None:
    _count_as(patch, lambda _: Counts.NOTHING)


def stops_are_counted(patch: Patch) -> None:
    def stopped(evidence: Evidence) -> Verdict:
        verdict = stop(evidence)
        return replace(verdict, counts=verdict.counts or Counts.DISRUPTION)

    stop = verdicts.stopped
    table = tuple(
        replace(row, verdict=stopped) if row.verdict is stop else row for row in classify.TABLE
    )
    patch.setattr(classify, "TABLE", table)


def adopt_any_pod(patch: Patch) -> None:
    patch.setattr(executor_module, "_same_attempt", lambda *_: True)


def delete_by_name(patch: Patch) -> None:
    async def live(self: Any, kind: Any, namespace: str, name: str, uid: str) -> Any:
        try:
            return await self._kube.get(kind, namespace, name)
        except NotFound:
            return None

    async def delete_pod(self: Any, namespace: str, name: str, uid: str, grace: Any) -> None:
        pod = await live(self, PODS, namespace, name, uid)
        if pod is not None:
            await delete(self, namespace, name, pod["metadata"]["uid"], grace)

    delete = Executor._delete_pod
    patch.setattr(Executor, "_live", live)
    patch.setattr(Executor, "_delete_pod", delete_pod)


def who_deletes_is_not_asked(patch: Patch) -> None:
    async def overtaken(*_: object) -> bool:
        return False

    patch.setattr(DeletionCauses, "overtaken", overtaken)
    patch.setattr(namespace_end, "unexplained", lambda *_: frozenset())


def reports_of_whoever_sends(patch: Patch) -> None:
    def bound(self: Reports, run: Run, view: PodView, attempt: int) -> TrialState:
        known = run.durable.trial(view.trial)
        return known if known is not None and known.open else ask(self, run, view, attempt)

    ask = Reports._bound
    patch.setattr(Reports, "_bound", bound)


def who_is_unknown_is_outdated(patch: Patch) -> None:
    def trial(self: Reports, *report: Any) -> TrialState:
        try:
            return ask(self, *report)
        except NotReady:
            raise Outdated("the attempt is not known here") from None

    ask = Reports._trial
    patch.setattr(Reports, "_trial", trial)


def who_is_turned_away_was_silent(patch: Patch) -> None:
    async def look(self: Looker, *args: Any, **options: Any) -> Observation:
        return await heard(replace(self, unheard=look_module.always_heard), *args, **options)

    heard = Looker.look
    patch.setattr(Looker, "look", look)


def durable_when_received(patch: Patch) -> None:
    results = Reports.results

    async def promise(self: Reports, *report: Any) -> ResultsResponse:
        answer = await results(self, *report)
        return replace(answer, durable=answer.received)

    patch.setattr(Reports, "results", promise)


def fenced_on_a_node_that_answers(patch: Patch) -> None:
    patch.setattr(Evidence, "given_up_at", Evidence.overdue_at)


def fenced_without_a_look_at_the_store(patch: Patch) -> None:
    def wants_ending(self: Observation, trial: TrialState) -> bool:
        return self.evidence(trial).over

    patch.setattr(Observation, "wants_ending", wants_ending)


def released_too_early(patch: Patch) -> None:
    def finished(draft: Draft) -> None:
        ending.finish(draft)
        if draft.o.may_record:
            draft.run = replace(draft.run, released=bool(stopping.intent_for_all(draft)))

    patch.setattr(decide_module, "finish", finished)


def no_time_to_save(patch: Patch) -> None:
    patch.setattr(Draft, "late", property(lambda draft: draft.experiment.deleted is not None))


def a_higher_term_is_not_seen(patch: Patch) -> None:
    patch.setattr(status, "term", lambda shown: 0)


def mere_progress_may_wait(patch: Patch) -> None:
    def can_wait(self: Reconciler, run: Run, decision: Decision, after: Any) -> bool:
        return not decision.urgent

    patch.setattr(Reconciler, "_can_wait", can_wait)


def claims_are_not_looked_at(patch: Patch) -> None:
    async def fence(*_: object) -> None:
        return None

    patch.setattr(Collector, "_fence", fence)


def data_before_manifest(patch: Patch) -> None:
    async def drop(
        self: Collector, store: ObjectStore, keys: TrialKeys, survey: Survey, gone: Any, memory: Any
    ) -> None:
        found = await read_data(store, keys)
        for folder in survey.own(gone):
            await store.delete([each.key for each in found[folder]])
        await drop_manifests(self, store, keys, survey, gone, memory)

    drop_manifests = Collector._drop
    patch.setattr(Collector, "_drop", drop)


def plan_not_pinned(patch: Patch) -> None:
    patch.setattr(retention_module, "_needs_plan", lambda lineage, members: False)


def shown_not_pinned(patch: Patch) -> None:
    of = Lineage.of

    def without_pins(trial: TrialState) -> Lineage | None:
        lineage = of(trial)
        return replace(lineage, pins=frozenset()) if lineage else None

    patch.setattr(Lineage, "of", without_pins)


def every_attempt_is_over(patch: Patch) -> None:
    patch.setattr(Lineage, "settled", lambda self, attempt: True)


def clones_are_not_asked(patch: Patch) -> None:
    patch.setattr(collector_module, "union", lambda named: next(iter(named)))


def without_a_fault() -> None:
    """Two trials whose attempts fail, are evicted and complete."""
    play(("fec", "fec"), {})


MUTATIONS = (
    Mutation("the exit record is read before an attempt is settled", no_exit_record, ("P2", "P4")),
    Mutation(
        "no answer of the store is never taken for `none`",
        silent_store_is_empty,
        ("P6",),
        examples.an_ending_without_an_answer,
    ),
    Mutation(
        "an intent is journaled before its Pod is created",
        create_before_the_intent,
        ("intent first",),
    ),
    Mutation(
        "what the status shows was journaled before",
        status_before_the_journal,
        ("journal first",),
    ),
    Mutation(
        "the status shows an intent before its Pod is created",
        pods_before_the_status,
        ("status first",),
    ),
    Mutation(
        "after each commit it is seen whether somebody claimed the run",
        no_look_after_a_commit,
        ("journal",),
        examples.a_frozen_owner_wakes,
    ),
    Mutation(
        "whoever has claimed a run reads its journal once more",
        no_look_after_a_claim,
        ("journal",),
        examples.a_commit_between_term_and_claim,
    ),
    Mutation(
        "the bytes of a segment are fixed",
        unacknowledged_is_forgotten,
        ("journal",),
        examples.a_segment_without_an_answer,
    ),
    Mutation("nothing starts before our finalizer was seen", no_finalizer, ("finalizer first",)),
    Mutation(
        "absence in the cache is asked for live",
        cache_is_believed,
        ("P3",),
        examples.a_new_owner_with_an_old_view,
    ),
    Mutation(
        "of an attempt only its own commits are resumed from",
        plan_of_everything,
        ("P5",),
        examples.a_zombie_commits,
    ),
    Mutation(
        "an attempt without a commit hands on the plan it had",
        plan_of_the_last_attempt_only,
        ("P6",),
        examples.an_attempt_without_a_commit,
    ),
    Mutation(
        "a bound Pod is known by its UID",
        any_pod_of_the_attempt,
        ("P1",),
        examples.a_pod_created_late,
    ),
    Mutation(
        "only the bound Pod gets a session",
        session_for_whoever_asks,
        ("P1",),
        examples.a_late_pod_asks,
    ),
    Mutation(
        "a status is written on the version it was decided from",
        write_without_a_version,
        ("status forward",),
        examples.a_status_written_late,
    ),
    Mutation("each attempt has a number of its own", attempts_do_not_grow, ("P1", "P2")),
    Mutation(
        "an attempt is one above whatever left a trace",
        attempts_by_the_journal_alone,
        ("attempts grow",),
        examples.a_bucket_from_a_backup,
    ),
    Mutation(
        "a Pod stays until its end was read",
        untracked_pods,
        ("P2", "P8"),
        without_a_fault,
    ),
    Mutation(
        "what a newer owner began is left alone",
        release_what_is_unknown,
        ("P8",),
        examples.a_pod_from_the_future,
    ),
    Mutation("a stop intent is recorded before the Pod is deleted", no_stop_intent, ("P8",)),
    Mutation(
        "a stop intent stays until its attempt is settled",
        stop_intent_is_dropped,
        ("stop intent",),
        examples.a_suspension_withdrawn,
    ),
    Mutation(
        "a trial ends when its budget is used up",
        one_more_attempt,
        ("P2",),
        examples.nothing_but_failures,
    ),
    Mutation(
        "failures and disruptions are counted apart",
        disruptions_are_failures,
        ("P2",),
        without_a_fault,
    ),
    Mutation(
        "a rejection is no failure of the trial",
        rejections_are_failures,
        ("P2",),
        examples.an_unusable_store,
    ),
    Mutation("each ending is counted", nothing_is_counted, ("P2",), without_a_fault),
    Mutation("a stop is not counted", stops_are_counted, ("P2",), examples.a_suspension_withdrawn),
    Mutation(
        "an attempt that was counted is closed", settled_but_not_closed, ("P2", "stop intent")
    ),
    Mutation(
        "a Pod that has the name is ours only by its labels",
        adopt_any_pod,
        ("NameConflict",),
        examples.a_name_taken_before,
    ),
    Mutation(
        "nothing is taken in from an attempt that is over",
        reports_of_whoever_sends,
        ("P5",),
        examples.a_fenced_trainer_reports,
    ),
    Mutation(
        "nobody is sent away by who may have lost the run",
        who_is_unknown_is_outdated,
        ("P8",),
        examples.a_frozen_owner_wakes,
    ),
    Mutation(
        "who was turned away unheard is not hung",
        who_is_turned_away_was_silent,
        ("P15",),
        examples.ten_minutes_unheard,
    ),
    Mutation("results are durable when they are journaled", durable_when_received, ("results",)),
    Mutation(
        "an attempt is fenced only if its node does not answer",
        fenced_on_a_node_that_answers,
        ("P3",),
        examples.a_slow_kubelet,
    ),
    Mutation(
        "the exit record is read before an attempt is fenced",
        fenced_without_a_look_at_the_store,
        ("P4",),
        examples.a_completion_on_a_lost_node,
    ),
    Mutation("a run is released when no attempt is open", released_too_early, ("released",)),
    Mutation("who is deleted gets the time to save", no_time_to_save, ("P7",)),
    Mutation(
        "an owner that was displaced shows nothing",
        a_higher_term_is_not_seen,
        ("status forward",),
        examples.a_displaced_owner_without_a_store,
    ),
    Mutation(
        "an intent of a predecessor is shown before its Pod is created",
        mere_progress_may_wait,
        ("status first",),
        examples.an_intent_that_was_not_shown,
    ),
    Mutation(
        "before a deletion is counted it is asked who else was deleted",
        who_deletes_is_not_asked,
        ("P7",),
        examples.a_deletion_told_by_its_pods,
    ),
    Mutation(
        "what is destroyed has the UID that was decided about",
        delete_by_name,
        ("own objects only",),
        examples.a_name_taken_in_between,
    ),
    Mutation(
        "what is released has the UID that was decided about",
        release_by_name,
        ("own objects only",),
        examples.a_name_taken_before_the_release,
    ),
    Mutation(
        "an experiment goes when its Pods are released",
        gone_before_its_pods,
        ("P7",),
        examples.a_release_that_fails,
    ),
    Mutation(
        "who was overtaken deletes no checkpoint",
        claims_are_not_looked_at,
        ("P6",),
        deletions.an_owner_who_was_overtaken_collects,
    ),
    Mutation(
        "the data of a checkpoint go after its manifest",
        data_before_manifest,
        ("P6",),
        deletions.more_saves_than_stay,
    ),
    Mutation(
        "a plan stays until its attempt has committed",
        plan_not_pinned,
        ("P6",),
        deletions.a_plan_longer_than_what_stays,
    ),
    Mutation(
        "what the status shows stays",
        shown_not_pinned,
        ("P6",),
        deletions.saves_nobody_was_told_of,
    ),
    Mutation(
        "data without a manifest stay while their attempt may commit",
        every_attempt_is_over,
        ("P6",),
        deletions.an_upload_that_takes_long,
    ),
    Mutation(
        "data that a clone refers to stay",
        clones_are_not_asked,
        ("P6",),
        deletions.a_clone_outlives_its_source,
    ),
)
"""What `docs/reliability.md` shows and `test_mutations.py` proves."""
