"""Where things lie in the bucket. Numbers have fixed widths, so a LIST comes back in order.

::

    <prefix>/<namespace>/<experiment>/<runID>/
      experiment/j/<term>-<nonce>-<seq>.jsonl
      experiment/j/purging.json
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

LARGEST_TRIAL = 10**TRIAL_WIDTH - 1
LARGEST_ATTEMPT = 10**ATTEMPT_WIDTH - 1
LARGEST_TERM = 10**TERM_WIDTH - 1
"""What keys have room for."""

_REF = re.compile(rf"([0-9]{{1,{ATTEMPT_WIDTH}}})-([0-9]{{1,{ITERATION_WIDTH}}})")
_MANIFEST = re.compile(rf"(\d{{{ATTEMPT_WIDTH}}})-(\d{{{ITERATION_WIDTH}}})\.json")
_DATA = re.compile(rf"(\d{{{ATTEMPT_WIDTH}}})-(\d{{{ITERATION_WIDTH}}})-([^/]+)/.*", re.DOTALL)
_SEGMENT = re.compile(rf"([0-9]{{{TERM_WIDTH}}})-([0-9a-f]+)-([0-9]{{{SEQ_WIDTH}}})")


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


@dataclass(frozen=True, order=True)
class DataRef:
    """The folder of one checkpoint's data, unique in its run. One checkpoint may have been begun
    more than once."""

    trial: str
    ref: CheckpointRef
    nonce: str


@dataclass(frozen=True, order=True)
class SegmentRef:
    """One segment of a run's journal; sequence 0 is the claim of an opening.

    Ordered as their keys are: by term, then nonce, then sequence. A nonce is lower-case hex.
    """

    term: int
    nonce: str
    seq: int

    def __str__(self) -> str:
        """The key's last part, without its ending."""
        return f"{self.term:0{TERM_WIDTH}d}-{self.nonce}-{self.seq:0{SEQ_WIDTH}d}"

    def numbered(self, seq: int) -> SegmentRef:
        """The segment of the same opening with this sequence."""
        return SegmentRef(self.term, self.nonce, seq)

    @classmethod
    def parse(cls, text: str) -> SegmentRef:
        """Read the form of `__str__`; raises ProtocolError."""
        match = _SEGMENT.fullmatch(text)
        if match is None:
            raise ProtocolError(f"segment {text[:60]!r}: expected <term>-<nonce>-<seq>")
        return cls(int(match[1]), match[2], int(match[3]))


@dataclass(frozen=True)
class RunKeys:
    """Keys of one run. ``root`` has no bucket, no leading and no trailing slash."""

    root: str

    @classmethod
    def of(cls, prefix: str, namespace: str, experiment: str, run_id: str) -> RunKeys:
        """Keys of a run below a location's prefix (which may be empty)."""
        return cls("/".join(part for part in (prefix, namespace, experiment, run_id) if part))

    def journal(self) -> str:
        """Prefix of the journal: of its claims and its segments."""
        return f"{self.root}/experiment/j/"

    def segment(self, ref: SegmentRef) -> str:
        """Key of one segment of the journal, or of a claim."""
        return f"{self.journal()}{ref}.jsonl"

    def purging(self) -> str:
        """Key of the mark that all of the run is being deleted; it sorts behind every segment."""
        return f"{self.journal()}purging.json"

    def snapshots(self) -> str:
        """Prefix of the snapshots of the run's state."""
        return f"{self.root}/experiment/s/"

    def trials(self) -> str:
        """Prefix of everything that trials wrote."""
        return f"{self.root}/t/"

    def trial(self, trial: str) -> TrialKeys:
        """Keys of one trial."""
        return TrialKeys(f"{self.root}/t/{trial}")


@dataclass(frozen=True)
class TrialKeys:
    """Keys of one trial below its run."""

    root: str

    @property
    def trial(self) -> str:
        """Name of the trial."""
        return self.root.rpartition("/")[2]

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

    def all_data(self) -> str:
        """Prefix of the data of all checkpoints."""
        return f"{self.root}/d/"

    def data(self, ref: CheckpointRef, nonce: str) -> str:
        """Prefix of a checkpoint's data files; written once, never overwritten."""
        return (
            f"{self.root}/d/{ref.attempt:0{ATTEMPT_WIDTH}d}"
            f"-{ref.iteration:0{ITERATION_WIDTH}d}-{nonce}/"
        )

    def folder(self, data: DataRef) -> str:
        """Prefix of data files of any trial of the run: a clone's are another's."""
        run, _, _ = self.root.rpartition("/")
        return TrialKeys(f"{run}/{data.trial}").data(data.ref, data.nonce)

    def exit_record(self, attempt: int) -> str:
        """Key of an attempt's exit record."""
        return f"{self.root}/x/{attempt:0{ATTEMPT_WIDTH}d}.json"


def parse_manifest_key(key: str) -> CheckpointRef | None:
    """The checkpoint a manifest's key names; None for a key that is no manifest's."""
    match = _MANIFEST.fullmatch(key.rpartition("/")[2])
    return CheckpointRef(int(match[1]), int(match[2])) if match else None


def parse_data_key(keys: TrialKeys, key: str) -> DataRef | None:
    """The folder of data that this key of the trial lies in; None for a key that is no data."""
    match = _DATA.fullmatch(key.removeprefix(keys.all_data()))
    if match is None:
        return None
    return DataRef(keys.trial, CheckpointRef(int(match[1]), int(match[2])), match[3])


def parse_segment_key(key: str) -> SegmentRef | None:
    """The segment a key of the journal names; None for a foreign key."""
    name, _, ending = key.rpartition("/")[2].rpartition(".")
    return SegmentRef.parse(name) if ending == "jsonl" and _SEGMENT.fullmatch(name) else None
