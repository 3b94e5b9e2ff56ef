"""Deleting all of a run from the store, for an object that is deleted with deletionPolicy Delete.

It begins when every attempt was settled or fenced and that is journaled. A mark comes first:
whoever opens the run sees it and leaves, so that nobody trains on what is going. What is left then
is deleted by whoever comes by; the claims and the mark go last.
"""

from __future__ import annotations

import contextlib
import json

from tune_operator.experiment.claim import Displaced
from tune_operator.store.errors import AccessDenied, StoreError
from tune_operator.store.object_store import PAGE, ObjectStore
from tune_trainer.protocol import VERSION
from tune_trainer.protocol.keys import RunKeys, SegmentRef, parse_segment_key


async def purge(store: ObjectStore, keys: RunKeys, term: int) -> None:
    """Delete the run, which we know up to this term. May be begun again after any error.

    Raises StoreError, and Displaced when somebody opened the run with a higher one.
    """
    if not await _marked(store, keys, term):
        mark = {"version": VERSION, "type": "purging", "term": term}
        await store.put(keys.purging(), json.dumps(mark, sort_keys=True).encode() + b"\n")
        # Whoever claimed it before he could see the mark will see it; and may be the one to go on.
        await _marked(store, keys, term)
    await _empty(store, keys.trials())
    with contextlib.suppress(AccessDenied):  # whose parts are left to the bucket's own rules
        for upload in await store.uploads(keys.trials()):
            await store.abort(upload)
    await _empty(store, keys.snapshots())
    await _delete_journal(store, keys)


async def nothing_left(store: ObjectStore, keys: RunKeys) -> bool:
    """Whether there is no object of the run. Raises StoreError."""
    return not await store.page(f"{keys.root}/")


async def _marked(store: ObjectStore, keys: RunKeys, term: int) -> bool:
    """Whether the mark is there. What is listed behind our term are claims of others, and it."""
    listed = await store.list(keys.journal(), keys.segment(SegmentRef(term + 1, "0", 0)))
    if any(parse_segment_key(key) is not None for key in listed):
        raise Displaced(f"term {term} of the run was overtaken: it is not deleted")
    return keys.purging() in listed


async def _empty(store: ObjectStore, prefix: str) -> None:
    first = ""
    while page := await store.page(prefix):
        if page[0].key == first:
            raise StoreError(f"{first} is there after it was deleted")
        first = page[0].key
        await store.delete([stored.key for stored in page])


async def _delete_journal(store: ObjectStore, keys: RunKeys) -> None:
    """Segments, then claims, then the mark: until the end it can be seen that all is going."""
    after = ""
    claims: list[str] = []
    while page := await store.page(keys.journal(), after):
        found = [stored.key for stored in page]
        held = {key for key in found if _is_claim(key)}
        claims += sorted(held)
        await store.delete([key for key in found if key not in held and key != keys.purging()])
        after = found[-1]
    for start in range(0, len(claims), PAGE):
        await store.delete(claims[start : start + PAGE])
    await store.delete([keys.purging()])


def _is_claim(key: str) -> bool:
    segment = parse_segment_key(key)
    return segment is not None and segment.seq == 0
