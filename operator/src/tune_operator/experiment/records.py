"""Records of the journal: what changed in a run, as JSON, and the run that they add up to.

Each record says how things are from then on, never by how much they changed: read twice it changes
nothing. Types: ``opened`` (an owner begins here, see `chain`), ``spec`` (a generation of the
specification), ``trial`` (the row of a trial whose life went on), ``results`` (progress) and
``run`` (what changed beside the trials).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tune_operator.experiment import trial_json
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_trainer.protocol import VERSION, fields, numbers
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import LARGEST_TRIAL, SegmentRef, trial_name
from tune_trainer.protocol.result import Result

Record = Mapping[str, Any]
"""A plain JSON object with a ``type``."""

RESULTS_PER_RECORD = 16
"""A report has at most 256 KiB, so even sixteen of its size fit into one segment."""

_INSTANTS = {"started": "started", "ended": "ended"}
_PLAIN: dict[str, tuple[str, type]] = {
    "lostIterations": ("lost_iterations", int),
    "generation": ("generation", int),
    "stopped": ("stopped", str),
    "stoppedMessage": ("stopped_message", str),
    "released": ("released", bool),
}


class BadRecord(ValueError):
    """A record that this version cannot have written, or of a version it does not know."""


def opened(after: SegmentRef | None) -> Record:
    """The first record of an opening: the last segment of others that counts for it."""
    return {
        "type": "opened",
        "version": VERSION,
        "after": None if after is None else str(after),
    }


def opened_after(record: Record) -> SegmentRef | None:
    """The inverse of `opened`. Raises BadRecord, also for a version that is not known."""
    if record.get("type") != "opened":
        raise BadRecord("does not begin with the record `opened`")
    if record.get("version") != VERSION:
        raise BadRecord(f"version {record.get('version')!r} is not known here")
    try:
        after = fields.optional(record, "after", str, "", "opened")
        return SegmentRef.parse(after) if after else None
    except ProtocolError as error:
        raise BadRecord(str(error)) from None


def specification(generation: int, spec: Mapping[str, Any]) -> Record:
    """The specification that is in force from here on, as the object holds it."""
    return {"type": "spec", "generation": generation, "spec": spec}


def changes(
    before: RunState,
    after: RunState,
    results: Mapping[str, Sequence[Result]] | None = None,
) -> list[Record]:
    """What makes `after` of `before`; empty when nothing changed. Trials are only ever added.

    ``results``: what was taken in since, by trial, in order; they come before what was made of
    them.
    """
    records: list[Record] = []
    for index, trial in enumerate(after.trials):
        known = before.trials[index] if index < len(before.trials) else None
        news = () if results is None else results.get(trial.name, ())
        if news or (known is not trial and known != trial):
            records += _trial_changes(known, trial, news)
    run = _write_run(after)
    old = _write_run(before)
    if changed := {key: value for key, value in run.items() if value != old[key]}:
        records.append({"type": "run", **changed})
    return records


def fold(state: RunState, record: Record) -> RunState:
    """The run after one record. Raises BadRecord."""
    return fold_all(state, (record,))


def fold_all(state: RunState, records: Iterable[Record]) -> RunState:
    """The run after these records, in their order. Raises BadRecord."""
    trials = list(state.trials)
    for record in records:
        try:
            state = _apply(state, trials, record)
        except BadRecord:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # ProtocolError, too. Whatever a damaged document makes of our reading, it is no state.
            kind = str(record.get("type"))[:20]
            raise BadRecord(f"a record {kind!r} cannot be read: {error!r:.200}") from None
    return replace(state, trials=tuple(trials))


def _trial_changes(
    known: TrialState | None, trial: TrialState, news: Sequence[Result]
) -> list[Record]:
    row = trial_json.write(trial)
    if known is None:
        config = numbers.encode(trial.config)
        created = {"type": "trial", "what": "created", **row, "config": config}
        return [created, *(_results(trial, trial.attempt, news, alone=True) if news else ())]
    # What is written is compared, not the states: a NaN that stays a NaN is no change.
    config = _changed_config(known, trial)
    old = trial_json.write(known)
    lived = bool(config) or _life(row) != _life(old)
    records: list[Record] = []
    if news or (row != old and not lived):
        records += _results(trial, known.attempt, news, alone=not lived)
    if lived:
        records.append({"type": "trial", "what": _what(known, trial), **row, **config})
    return records


def _changed_config(known: TrialState, trial: TrialState) -> dict[str, Any]:
    """It is set when the trial is created, and then never again, if all is well."""
    if known.config == trial.config:
        return {}
    config = numbers.encode(trial.config)
    return {} if config == numbers.encode(known.config) else {"config": config}


def _life(row: Record) -> dict[str, Any]:
    """The row without progress, which has records of its own."""
    return {key: value for key, value in row.items() if key not in trial_json.PROGRESS}


def _results(
    trial: TrialState, attempt: int, news: Sequence[Result], *, alone: bool
) -> list[Record]:
    """Results in portions, each with the sequence it reaches; ``alone``: no row follows them."""
    portions = [news[n : n + RESULTS_PER_RECORD] for n in range(0, len(news), RESULTS_PER_RECORD)]
    records: list[dict[str, Any]] = [
        {
            "type": "results",
            "trial": trial.name,
            "attempt": attempt,
            "seq": portion[-1].seq if portion else trial.seq,
            "results": [result.to_json() for result in portion],
        }
        for portion in portions or [()]
    ]
    if alone:
        records[-1] |= {
            "seq": trial.seq,
            "iteration": trial.iteration,
            "checkpoint": trial_json.checkpoint(trial.checkpoint),
            **trial_json.number(trial.objective),
        }
    return list(records)


def _what(known: TrialState, trial: TrialState) -> str:
    """One word for those who read a journal; nothing depends on it."""
    if trial.attempt != known.attempt:
        return "replaced" if known.open and trial.open else "started"
    if known.open and not trial.open:
        return "settled"
    if trial.stop_intent and not known.stop_intent:
        return "stopping"
    if trial.pod_uid and not known.pod_uid:
        return "bound"
    return "changed"


def _apply(state: RunState, trials: list[TrialState], record: Record) -> RunState:
    match record.get("type"):
        case "trial":
            _put_row(trials, record)
            return state
        case "results":
            index = _index(record)
            trials[index] = _progress(trials[index], record)
            return state
        case "run":
            return _read_run(state, record)
        case "spec":
            generation = fields.need(record, "generation", int, "spec")
            spec = fields.need(record, "spec", dict, "spec")
            return replace(state, generation=generation, specification=spec)
        case "opened":
            opened_after(record)
            return state
        case kind:
            raise BadRecord(f"records of type {str(kind)[:20]!r} are not known here")


def _index(record: Record) -> int:
    index = int(fields.need(record, "trial", str, "record"))
    if index < 0 or record["trial"] != trial_name(index):
        raise ValueError("no name of a trial")
    return index


def _put_row(trials: list[TrialState], record: Record) -> None:
    index = _index(record)
    if index > min(len(trials), LARGEST_TRIAL):
        raise ValueError("trials before this one are missing, or it is one too many")
    config = numbers.decode(record["config"]) if "config" in record else trials[index].config
    trials[index : index + 1] = [trial_json.read(record, config)]


def _progress(trial: TrialState, record: Record) -> TrialState:
    trial = replace(trial, seq=fields.need(record, "seq", int, "results"))
    if "iteration" not in record:
        return trial
    return replace(
        trial,
        iteration=fields.need(record, "iteration", int, "results"),
        objective=trial_json.read_number(record),
        checkpoint=trial_json.read_checkpoint(record["checkpoint"]),
    )


def _write_run(state: RunState) -> dict[str, Any]:
    row = {key: getattr(state, name) for key, (name, _) in _PLAIN.items()}
    return row | {key: trial_json.instant(getattr(state, n)) for key, n in _INSTANTS.items()}


def _read_run(state: RunState, record: Record) -> RunState:
    changed: dict[str, Any] = {
        name: fields.need(record, key, kind, "run")
        for key, (name, kind) in _PLAIN.items()
        if key in record
    }
    changed |= {
        name: trial_json.read_instant(record[key])
        for key, name in _INSTANTS.items()
        if key in record
    }
    return replace(state, **changed)
