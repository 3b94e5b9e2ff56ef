"""Takes keys from the queue and reconciles them; an error means the same key again, later."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from tune_operator.experiment.run import Key
from tune_operator.kube.errors import KubeError, TooManyRequests
from tune_operator.obs.logging import context
from tune_operator.obs.metrics import Metrics
from tune_operator.runtime.workqueue import QueueClosed, WorkQueue

logger = logging.getLogger(__name__)


async def work(
    queue: WorkQueue[Key], reconcile: Callable[[Key], Awaitable[None]], metrics: Metrics
) -> None:
    """One worker, until the queue is closed and drained."""
    while True:
        try:
            key = await queue.get()
        except QueueClosed:
            return
        try:
            with metrics.reconcile_seconds.time(), context(experiment="/".join(key)):
                outcome = await _once(queue, key, reconcile)
            metrics.reconciles.labels(outcome).inc()
        finally:
            queue.done(key)


async def _once(
    queue: WorkQueue[Key], key: Key, reconcile: Callable[[Key], Awaitable[None]]
) -> str:
    try:
        await reconcile(key)
    except TooManyRequests as error:
        queue.add(key, after=error.retry_after)
        return "throttled"
    except KubeError as error:
        logger.warning("%s; again later", error)
        queue.retry(key)
        return "retried"
    except Exception:
        # A defect in one experiment's path must not take the others down.
        logger.exception("reconcile failed")
        queue.retry(key)
        return "failed"
    queue.forget(key)
    return "done"
