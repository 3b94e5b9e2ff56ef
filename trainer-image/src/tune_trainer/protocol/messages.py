"""Messages between trainer and operator (``POST /v1/session``, ``/v1/results``, ``/v1/complete``).

Nothing in a body is trusted for identity: the Pod is known from its token. Each request carries
the attempt it believes to be, so that an outdated Pod is recognised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tune_trainer.protocol import VERSION, fields
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.exit_record import ExitRecord
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.result import Result, results_from_json

SESSION_PATH = "/v1/session"
RESULTS_PATH = "/v1/results"
COMPLETE_PATH = "/v1/complete"
BODY_LIMIT = 256 * 1024
"""Bytes of a request body the operator accepts."""


class ErrorCode(StrEnum):
    """``error.code`` of an answer that is not 200, and what the trainer does."""

    OUTDATED = "Outdated"  # 401: exit 75
    UNAUTHENTICATED = "Unauthenticated"  # 401: exit 75
    NOT_BOUND = "NotBound"  # 409: wait
    NOT_READY = "NotReady"  # 503: wait
    BAD_REQUEST = "BadRequest"  # 400
    TOO_LARGE = "TooLarge"  # 413
    TOO_MANY_REQUESTS = "TooManyRequests"  # 429: wait for Retry-After
    INTERNAL = "Internal"  # 500: wait


class DirectiveKind(StrEnum):
    """What the operator asks of a trainer. Later versions add Pause and Exploit."""

    CONTINUE = "Continue"
    STOP = "Stop"  # end once the current iteration is complete
    CHECKPOINT = "Checkpoint"  # save once after the current iteration, and go on


@dataclass(frozen=True)
class Directive:
    """The operator's answer to a result, repeated with each answer while it stands.

    ``id`` tells one that is repeated from a new one; Continue has none. ``unknown`` is a kind of a
    newer operator's that is not known here: then ``kind`` is Continue.
    """

    kind: DirectiveKind = DirectiveKind.CONTINUE
    id: str = ""
    unknown: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"type": self.kind.value} | ({"id": self.id} if self.id else {})

    @classmethod
    def from_json(cls, document: Mapping[str, Any], what: str) -> Directive:
        """Raises ProtocolError, but not for a kind that a newer operator may know."""
        kind = fields.need(document, "type", str, what)
        if kind == DirectiveKind.CONTINUE:
            return CONTINUE
        if kind not in set(DirectiveKind):
            return cls(unknown=kind)
        identity = fields.need(document, "id", str, what)
        if not identity:
            raise ProtocolError(f"{what}.id: {kind} needs one")
        return cls(DirectiveKind(kind), identity)


CONTINUE = Directive()


@dataclass(frozen=True)
class SessionRequest:
    """``trainable`` is what the trainer runs ("class", "external"); with what it can do."""

    trial: str
    attempt: int
    can_save: bool = True
    can_load: bool = True
    sdk: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "trial": self.trial,
            "attempt": self.attempt,
            "capabilities": {"save": self.can_save, "load": self.can_load},
            "sdk": self.sdk,
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> SessionRequest:
        """Raises ProtocolError."""
        what = "session"
        document = fields.load(data, what)
        capabilities = fields.optional(document, "capabilities", dict, {}, what)
        return cls(
            trial=fields.need(document, "trial", str, what),
            attempt=fields.whole(document, "attempt", what, minimum=1),
            can_save=fields.optional(
                capabilities, "save", bool, default=False, what=f"{what}.capabilities"
            ),
            can_load=fields.optional(
                capabilities, "load", bool, default=False, what=f"{what}.capabilities"
            ),
            sdk=fields.optional(document, "sdk", str, "", what),
        )


@dataclass(frozen=True)
class StorageInfo:
    """Where the run lies: ``root`` is the key prefix of the run inside the bucket."""

    endpoint: str
    region: str
    bucket: str
    root: str

    def to_json(self) -> dict[str, Any]:
        return {
            "endpoint": self.endpoint,
            "region": self.region,
            "bucket": self.bucket,
            "root": self.root,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StorageInfo:
        """Raises ProtocolError."""
        names = ("endpoint", "region", "bucket", "root")
        return cls(*(fields.need(document, name, str, "session.storage") for name in names))


@dataclass(frozen=True)
class SessionResponse:
    """All a trainer needs to start.

    ``plan`` lists the checkpoints to try, best first; an empty plan means from scratch.
    ``criteria`` maps a result key to the bound at which the trial has reached its end.
    ``frequency`` is in iterations, ``max_lost_seconds`` in seconds of training, 0 for none.
    ``on_preemption``: whether to save when the end is near. ``mode`` is "min" or "max".
    """

    experiment: str
    experiment_uid: str
    namespace: str
    run_id: str
    trial: str
    attempt: int
    config: Mapping[str, Any]
    metric: str
    mode: str
    criteria: Mapping[str, float]
    frequency: int
    at_end: bool
    plan: tuple[CheckpointRef, ...]
    storage: StorageInfo
    max_lost_seconds: int = 0
    on_preemption: bool = True

    def to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "experiment": self.experiment,
            "experimentUID": self.experiment_uid,
            "namespace": self.namespace,
            "runID": self.run_id,
            "trial": self.trial,
            "attempt": self.attempt,
            "config": dict(self.config),
            "objective": {"metric": self.metric, "mode": self.mode},
            "stop": {"criteria": dict(self.criteria)},
            "checkpoint": {
                "frequency": self.frequency,
                "maxLostSeconds": self.max_lost_seconds,
                "atEnd": self.at_end,
                "onPreemption": self.on_preemption,
            },
            "plan": [str(ref) for ref in self.plan],
            "storage": self.storage.to_json(),
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> SessionResponse:
        """Raises ProtocolError."""
        what = "session"
        document = fields.load(data, what)
        objective = fields.need(document, "objective", dict, what)
        checkpoint = fields.need(document, "checkpoint", dict, what)
        stop = fields.need(document, "stop", dict, what)
        criteria = fields.need(stop, "criteria", dict, f"{what}.stop")
        return cls(
            experiment=fields.need(document, "experiment", str, what),
            experiment_uid=fields.need(document, "experimentUID", str, what),
            namespace=fields.need(document, "namespace", str, what),
            run_id=fields.need(document, "runID", str, what),
            trial=fields.need(document, "trial", str, what),
            attempt=fields.whole(document, "attempt", what, minimum=1),
            config=fields.need(document, "config", dict, what),
            metric=fields.need(objective, "metric", str, f"{what}.objective"),
            mode=fields.need(objective, "mode", str, f"{what}.objective"),
            criteria={
                str(key): fields.need(criteria, key, float, f"{what}.stop.criteria")
                for key in criteria
            },
            frequency=fields.whole(checkpoint, "frequency", f"{what}.checkpoint"),
            at_end=fields.need(checkpoint, "atEnd", bool, f"{what}.checkpoint"),
            plan=tuple(
                CheckpointRef.parse(str(text)) for text in fields.need(document, "plan", list, what)
            ),
            storage=StorageInfo.from_json(fields.need(document, "storage", dict, what)),
            # An older operator sends neither.
            max_lost_seconds=(
                fields.whole(checkpoint, "maxLostSeconds", f"{what}.checkpoint")
                if "maxLostSeconds" in checkpoint
                else 0
            ),
            on_preemption=fields.optional(
                checkpoint, "onPreemption", bool, default=True, what=f"{what}.checkpoint"
            ),
        )


@dataclass(frozen=True)
class ResultsRequest:
    """Results in ascending sequence, and the checkpoints the operator may not know of.

    ``after``: the operator is known to have the results up to here. One that restarted and has
    fewer takes none of these, and says what it has: those between are sent again first.
    """

    attempt: int
    results: tuple[Result, ...]
    checkpoints: tuple[CheckpointRef, ...] = ()
    after: int = 0

    @property
    def seq(self) -> int:
        """Sequence of the last result; 0 when there is none."""
        return self.results[-1].seq if self.results else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "attempt": self.attempt,
            "after": self.after,
            "seq": self.seq,
            "results": [result.to_json() for result in self.results],
            "checkpoints": [str(ref) for ref in self.checkpoints],
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> ResultsRequest:
        """Raises ProtocolError."""
        what = "results"
        document = fields.load(data, what)
        request = cls(
            attempt=fields.whole(document, "attempt", what, minimum=1),
            results=results_from_json(
                fields.optional(document, "results", list, [], what), f"{what}.results", len(data)
            ),
            checkpoints=tuple(
                CheckpointRef.parse(str(text))
                for text in fields.optional(document, "checkpoints", list, [], what)
            ),
            after=fields.whole(document, "after", what) if "after" in document else 0,
        )
        if fields.whole(document, "seq", what) != request.seq:
            raise ProtocolError(f"{what}.seq: is not the sequence of the last result")
        return request


@dataclass(frozen=True)
class ResultsResponse:
    """``received``: taken into memory up to here; ``durable``: safe from an operator's crash."""

    received: int
    durable: int
    directive: Directive = CONTINUE

    def to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "received": self.received,
            "durable": self.durable,
            "directive": self.directive.to_json(),
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> ResultsResponse:
        """Raises ProtocolError."""
        what = "answer"
        document = fields.load(data, what)
        directive = fields.need(document, "directive", dict, what)
        return cls(
            fields.whole(document, "received", what),
            fields.whole(document, "durable", what),
            Directive.from_json(directive, f"{what}.directive"),
        )


@dataclass(frozen=True)
class CompleteRequest:
    """The end of an attempt: its exit record, which is in the store already if the SDK wrote it."""

    attempt: int
    exit: ExitRecord
    checkpoints: tuple[CheckpointRef, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "attempt": self.attempt,
            "exit": self.exit.to_json(),
            "checkpoints": [str(ref) for ref in self.checkpoints],
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> CompleteRequest:
        """Raises ProtocolError."""
        what = "complete"
        document = fields.load(data, what)
        return cls(
            attempt=fields.whole(document, "attempt", what, minimum=1),
            exit=ExitRecord.from_json(fields.need(document, "exit", dict, what)),
            checkpoints=tuple(
                CheckpointRef.parse(str(text))
                for text in fields.optional(document, "checkpoints", list, [], what)
            ),
        )


@dataclass(frozen=True)
class CompleteResponse:
    """The exit record is safe: the trainer may exit."""

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, "recorded": True}
