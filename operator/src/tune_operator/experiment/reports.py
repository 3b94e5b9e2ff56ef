"""What reports of trainers mean: the sink behind the report server.

The Pod is known from its token; its UID is compared with the durable state on every request, so
an attempt that was replaced is deaf and dumb from the moment the status says so (P5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from tune_operator.api.constants import LABEL_EXPERIMENT_UID
from tune_operator.experiment.run import Key, Run
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import KubeError, NotFound
from tune_operator.kube.informer import Informer
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle.objective import objective_of
from tune_operator.lifecycle.observation import Progress
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import StopIntent, TrialState
from tune_operator.obs.metrics import Metrics
from tune_operator.reports.identity import PodIdentity
from tune_operator.reports.sink import NotBound, NotReady, Outdated
from tune_operator.runtime.clock import Clock
from tune_operator.store.errors import StoreError
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.messages import (
    CONTINUE,
    CompleteRequest,
    CompleteResponse,
    Directive,
    DirectiveKind,
    ResultsRequest,
    ResultsResponse,
    SessionRequest,
    SessionResponse,
    StorageInfo,
)
from tune_trainer.protocol.result import Result

UNDURABLE_LIMIT = 1000
"""Results of one attempt that may wait for the journal; beyond it the trainer keeps them."""

UNDURABLE_BYTES = 8 * 1024 * 1024
"""Of reports of one run whose results may wait: its store is the tenant's, and so is its pace."""

BIND_SECONDS = 5.0
"""How long a session waits for its Pod to be bound before it is told to ask again."""


@dataclass(frozen=True)
class Reports:
    """Implements `reports.sink.ReportSink` over the runs of this process, by experiment UID."""

    kube: Kube
    pods: Informer[PodView]
    runs: Mapping[str, Run]
    wake: Callable[[Key, float], None]
    clock: Clock
    metrics: Metrics

    async def session(self, pod: PodIdentity, request: SessionRequest) -> SessionResponse:
        """Configuration, resume plan and policy of the bound attempt."""
        view = await self._view(pod)
        run = self._run(view)
        try:
            async with asyncio.timeout(BIND_SECONDS):
                while (trial := self._trial(run, view, request.attempt)).pod_uid == "":
                    changed = run.changed
                    self.wake(run.key, 0.0)
                    await changed.wait()
        except TimeoutError:
            raise NotBound("the attempt is not bound to this Pod yet: ask again") from None
        self._heard(run, trial)
        return _session(run, trial)

    async def results(self, pod: PodIdentity, request: ResultsRequest) -> ResultsResponse:
        """Take in results once per sequence number. Only Continue is answered before durability."""
        view = await self._view(pod)
        run = self._run(view)
        trial = self._bound(run, view, request.attempt)
        known = run.progress.get(trial.name) or Progress(trial.attempt, seq=trial.seq)
        fresh = _fresh(request, known)
        self.metrics.results_duplicate.inc(len(request.results) - len(fresh))
        if request.after > known.seq:
            # Our predecessor took in those between, in memory only: we get them again first.
            fresh = []
        # With the journal stuck the trainer keeps the rest, and sends it again.
        fresh = _fitting(run, known, fresh)
        news = _advance(run, known, fresh, request.checkpoints)
        self.metrics.results_received.inc(len(fresh))
        _judge(run, trial.name, fresh)
        directive = _directive(run, trial, news)
        self._heard(run, trial)
        if news != known:
            run.progress[trial.name] = news
            run.undurable += sum(result.weight for result in fresh)
            # Not sooner than it can be written: hundreds of trainers report many times a second.
            self.wake(run.key, run.progress_wait(self.clock.monotonic()))
        return ResultsResponse(received=news.seq, durable=trial.seq, directive=directive)

    async def complete(self, pod: PodIdentity, request: CompleteRequest) -> CompleteResponse:
        """The attempt ended by itself: see that its record is stored, then settle it."""
        view = await self._view(pod)
        run = self._run(view)
        trial = self._bound(run, view, request.attempt)
        if (request.exit.trial, request.exit.attempt) != (trial.name, trial.attempt):
            raise Outdated("the exit record is another attempt's")
        if run.store is None:
            raise NotReady("the store does not answer: ask again")
        key = run.keys.trial(trial.name).exit_record(trial.attempt)
        try:
            # The SDK wrote it already, and the first one stands; other languages cannot write it.
            await run.store.put_if_absent(key, request.exit.to_bytes())
        except StoreError as error:
            raise NotReady(error.message) from None
        # It may have been settled while we wrote: what is said of it now would be its successor's.
        trial = self._bound(run, view, request.attempt)
        known = run.progress.get(trial.name) or Progress(trial.attempt, seq=trial.seq)
        # Its results are taken in from the record that stands, when the attempt is settled.
        news = _advance(run, known, [], request.checkpoints)
        run.progress[trial.name] = replace(news, completed=True)
        self.wake(run.key, 0.0)
        return CompleteResponse()

    def _heard(self, run: Run, trial: TrialState) -> None:
        run.heard[trial.name, trial.attempt] = self.clock.now()

    async def _view(self, pod: PodIdentity) -> PodView:
        """The reporting Pod; what the cache lacks is asked for before anybody is sent away."""
        view = self.pods.get(pod.namespace, pod.name)
        if view is None or view.uid != pod.uid:
            try:
                raw = await self.kube.get(PODS, pod.namespace, pod.name)
            except NotFound:
                raise Outdated("this Pod does not exist any more") from None
            except KubeError:
                raise NotReady("the API server does not answer: ask again") from None
            if LABEL_EXPERIMENT_UID in (raw["metadata"].get("labels") or {}):
                self.pods.observe(raw)  # the cache holds no others
            view = self.pods.get(pod.namespace, pod.name)
        if view is None or view.uid != pod.uid or not view.experiment_uid:
            raise Outdated("this Pod is no attempt of a trial")
        return view

    def _run(self, view: PodView) -> Run:
        run = self.runs.get(view.experiment_uid)
        if run is None or run.journal is None or run.accepted is None:
            if not view.tracked:
                # Its attempt was settled or fenced: a zombie whose experiment may be gone for good.
                raise Outdated("this Pod was let go: its attempt is over")
            raise NotReady("the experiment is not open here yet: ask again")
        if run.key[0] != view.namespace:  # anybody may write that label on a Pod of his own
            raise Outdated("this Pod is no attempt of a trial")
        return run

    def _trial(self, run: Run, view: PodView, attempt: int) -> TrialState:
        trial = run.durable.trial(view.trial)
        if view.attempt == attempt and (trial is None or trial.attempt < attempt):
            # No Pod is made before its attempt is journaled: somebody opened the run after us, and
            # we were frozen or cut off meanwhile. It is for them to answer.
            self.wake(run.key, 0.0)
            raise NotReady("the attempt is not known here: ask again")
        if trial is None or not trial.open or not (trial.attempt == view.attempt == attempt):
            raise Outdated("this attempt is not the current one of its trial")
        if trial.pod_uid not in ("", view.uid):
            raise Outdated("the attempt belongs to another Pod")
        return trial

    def _bound(self, run: Run, view: PodView, attempt: int) -> TrialState:
        trial = self._trial(run, view, attempt)
        if trial.pod_uid == "":
            raise NotBound("the attempt is not bound to this Pod yet: ask for a session first")
        return trial


def _fresh(request: ResultsRequest, known: Progress) -> list[Result]:
    """What is new to us, as heavy as the whole request: repetitions make nothing lighter."""
    fresh = [result for result in request.results if result.seq > known.seq]
    total = sum(result.weight for result in request.results)
    return [replace(result, weight=-(-total // len(fresh))) for result in fresh]


def _fitting(run: Run, known: Progress, fresh: Sequence[Result]) -> list[Result]:
    """As many of them as there is room for, from the first."""
    fresh = fresh[: max(0, UNDURABLE_LIMIT - len(known.results))]
    sums = accumulate(result.weight for result in fresh)
    room = UNDURABLE_BYTES - run.undurable
    return [result for result, size in zip(fresh, sums, strict=True) if size <= room]


def _judge(run: Run, trial: str, results: Sequence[Result]) -> None:
    """Let the scheduler know of the results, in their order."""
    if run.accepted is not None:
        for result in results:
            run.accepted.engine.on_result(trial, result.metrics)


def _directive(run: Run, trial: TrialState, news: Progress) -> Directive:
    """What the trainer is asked for. A stop is journaled before it is answered."""
    if trial.stop_intent is StopIntent.STOP:
        return Directive(DirectiveKind.STOP, f"{trial.attempt}-stop")
    asked = run.asked_to_save.get((trial.name, trial.attempt))
    if asked is not None and not asked.done(news.checkpoint):
        return Directive(DirectiveKind.CHECKPOINT, asked.id)
    return CONTINUE


def _advance(
    run: Run,
    known: Progress,
    fresh: Sequence[Result],
    checkpoints: tuple[CheckpointRef, ...],
) -> Progress:
    """``known`` with the results it has not seen yet and the newest of its own checkpoints."""
    for ref in checkpoints:
        if ref.attempt == known.attempt and (known.checkpoint is None or known.checkpoint < ref):
            known = replace(known, checkpoint=ref)
    if not fresh or run.accepted is None:
        return known
    last = fresh[-1]
    metric = run.accepted.experiment.spec.objective.metric
    value = objective_of(last.metrics, metric)
    return replace(
        known,
        seq=last.seq,
        iteration=last.iteration or known.iteration,
        objective=known.objective if value is None else value,
        results=(*known.results, *fresh),
    )


def _session(run: Run, trial: TrialState) -> SessionResponse:
    if run.accepted is None:
        raise NotReady("the experiment is not open here yet: ask again")
    experiment, spec = run.accepted.experiment, run.accepted.experiment.spec
    return SessionResponse(
        experiment=experiment.name,
        experiment_uid=experiment.uid,
        namespace=experiment.namespace,
        run_id=run.uid,
        trial=trial.name,
        attempt=trial.attempt,
        config=trial.config,
        metric=spec.objective.metric,
        mode=spec.objective.mode,
        criteria={key: float(bound) for key, bound in spec.stop.criteria.items()},
        frequency=spec.checkpoint.frequency,
        max_lost_seconds=spec.checkpoint.max_lost_seconds,
        at_end=spec.checkpoint.at_end,
        on_preemption=spec.checkpoint.on_preemption,
        plan=trial.plan,
        storage=StorageInfo(
            endpoint=spec.storage.endpoint,
            region=spec.storage.region,
            bucket=run.location.bucket,
            root=run.keys.root,
        ),
    )
