"""Where things lie in the bucket. Numbers have fixed widths, so a LIST comes back in order.

::

    <prefix>/<namespace>/<experiment>/<runID>/
      experiment/j/<term>-<nonce>-<seq>.jsonl
      t/<trial>/d/<attempt>-<iteration>-<nonce>/<file>
      t/<trial>/m/<attempt>-<iteration>.json
      t/<trial>/x/<attempt>.json
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tune_trainer.protocol.errors import ProtocolError

TRIAL_WIDTH = 5
ATTEMPT_WIDTH = 5
ITERATION_WIDTH = 10
TERM_WIDTH = 8
SEQ_WIDTH = 8

_REF = re.compile(rf"([0-9]{{1,{ATTEMPT_WIDTH}}})-([0-9]{{1,{ITERATION_WIDTH}}})")
_MANIFEST = re.compile(rf"(\d{{{ATTEMPT_WIDTH}}})-(\d{{{ITERATION_WIDTH}}})\.json")
_CLAIM = re.compile(rf"(\d{{{TERM_WIDTH}}})-([0-9a-f]+)-(\d{{{SEQ_WIDTH}}})\.jsonl")


def trial_name(index: int) -> str:
    """Name of the trial with this index (from 0): ``"00003"``."""
    return f"{index:0{TRIAL_WIDTH}d}"


@dataclass(frozen=True, order=True)
class CheckpointRef:
    """One committed checkpoint of a trial. Ordered by attempt, then iteration."""

    attempt: int
    iteration: int

    def __str__(self) -> str:
        """Short form used in status: ``"2-40"``."""
        return f"{self.attempt}-{self.iteration}"

    @classmethod
    def parse(cls, text: str) -> CheckpointRef:
        """Read the short form; raises ProtocolError."""
        match = _REF.fullmatch(text)
        if match is None:
            raise ProtocolError(f"checkpoint {text[:40]!r}: expected <attempt>-<iteration>")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class RunKeys:
    """Keys of one run. ``root`` has no bucket, no leading and no trailing slash."""

    root: str

    @classmethod
    def of(cls, prefix: str, namespace: str, experiment: str, run_id: str) -> RunKeys:
        """Keys of a run below a location's prefix (which may be empty)."""
        return cls("/".join(part for part in (prefix, namespace, experiment, run_id) if part))

    def claims(self) -> str:
        """Prefix of the journal; a claim is a segment with sequence 0."""
        return f"{self.root}/experiment/j/"

    def claim(self, term: int, nonce: str) -> str:
        """Key of the claim of one opening of the run."""
        return f"{self.claims()}{term:0{TERM_WIDTH}d}-{nonce}-{0:0{SEQ_WIDTH}d}.jsonl"

    def trial(self, trial: str) -> TrialKeys:
        """Keys of one trial."""
        return TrialKeys(f"{self.root}/t/{trial}")


@dataclass(frozen=True)
class TrialKeys:
    """Keys of one trial below its run."""

    root: str

    def manifests(self, attempt: int | None = None) -> str:
        """Prefix of the trial's manifests, or of one attempt's."""
        of = "" if attempt is None else f"{attempt:0{ATTEMPT_WIDTH}d}-"
        return f"{self.root}/m/{of}"

    def manifest(self, ref: CheckpointRef) -> str:
        """Key of one manifest, the commit point of a checkpoint."""
        return (
            f"{self.manifests()}{ref.attempt:0{ATTEMPT_WIDTH}d}"
            f"-{ref.iteration:0{ITERATION_WIDTH}d}.json"
        )

    def data(self, ref: CheckpointRef, nonce: str) -> str:
        """Prefix of a checkpoint's data files; written once, never overwritten."""
        return (
            f"{self.root}/d/{ref.attempt:0{ATTEMPT_WIDTH}d}"
            f"-{ref.iteration:0{ITERATION_WIDTH}d}-{nonce}/"
        )

    def exit_record(self, attempt: int) -> str:
        """Key of an attempt's exit record."""
        return f"{self.root}/x/{attempt:0{ATTEMPT_WIDTH}d}.json"


def parse_manifest_key(key: str) -> CheckpointRef | None:
    """The checkpoint a manifest's key names; None for a key that is no manifest's."""
    match = _MANIFEST.fullmatch(key.rpartition("/")[2])
    return CheckpointRef(int(match[1]), int(match[2])) if match else None


def parse_claim_key(key: str) -> tuple[int, str, int] | None:
    """(term, nonce, sequence) of a journal key; None for a foreign key."""
    match = _CLAIM.fullmatch(key.rpartition("/")[2])
    return (int(match[1]), match[2], int(match[3])) if match else None
