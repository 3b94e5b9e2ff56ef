"""What retention may never delete, held against every deletion (DESIGN 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.model.history import KEYS, History, hold
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_trainer.protocol.keys import CheckpointRef, DataRef, parse_data_key, parse_manifest_key
from tune_trainer.protocol.manifest import Manifest

KEPT = 2
"""The newest of each trial that stay whatever comes: the default of `keep.latest`."""

Plan = tuple[CheckpointRef, ...]


@dataclass
class Retained:
    """``plans`` has the acknowledged plan of each trial, and how many segments that took."""

    history: History
    plans: dict[str, tuple[Plan, int]] = field(default_factory=dict)
    manifests_deleted: int = 0
    data_deleted: int = 0

    def advanced(self, state: RunState, segments: int) -> None:
        """This state is acknowledged."""
        for trial in state.trials:
            if self.plans.get(trial.name, ((), 0))[0] != trial.plan:
                self.plans[trial.name] = (trial.plan, segments)

    def deleted(self, key: str, listed: Mapping[str, int]) -> None:
        """An object is about to go. ``listed``: how many segments were acknowledged when whoever
        deletes it listed a prefix."""
        trial = self.history.state.trial(key.removeprefix(KEYS.trials()).partition("/")[0])
        hold("P6", trial, f"{key} of an unknown trial is deleted")
        assert trial is not None
        keys = KEYS.trial(trial.name)
        folder = parse_data_key(keys, key)
        if folder is not None:
            hold("P6", folder not in self._named(), f"{key} is deleted and has a manifest")
            self.data_deleted += 1
            return
        ref = parse_manifest_key(key)
        hold("P6", ref, f"{key} is deleted, which is no checkpoint")
        assert ref is not None
        self._checkpoint(trial, ref, listed.get(keys.manifests(), 0))
        self.manifests_deleted += 1

    def _checkpoint(self, trial: TrialState, ref: CheckpointRef, decided: int) -> None:
        late = self.history.late.get(trial.name, set())
        newest = max(self.history.honest.get(trial.name, set()), default=None)
        newer = [each for each in self.stored(trial.name) - late if each > ref]
        hold("P6", ref != newest or newer, f"{ref} is the newest of trial {trial.name}")
        shown = trial.checkpoint is not None and trial.checkpoint.ref == ref
        hold("P6", not shown, f"{ref} of trial {trial.name} is what the status shows")
        if self._restores(trial):
            # What was surplus before there was this plan is surplus for ever.
            plan, since = self.plans.get(trial.name, ((), 0))
            pinned = plan if decided >= since else plan[:KEPT]
            hold("P6", ref not in pinned, f"trial {trial.name} is to be restored from {ref}")

    def _restores(self, trial: TrialState) -> bool:
        """From its plan, now or later: its current attempt has not committed."""
        own = [ref for ref in self.stored(trial.name) if ref.attempt == trial.attempt]
        return not trial.finished and not (trial.open and own)

    def committed(self, trial: str, ref: CheckpointRef) -> None:
        """A checkpoint that counts has just been committed."""
        whole = self._is_whole(trial, ref)
        hold("P6", whole, f"{trial}/{ref} is committed, and its data were taken for garbage")

    def told(self, trial: str, plan: Plan) -> None:
        """A trainer is told what it may restore from."""
        for ref in self.certain(plan):
            hold("P6", self._is_whole(trial, ref), f"{trial} cannot be restored from {ref}")

    def certain(self, plan: Plan) -> Plan:
        """What of a plan is there for certain."""
        return plan[:KEPT] if self.manifests_deleted else plan

    def stored(self, trial: str) -> set[CheckpointRef]:
        """Checkpoints of a trial that are in the store."""
        prefix = KEYS.trial(trial).manifests()
        keys = [key for key in self.history.bucket.objects if key.startswith(prefix)]
        return {ref for key in keys if (ref := parse_manifest_key(key)) is not None}

    def _is_whole(self, trial: str, ref: CheckpointRef) -> bool:
        objects, keys = self.history.bucket.objects, KEYS.trial(trial)
        data = objects.get(keys.manifest(ref))
        return data is not None and f"{keys.folder(Manifest.from_bytes(data).data)}model" in objects

    def _named(self) -> set[DataRef]:
        """What manifests of all trials name."""
        objects = self.history.bucket.objects
        found = [data for key, data in objects.items() if "/m/" in key]
        return {Manifest.from_bytes(data).data for data in found}
