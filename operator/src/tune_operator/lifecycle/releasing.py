"""Pods that are nobody's current attempt: let go, kept for people to read, or left alone."""

from __future__ import annotations

from datetime import datetime, timedelta

from tune_operator.lifecycle.actions import DeletePod, ReleasePod
from tune_operator.lifecycle.draft import Draft
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import Phase, TrialState


def release(draft: Draft) -> None:
    """Pods of attempts that are not current: settled, outdated, or never bound.

    Past the bound of a deletion nobody waits for any: whose attempt could not be settled goes too.
    """
    current = set() if draft.late else {trial.pod_uid for trial in draft.open}
    kept = _kept(draft)
    deleting = draft.experiment.deleted is not None
    for pod in draft.o.pods:
        if pod.uid in current:
            continue
        if _from_the_future(draft, pod):
            # It ends with its grace when all do, and is released after that.
            if deleting and pod.deleted is None:
                draft.actions.append(DeletePod(pod.namespace, pod.name, pod.uid))
        elif pod.uid in kept:
            if pod.tracked:
                draft.actions.append(ReleasePod(pod.namespace, pod.name, pod.uid, keep=True))
        elif pod.tracked or pod.deleted is None:
            draft.actions.append(ReleasePod(pod.namespace, pod.name, pod.uid))


def _kept(draft: Draft) -> set[str]:
    """UIDs of ended Pods that stay: the last ones of errored trials, others for their TTL."""
    if draft.experiment.deleted is not None:
        return set()
    cleanup = draft.spec.cleanup
    ended = {
        pod.uid: (at, pod)
        for pod in draft.o.pods
        if pod.deleted is None and (at := _ended_at(draft, pod)) is not None
    }
    errored = sorted(
        ((at, pod.name, uid) for uid, (at, pod) in ended.items() if _shows_why(draft, pod)),
        reverse=True,
    )
    kept = {uid for _, _, uid in errored[: cleanup.keep_errored_pods]}
    # Without a TTL no clocks are compared: kubelets may be ahead of ours.
    for uid, (at, _) in ended.items() if cleanup.pod_ttl_seconds else ():
        until = at + timedelta(seconds=cleanup.pod_ttl_seconds)
        if until > draft.now:
            kept.add(uid)
            draft.look_again(until)
    return kept


def _shows_why(draft: Draft, pod: PodView) -> bool:
    """Whether the Pod shows why its trial errored."""
    trial = _trial(draft, pod)
    if trial is None or trial.phase is not Phase.ERRORED or not pod.terminal:
        return False
    return trial.attempt == pod.attempt > 0


def _ended_at(draft: Draft, pod: PodView) -> datetime | None:
    """When its trainer ended; one whose trial is complete is about to."""
    if pod.terminal:
        return pod.trainer.finished or pod.created or draft.now
    trial = _trial(draft, pod)
    if trial is None or trial.phase is not Phase.TERMINATED or trial.attempt != pod.attempt:
        return None
    return trial.ended


def _trial(draft: Draft, pod: PodView) -> TrialState | None:
    index = int(pod.trial) if pod.trial.isdecimal() else -1
    return draft.trials[index] if 0 <= index < len(draft.trials) else None


def _from_the_future(draft: Draft, pod: PodView) -> bool:
    """An attempt we know nothing of was begun by whoever has a newer journal than ours.

    Only a write of our own would have told us so, and there may be none: hands off. What is
    finished in any version begins no attempt after it.
    """
    if draft.run.ended is not None or draft.late or not pod.trial.isdecimal():
        return False
    if draft.experiment.deleted is not None and pod.terminal:
        return False  # nothing counts any more
    trial = _trial(draft, pod)
    if trial is None:
        return pod.attempt > 0 and int(pod.trial) < draft.o.total
    return pod.attempt > trial.attempt and not trial.finished
