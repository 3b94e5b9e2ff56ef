"""What must hold before the first Pod: acceptance, the store, the claim (DESIGN 5.2, 9).

Each gate leaves a finding on the run, which becomes a condition; nothing is started in vain.
"""

from __future__ import annotations

import copy
import secrets
from dataclasses import dataclass, replace

from tune_operator.experiment.accepted import Accepted, Refused, accept, parse
from tune_operator.experiment.claim import Claim, Owner, next_term, open_run
from tune_operator.experiment.run import Run
from tune_operator.experiment.status_writer import StatusWriter
from tune_operator.experiment.storage import Observe, StorageProblem, connect, problem
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Forbidden, Invalid
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle import pod
from tune_operator.lifecycle.conditions import Finding
from tune_operator.store.errors import StoreError
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import trial_name

STATUS_LOST = (
    "the store holds claims of this run, but the object's status is empty: restore the status from "
    "a backup, or delete this TuneExperiment and create a new one; nothing was overwritten"
)

ODD_TEMPLATE = (
    "spec.template is no Pod template: volumes, and env and volumeMounts of the container trainer, "
    "must be lists of objects, metadata.labels and metadata.annotations objects"
)

REFUSED_SECONDS = 30.0
"""Pause before a Pod that was refused is tried again, by a dry run."""

STORE_RETRY_SECONDS = 5.0
"""Pause before a store that could not be used is tried again, whatever wakes the experiment."""

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
        """The parsed specification; None, with a finding, when there is nothing to run."""
        try:
            experiment = parse(run.obj)
            known = run.accepted
            if known is None or known.experiment.generation != experiment.generation:
                known = accept(experiment, run.obj["spec"])
                run.acceptance, run.asked = Finding(), float("-inf")
        except Refused as refused:
            run.accepted, run.acceptance = None, refused.finding
            return None
        run.accepted = replace(known, experiment=experiment)
        return run.accepted

    async def try_pod(self, run: Run, accepted: Accepted) -> bool:
        """Whether the API server would take the Pod: it validates better than we could.

        Asked once per generation; a refusal is asked again now and then, because the namespace's
        rules may change.
        """
        now = self.writer.clock.monotonic()
        if not run.acceptance.ok and now >= run.asked + REFUSED_SECONDS:
            try:
                await self._dry_run(accepted)
                run.acceptance = Finding(
                    ok=True, reason="Valid", message="the specification can run"
                )
            except Refused as refused:
                run.acceptance = refused.finding
            run.asked = now
        return bool(run.acceptance.ok)

    async def _dry_run(self, accepted: Accepted) -> None:
        # Attempt 0 is never given out, so the name cannot be taken by a Pod of ours.
        config = accepted.searcher.config(0)
        try:
            body = pod.build(accepted.experiment, trial_name(0), 0, config, self.session)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Refused("InvalidPod", f"{ODD_TEMPLATE} ({error})") from None
        source = "trainer" if accepted.experiment.spec.trainer else "template"
        try:
            await self.kube.create(PODS, accepted.experiment.namespace, body, dry_run=True)
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

    async def open_store(self, run: Run, accepted: Accepted) -> bool:
        """Connect to the store; False with a finding when it cannot be used."""
        if run.store is not None:
            return True
        if self.writer.clock.monotonic() < run.store_after:
            return False  # a store that hangs must not keep a worker busy at each report
        spec = accepted.experiment.spec
        try:
            run.store = await connect(self.kube, run.key[0], spec.storage, self.observe_store)
        except StorageProblem as found:
            await self.lose_store(run, found.finding)
            return False
        return True

    async def claim(self, run: Run, accepted: Accepted) -> bool:
        """Hold the run: our claim landed, the status shows our term, the store answers."""
        if not await self.open_store(run, accepted) or run.store is None:
            return False
        held = run.claimed and run.claim is not None and run.durable.term == run.claim.term
        if held and run.storage.ok:
            return True
        try:
            if held:
                await next_term(run.store, run.keys, run.durable.term)  # any answer will do
            else:
                await self._open(run, run.store)
        except StoreError as error:
            await self.lose_store(run, problem(error).finding)
            return False
        except StorageProblem as found:
            await self.lose_store(run, found.finding)
            return False
        run.storage = Finding(ok=True, reason="Claimed", message=CLAIMED)
        return True

    async def _open(self, run: Run, store: ObjectStore) -> None:
        term = await next_term(store, run.keys, run.durable.term)
        if run.durable.term == 0 and term > 1:
            # The status was our memory: going on without it would start the run again at attempt 1.
            raise StorageProblem("StatusLost", STATUS_LOST)
        # A term that was taken stays ours over retries until its claim landed.
        mine = run.claim is not None and not run.claimed and run.durable.term == run.claim.term
        if not mine or run.claim is None:
            run.claim, run.claimed = Claim(term, secrets.token_hex(8)), False
        owner = Owner(self.cluster, *run.key, run.uid)

        async def take(term: int) -> None:
            if run.durable.term == term:
                return
            status = copy.deepcopy(dict(run.obj.get("status") or {}))
            status.update({"runID": run.uid, "journal": {"term": term}})
            await self.writer.write(run, status)

        await open_run(store, run.keys, owner, run.claim, take)
        run.claimed = True

    async def lose_store(self, run: Run, finding: Finding) -> None:
        """Forget the client, so that the next look reads the Secret again: keys get rotated."""
        run.storage = finding
        run.store_after = self.writer.clock.monotonic() + STORE_RETRY_SECONDS
        store, run.store = run.store, None
        if store is not None:
            await store.close()
