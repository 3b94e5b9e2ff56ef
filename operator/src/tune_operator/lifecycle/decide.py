"""One pure step: from an observation to the next durable state and the actions that follow it.

The caller writes the state first (one conditional write) and acts only after it landed; so an
intent is always recorded before its Pod exists, and a crash between the two is repaired by the
next look (row 18).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from tune_operator.lifecycle.actions import (
    Action,
    DeletePod,
    EmitEvent,
    ReleasePod,
    RemoveExperimentFinalizer,
)
from tune_operator.lifecycle.budget import backoff
from tune_operator.lifecycle.classify import Then, Verdict, classify
from tune_operator.lifecycle.events import (
    end_events,
    settle_events,
    start_events,
    waiting_events,
)
from tune_operator.lifecycle.evidence import Evidence, Unread
from tune_operator.lifecycle.observation import AttemptKey, Observation
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.settle import settle
from tune_operator.lifecycle.trial_state import (
    Checkpoint,
    Interruption,
    Phase,
    RunState,
    StopIntent,
    TrialState,
)
from tune_trainer.protocol.keys import trial_name


@dataclass(frozen=True)
class Decision:
    """``starts`` are attempts whose Pod is to be created; ``verdicts`` are for log and conditions.

    ``gone`` says that nothing of a deleted experiment is left. ``urgent`` is False when only
    progress changed, which may wait for the status throttle.
    """

    state: RunState
    starts: tuple[AttemptKey, ...]
    actions: tuple[Action, ...]
    verdicts: tuple[tuple[TrialState, Verdict], ...]
    look_again: datetime | None
    urgent: bool
    gone: bool = False


def decide(observation: Observation) -> Decision:
    """The next step of an experiment. Pure: same observation, same decision."""
    step = _Step(observation)
    step.take_in_progress()
    step.bind()
    deleted = observation.experiment.deleted
    if deleted is not None:
        step.stop()
    step.judge()
    if deleted is not None:
        step.leave_late(deleted)
    elif observation.may_start and observation.state.ended is None:
        step.start()
    step.delete_stopped()
    step.release()
    step.finish()
    return step.decision()


class _Step:
    """The working copy of one decision; lives for the length of one call."""

    def __init__(self, observation: Observation) -> None:
        self.o = observation
        self.spec = observation.experiment.spec
        self.trials = list(observation.state.trials)
        self.lost = observation.state.lost_iterations
        self.ended = observation.state.ended
        self.starts: list[AttemptKey] = []
        self.actions: list[Action] = []
        self.events: list[EmitEvent] = []
        self.verdicts: list[tuple[TrialState, Verdict]] = []
        self.look_again: datetime | None = None
        self.gone = False

    def take_in_progress(self) -> None:
        """Results of the current attempt, newest first wins; older attempts are deaf (P5)."""
        for trial in self._open():
            news = self.o.progress.get(trial.name)
            if news is None or news.attempt != trial.attempt or news.seq < trial.seq:
                continue
            known = trial.checkpoint
            own = news.checkpoint is not None and news.checkpoint.attempt == trial.attempt
            if news.checkpoint and own and (known is None or known.ref < news.checkpoint):
                known = Checkpoint(news.checkpoint, self.o.now)
            self._put(
                replace(
                    trial,
                    seq=news.seq,
                    iteration=max(news.iteration, 0) or trial.iteration,
                    objective=trial.objective if news.objective is None else news.objective,
                    checkpoint=known,
                )
            )

    def bind(self) -> None:
        """The first Pod seen of an attempt is the attempt's Pod, once and for all (P1)."""
        for trial in self._open():
            pod = self.o.pod_of(trial)
            if pod is not None:
                self._put(replace(trial, pod_uid=pod.uid, node=pod.node or trial.node))

    def judge(self) -> None:
        """Run every open attempt through the decision table."""
        for trial in self._open():
            evidence = self._evidence(trial)
            decided = evidence.exit is not Unread.UNDECIDED
            if evidence.over and evidence.exit is Unread.NOT_ASKED:
                decided = False
            if not decided:
                continue  # the store did not answer; StorageAvailable says so and we look again
            verdict = classify(evidence)
            self.verdicts.append((trial, verdict))
            self._look_again(verdict.look_again)
            self.events += waiting_events(trial, verdict)
            self._apply(trial, evidence, verdict)

    def _apply(self, trial: TrialState, evidence: Evidence, verdict: Verdict) -> None:
        if verdict.then is Then.CREATE and trial.stop_intent is StopIntent.NONE:
            if self.o.may_start and self.o.experiment.deleted is None:
                self.starts.append((trial.name, trial.attempt))
        elif verdict.then is Then.START_ERROR and trial.stop_intent is StopIntent.NONE:
            self._put(_refused_to_start(trial, evidence, verdict))
        elif verdict.then in (Then.COMPLETE, Then.STOPPED, Then.RESUME):
            committed = self.o.committed.get(trial.name, ())
            settled = settle(
                trial, verdict, evidence, committed, self.spec.failure, self.spec.objective.metric
            )
            self._put(settled.trial)
            self.lost += settled.lost_iterations
            self.events += settle_events(settled.trial, verdict, self.spec.failure.max_failures)

    def stop(self) -> None:
        """Deletion is stop intent for all, also for those it ended before we looked."""
        for trial in self._open():
            if trial.pod_uid == "":
                self._put(_left(trial))  # never created
            elif trial.stop_intent is StopIntent.NONE:
                self._put(replace(trial, stop_intent=StopIntent.DELETE))

    def leave_late(self, deleted: datetime) -> None:
        """Past the bound whoever could not be settled is left behind."""
        if not self._late():
            self._look_again(deleted + self.o.experiment.stop_bound)
            return
        for trial in self._open():
            self._put(_left(trial))

    def start(self) -> None:
        """Fill free places with interrupted trials and new ones, as the scheduler chooses."""
        free = self.spec.max_concurrent_trials - len(self._open())
        waiting = {trial.name: trial for trial in self.trials if self._startable(trial)}
        while free > 0:
            new = TrialState(trial_name(len(self.trials)), started=self.o.now)
            fresh = [new.name] if len(self.trials) < self.o.total else []
            name = self.o.choose_next([*waiting, *fresh])
            if name is None:
                return
            if name == new.name:
                self.trials.append(new)
            self._begin(waiting.pop(name, new))
            free -= 1

    def _startable(self, trial: TrialState) -> bool:
        """Interrupted, and its pause is over."""
        if trial.finished or trial.open:
            return False
        ready = self._ready_at(trial)
        if ready > self.o.now:
            self._look_again(ready)
        return ready <= self.o.now

    def _ready_at(self, trial: TrialState) -> datetime:
        if trial.interruption is None:
            return self.o.now
        pause = self.spec.failure.backoff
        return trial.interruption.time + backoff(trial, pause.initial_seconds, pause.max_seconds)

    def _begin(self, trial: TrialState) -> None:
        """Intent of the next attempt: one above anything that ever left a trace."""
        traces = [ref.attempt for ref in self.o.committed.get(trial.name, ())]
        traces += [pod.attempt for pod in self.o.pods if pod.trial == trial.name]
        attempt = 1 + max([trial.attempt, *traces])
        begun = replace(
            trial,
            phase=Phase.RUNNING,
            reason="",
            attempt=attempt,
            open=True,
            pod_uid="",
            seq=0,
            node="",
            iteration=trial.plan[0].iteration if trial.plan else 0,
        )
        self._put(begun)
        self.starts.append((trial.name, attempt))
        self.events += start_events(trial, begun)

    def delete_stopped(self) -> None:
        """A stop intent reaches its Pod, again after a crash if need be."""
        for trial in self._open():
            pod = self.o.pod_of(trial)
            if trial.stop_intent and pod and pod.deleted is None and not pod.terminal:
                self.actions.append(DeletePod(pod.namespace, pod.name, pod.uid))

    def release(self) -> None:
        """Pods of attempts that are not current: settled, outdated, or never bound."""
        current = {trial.pod_uid for trial in self._open()}
        known = {trial.name: trial for trial in self.trials}
        for pod in self.o.pods:
            if pod.uid in current:
                continue
            if self._from_the_future(pod, known.get(pod.trial)):
                # It ends with its grace when all do, and is released after that.
                if self.o.experiment.deleted is not None and pod.deleted is None:
                    self.actions.append(DeletePod(pod.namespace, pod.name, pod.uid))
            elif pod.tracked or pod.deleted is None:
                self.actions.append(ReleasePod(pod.namespace, pod.name, pod.uid))

    def _from_the_future(self, pod: PodView, trial: TrialState | None) -> bool:
        """An attempt we know nothing of was begun by whoever wrote a status newer than ours.

        Only a write of our own would have told us so, and there may be none: hands off. What is
        finished in any version of the status begins no attempt after it.
        """
        if self.ended is not None or self._late() or not pod.trial.isdecimal():
            return False
        if self.o.experiment.deleted is not None and pod.terminal:
            return False  # nothing counts any more
        if trial is None:
            return pod.attempt > 0 and int(pod.trial) < self.o.total
        return pod.attempt > trial.attempt and not trial.finished

    def _late(self) -> bool:
        """Past the bound of a deletion."""
        experiment = self.o.experiment
        if experiment.deleted is None:
            return False
        return self.o.now >= experiment.deleted + experiment.stop_bound

    def finish(self) -> None:
        """The end: of a deleted object when nothing of it is left, of a run when all are done."""
        experiment = self.o.experiment
        if experiment.deleted is not None:
            # A released Pod still has to end: whoever waits for the object waits for its Pods too.
            self.gone = not self._open() and (self._late() or not self.o.pods)
            if self.gone and experiment.has_finalizer:
                self.actions.append(
                    RemoveExperimentFinalizer(experiment.namespace, experiment.name, experiment.uid)
                )
            return
        done = 0 < self.o.total <= len(self.trials)
        if done and self.ended is None and all(trial.finished for trial in self.trials):
            self.ended = self.o.now
            self.events += end_events(self.trials)

    def decision(self) -> Decision:
        before = self.o.state
        state = replace(
            before,
            trials=tuple(self.trials),
            lost_iterations=self.lost,
            started=before.started or (self.o.now if self.trials else None),
            ended=self.ended,
        )
        return Decision(
            state=state,
            starts=tuple(self.starts),
            actions=(*self.actions, *self.events),
            verdicts=tuple(self.verdicts),
            look_again=self.look_again,
            urgent=_lifecycle(state) != _lifecycle(before),
            gone=self.gone,
        )

    def _open(self) -> list[TrialState]:
        return [trial for trial in self.trials if trial.open]

    def _evidence(self, trial: TrialState) -> Evidence:
        return self.o.evidence(trial)

    def _put(self, trial: TrialState) -> None:
        self.trials[trial.index] = trial

    def _look_again(self, when: datetime | None) -> None:
        if when is not None:
            self.look_again = min(self.look_again or when, when)


def _left(trial: TrialState) -> TrialState:
    """Closed without an outcome."""
    return replace(trial, open=False, phase=Phase.PENDING, pod_uid="", stop_intent=StopIntent.NONE)


def _refused_to_start(trial: TrialState, evidence: Evidence, verdict: Verdict) -> TrialState:
    """Row 20: note why before the Pod is deleted, for then the kubelet's words are gone."""
    return replace(
        trial,
        stop_intent=StopIntent.START_ERROR,
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


def _lifecycle(state: RunState) -> RunState:
    return replace(
        state, lost_iterations=0, trials=tuple(trial.without_progress() for trial in state.trials)
    )
