"""What must hold before the first Pod: acceptance, the store, the claim (DESIGN 5.2, 9).

Each gate leaves a finding on the run, which becomes a condition; nothing is started in vain.
"""

from __future__ import annotations

import copy
import logging
import secrets
from dataclasses import dataclass, replace

from tune_operator.api.storage import Storage
from tune_operator.experiment.accepted import (
    Accepted,
    Refused,
    accept,
    kept,
    parse,
    recorded,
    storage_of,
)
from tune_operator.experiment.claim import Displaced, Owner, RunPurged
from tune_operator.experiment.dry_run import Unanswered, would_create
from tune_operator.experiment.journal import Journal
from tune_operator.experiment.opening import Opening
from tune_operator.experiment.purge import nothing_left
from tune_operator.experiment.run import Run
from tune_operator.experiment.segments import JournalUnreadable
from tune_operator.experiment.status_writer import StatusWriter
from tune_operator.experiment.storage import Observe, StorageProblem, connect, problem
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Forbidden, Invalid
from tune_operator.lifecycle import pod, status
from tune_operator.lifecycle.conditions import Finding
from tune_operator.lifecycle.observation import Remains
from tune_operator.store.errors import StoreError
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import RunKeys, parse_segment_key, trial_name

logger = logging.getLogger(__name__)

JOURNAL_LOST = (
    "the status shows trials, but the store has no journal of this run: restore the bucket from a "
    "backup, or delete this TuneExperiment and create a new one; nothing was overwritten"
)

ODD_TEMPLATE = (
    "spec.template is no Pod template: volumes, and env and volumeMounts of the container trainer, "
    "must be lists of objects, metadata.labels and metadata.annotations objects"
)

REFUSED_SECONDS = 30.0
"""Pause before a Pod that was refused is tried again, by a dry run."""

STORE_RETRY_SECONDS = 5.0
"""Pause before a store that could not be used is tried again, whatever wakes the experiment."""

DISPLACED_SECONDS = 15.0
"""Pause before a run is opened again that somebody else has opened meanwhile."""

PURGED = (
    "this run was being deleted from the store and is never opened again: nothing was written; to "
    "start anew, delete this TuneExperiment and create a new one"
)

CLAIMED = "the store takes our writes and the run is ours"


@dataclass(frozen=True)
class Gates:
    """The checks, with what they need from outside."""

    kube: Kube
    session: pod.Session
    cluster: str
    observe_store: Observe
    writer: StatusWriter

    def accept(self, run: Run) -> Accepted | None:
        """The specification in force: the object's own, or the last one that was not refused.

        A change that is refused leaves a finding and nothing else: what runs is heard, settled and
        stopped as before it. None when this process never accepted one.
        """
        known = run.accepted
        try:
            fresh = self._fresh(run, known)
        except Refused as refused:
            run.acceptance, fresh = refused.finding, None
        if fresh is not None and known is None:
            run.ready_since = self.writer.clock.now()
        if fresh is None and known is not None:
            fresh = replace(known, experiment=kept(run.obj, known.experiment))
        run.accepted = fresh
        return fresh

    def _fresh(self, run: Run, known: Accepted | None) -> Accepted | None:
        """The object's own specification, validated once per generation; None: it was refused."""
        generation = run.obj["metadata"].get("generation", 0)
        if known and known.experiment.outdated and known.experiment.generation == generation:
            return None
        experiment = parse(run.obj, known.experiment if known else None)
        if known is None or known.experiment.in_force != generation:
            known = accept(experiment, run.obj["spec"])
            run.acceptance, run.asked = Finding(), float("-inf")
        return replace(known, experiment=experiment)

    async def recover(self, run: Run) -> Accepted | None:
        """The specification in force by the journal, after a restart that met a refused change.

        None where there is none, or where the journal cannot be opened. Raises as `hold`.
        """
        if status.term(run.obj.get("status") or {}) == 0 or run.durable.ended is not None:
            return None  # nobody ever opened the run, or it is over
        try:
            if await self.hold(run, storage_of(run.obj)):
                run.accepted = recorded(run.obj, run.durable)
        except Refused as refused:
            logger.warning("nothing to go on by: %s", refused)
        return run.accepted

    async def try_pod(self, run: Run, accepted: Accepted) -> bool:
        """Whether the API server would take the Pod: it validates better than we could.

        Asked once per generation; a refusal is asked again now and then, because the namespace's
        rules may change. Where nobody answers nothing can start, and nothing new is found.
        """
        now = self.writer.clock.monotonic()
        if accepted.experiment.outdated:
            return False  # no attempt begins by a specification that somebody has changed
        if not run.acceptance.ok and now >= run.asked + REFUSED_SECONDS:
            try:
                await self._dry_run(run, accepted)
                run.acceptance = Finding(
                    ok=True, reason="Valid", message="the specification can run"
                )
            except Refused as refused:
                run.acceptance = refused.finding
            except Unanswered:
                return False
            run.asked = now
        return bool(run.acceptance.ok)

    async def _dry_run(self, run: Run, accepted: Accepted) -> None:
        # Attempt 0 is never given out, so the name cannot be taken by a Pod of ours.
        config = accepted.searcher.config(0)
        try:
            body = pod.build(accepted.experiment, trial_name(0), 0, config, self.session)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Refused("InvalidPod", f"{ODD_TEMPLATE} ({error})") from None
        source = "trainer" if accepted.experiment.spec.trainer else "template"
        try:
            await would_create(self.kube, run, body, self.writer.clock)
        except Invalid as error:
            causes = "; ".join(f"{c.field}: {c.message}" for c in error.causes) or error.message
            raise Refused(
                "InvalidPod", f"the Pod made from spec.{source} is not valid: {causes}"
            ) from None
        except Forbidden as error:
            if error.exceeded_quota:
                return  # a quota may have room later; it is no fault of the specification
            raise Refused(
                "PodForbidden",
                f"a Pod made from spec.{source} is not allowed here: {error.message}",
            ) from None

    async def open_store(self, run: Run, storage: Storage) -> bool:
        """Connect to the store; False with a finding when it cannot be used."""
        if run.store is not None:
            return True
        if self.writer.clock.monotonic() < run.store_after:
            return False  # a store that hangs must not keep a worker busy at each report
        try:
            run.store = await connect(self.kube, run.key[0], storage, self.observe_store)
        except StorageProblem as found:
            await self.lose_store(run, found.finding)
            return False
        return True

    async def hold(self, run: Run, storage: Storage) -> bool:
        """Whether the run is ours and its journal takes records.

        Raises Displaced when somebody else has opened it, and Conflict when the status changed.
        """
        shown = status.term(run.obj.get("status") or {})
        if run.journal is not None and shown > run.journal.term:
            # Also while the store does not answer: what we know is old, and must not be shown.
            raise Displaced(f"the status shows a term above {run.journal.term}")
        if self.writer.clock.monotonic() < run.open_after:
            return False
        if not await self.open_store(run, storage) or run.store is None:
            return False
        try:
            if run.journal is None:
                await self._open(run, run.store)
            else:
                await self._keep(run, run.journal, run.store)
        except (StoreError, StorageProblem) as error:
            found = error if isinstance(error, StorageProblem) else problem(error)
            await self.lose_store(run, found.finding)
            return False
        run.storage = Finding(ok=True, reason="Claimed", message=CLAIMED)
        return True

    async def _keep(self, run: Run, journal: Journal, store: ObjectStore) -> None:
        if journal.pending:
            await journal.flush(store)
            run.advance()
        elif not run.storage.ok:
            await journal.check(store)

    async def _open(self, run: Run, store: ObjectStore) -> None:
        shown = run.obj.get("status") or {}
        if shown.get("trials") and not await _written(store, run.keys):
            if await self._purged(run, store):
                raise StorageProblem("RunPurged", PURGED)
            # Going on without the journal would start the run again at attempt 1.
            raise StorageProblem("JournalLost", JOURNAL_LOST)
        owner = Owner(self.cluster, *run.key, run.uid)
        run.opening = run.opening or Opening(run.keys, owner, lambda: secrets.token_hex(8))

        async def take(term: int) -> None:
            if status.term(run.obj.get("status") or {}) == term:
                return
            changed = copy.deepcopy(dict(run.obj.get("status") or {}))
            changed.update({"runID": run.uid, "journal": {"term": term}})
            await self.writer.write(run, changed)

        try:
            run.journal = await run.opening.proceed(store, status.term(shown), take)
        except JournalUnreadable as error:
            raise StorageProblem("JournalUnreadable", error.message) from None
        except RunPurged:
            run.opening, run.remains = None, Remains.GOING
            raise StorageProblem("RunPurged", PURGED) from None
        run.opening = None
        run.ready_since = self.writer.clock.now()
        run.advance()

    async def _purged(self, run: Run, store: ObjectStore) -> bool:
        """Whether the run was deleted by us, in a life before, and only the object is left."""
        storage, meta = run.obj["spec"]["storage"], run.obj["metadata"]
        ours = storage.get("deletionPolicy") == "Delete" and meta.get("deletionTimestamp")
        if not ours or not await nothing_left(store, run.keys):
            return False
        run.remains = Remains.NOTHING
        return True

    def leave(self, run: Run) -> None:
        """Somebody else has opened the run: stay away for a while."""
        run.forget()
        run.open_after = self.writer.clock.monotonic() + DISPLACED_SECONDS

    async def lose_store(self, run: Run, finding: Finding) -> None:
        """Forget the client, so that the next look reads the Secret again: keys get rotated."""
        run.storage = finding
        run.store_after = self.writer.clock.monotonic() + STORE_RETRY_SECONDS
        store, run.store = run.store, None
        if store is not None:
            await store.close()


async def _written(store: ObjectStore, keys: RunKeys) -> bool:
    """Whether the run ever had a record. Raises StoreError."""
    segments = map(parse_segment_key, await store.list(keys.journal()))
    return any(segment is not None and segment.seq > 0 for segment in segments)
