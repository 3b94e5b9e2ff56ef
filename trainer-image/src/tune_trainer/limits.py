"""Every time-out and bound of the SDK in one place. Times are seconds, sizes bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one attempt. An outage of ten minutes must pass without any of them firing."""

    session: float = 1800.0
    """How long to wait for the operator before the first step, then exit 75."""
    answer: float = 10.0
    """How long a step waits for the operator's answer, then training goes on."""
    quick_step: float = 0.1
    """Results of steps shorter than this are sent together, without waiting for each answer."""
    quick_backlog: int = 256
    """Unanswered results of quick steps; beyond it they wait like slow ones."""
    cleanup: float = 30.0
    """What the user's ``cleanup()`` gets before the attempt's end is told without it."""
    complete: float = 20.0
    """How long to try ``/v1/complete``: the exit record is already in the store."""
    restore: float = 300.0
    """How long one request of a restore is retried, then exit 75."""
    upload: float = 900.0
    """How long one request of a checkpoint or the exit record is retried, then exit 75."""
    denied: float = 60.0
    """The same while keys, bucket or clock are wrong: a new Pod may have what is right."""
    spool_results: int = 8192
    """Results that are kept until the operator calls them durable (see ``spool``)."""
    spool_bytes: int = 4 * 1024 * 1024
    """JSON size of those results, which ride in each manifest and in the exit record.

    An hour at one result a second, with all automatic fields and up to 500 bytes of the user's.
    """
    result_bytes: int = 32 * 1024
    """JSON size of one result; a larger one loses its largest entries (see ``metrics``)."""
    request_bytes: int = 192 * 1024
    """JSON size of the results in one request; the operator refuses bodies above 256 KiB."""
