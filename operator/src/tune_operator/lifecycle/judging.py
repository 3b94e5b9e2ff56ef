"""What is observed of open attempts goes into the state: progress, binding, the decision table."""

from __future__ import annotations

from dataclasses import replace

from tune_operator.lifecycle.classify import Then, Verdict, classify
from tune_operator.lifecycle.draft import Draft
from tune_operator.lifecycle.events import settle_events
from tune_operator.lifecycle.evidence import Evidence, Unread
from tune_operator.lifecycle.settle import settle
from tune_operator.lifecycle.trial_state import Checkpoint, Interruption, StopIntent, TrialState

SETTLING = (Then.COMPLETE, Then.STOPPED, Then.RESUME, Then.FENCE)
_LEFT_BEHIND = "still there when the time to stop was over"


def take_in_progress(draft: Draft) -> None:
    """Results of the current attempt, newest first wins; older attempts are deaf (P5)."""
    for trial in draft.open:
        news = draft.o.progress.get(trial.name)
        if news is None or news.attempt != trial.attempt or news.seq < trial.seq:
            continue
        known = trial.checkpoint
        own = news.checkpoint is not None and news.checkpoint.attempt == trial.attempt
        if news.checkpoint and own and (known is None or known.ref < news.checkpoint):
            known = Checkpoint(news.checkpoint, draft.now)
        draft.take_in(trial, [result for result in news.results if result.seq > trial.seq])
        draft.put(
            replace(
                trial,
                seq=news.seq,
                iteration=max(news.iteration, 0) or trial.iteration,
                objective=trial.objective if news.objective is None else news.objective,
                checkpoint=known,
            )
        )


def bind(draft: Draft) -> None:
    """The first Pod seen of an attempt is the attempt's Pod, once and for all (P1)."""
    for trial in draft.open:
        pod = draft.o.pod_of(trial)
        if pod is None:
            continue
        node = pod.node or trial.node
        if (trial.pod_uid, trial.node) != (pod.uid, node):
            draft.put(replace(trial, pod_uid=pod.uid, node=node))


def judge(draft: Draft) -> None:
    """Run every open attempt through the decision table."""
    for trial in draft.open:
        evidence = draft.o.evidence(trial)
        decided = evidence.exit is not Unread.UNDECIDED
        if draft.o.wants_ending(trial) and evidence.exit is Unread.NOT_ASKED:
            decided = False
        if not decided:
            continue  # the store did not answer; StorageAvailable says so and we look again
        verdict = classify(evidence)
        if verdict.then in (Then.RESUME, Then.FENCE) and draft.o.in_doubt(trial):
            continue  # if it went with its experiment or namespace, this must not be counted
        draft.verdicts.append((trial, verdict))
        draft.look_again(verdict.look_again)
        _apply(draft, trial, evidence, verdict)


def _apply(draft: Draft, trial: TrialState, evidence: Evidence, verdict: Verdict) -> None:
    wanted = trial.stop_intent is StopIntent.NONE
    if not draft.o.may_record:
        return  # every step below is durable before it is taken
    if verdict.then is Then.CREATE and wanted:
        if draft.o.may_start and draft.experiment.deleted is None:
            draft.starts.append((trial.name, trial.attempt))
    elif verdict.then is Then.START_ERROR and wanted:
        draft.put(_given_up(trial, evidence, verdict, StopIntent.START_ERROR))
    elif verdict.then is Then.HUNG and wanted:
        draft.put(_given_up(trial, evidence, verdict, StopIntent.HUNG))
    elif verdict.then in SETTLING:
        _settle(draft, trial, evidence, verdict)


def fence_left_behind(draft: Draft) -> None:
    """Past the bound of a deletion whoever could not be settled is fenced, if the store answers."""
    for trial in draft.open if draft.late and draft.o.may_record else ():
        evidence = draft.o.evidence(trial)
        if not isinstance(evidence.exit, Unread):
            verdict = Verdict(7, "lost", Then.STOPPED, reason="LeftBehind", message=_LEFT_BEHIND)
            _settle(draft, trial, evidence, verdict)


def _settle(draft: Draft, trial: TrialState, evidence: Evidence, verdict: Verdict) -> None:
    failure = draft.spec.failure
    found = draft.o.recovered.get((trial.name, trial.attempt), ())
    recovered = [result for result in found if result.seq > trial.seq]
    committed = draft.o.committed.get(trial.name, ())
    metric = draft.spec.objective.metric
    settled = settle(trial, verdict, evidence, committed, failure, metric, recovered)
    draft.take_in(trial, recovered)
    draft.put(settled.trial)
    draft.run = replace(
        draft.run, lost_iterations=draft.run.lost_iterations + settled.lost_iterations
    )
    draft.events += settle_events(settled.trial, verdict, failure)
    if verdict.ends == "experiment" and not draft.run.stopped:
        text = f"trial {trial.name}: {verdict.message or verdict.reason}"
        draft.run = replace(draft.run, stopped="FailExperiment", stopped_message=text)


def _given_up(
    trial: TrialState, evidence: Evidence, verdict: Verdict, intent: StopIntent
) -> TrialState:
    """Rows 20 and 23: note why before the Pod is deleted, for then the evidence is gone."""
    return replace(
        trial,
        stop_intent=intent,
        interruption=Interruption(
            cls=verdict.cls,
            reason=verdict.reason,
            message=verdict.message,
            row=verdict.row,
            attempt=trial.attempt,
            iteration=trial.iteration,
            time=evidence.now,
            node=trial.node,
        ),
    )
