"""The commit point: a manifest is written once, and whoever wrote it owns the checkpoint."""

from __future__ import annotations

from tune_trainer.errors import Fenced
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.retry import Retry
from tune_trainer.store.base import NotFound, Store, Unavailable


def commit(store: Store, key: str, manifest: Manifest, retry: Retry) -> None:
    """Write the manifest unless another is there; returns once ours is certainly committed.

    A write that timed out may have happened, or may still happen: the same bytes are written again
    and the object is read back. The nonce tells ours from another's.
    Raises Fenced when another wrote it, Unusable when the store did not answer in time.
    """
    data = manifest.to_bytes()

    def attempt() -> None:
        try:
            if store.put_if_absent(key, data):
                return
        except Unavailable as lost:
            if not _is_ours(store, key, manifest.nonce):
                raise lost from None  # not there: try again
            return
        if not _is_ours(store, key, manifest.nonce):
            # Refused for a concurrent write that then did not happen.
            raise Unavailable(f"{key}: the conditional write met another one")

    retry.run(attempt)


def _is_ours(store: Store, key: str, nonce: str) -> bool:
    """True: ours is there. False: none is there. Raises Fenced for another's, Unavailable."""
    try:
        found = Manifest.from_bytes(store.get(key))
    except NotFound:
        return False
    except ProtocolError as error:
        raise Fenced(f"{key}: another wrote it, and not as we do: {error}") from None
    if found.nonce != nonce:
        raise Fenced(f"{key}: another process of this attempt committed it")
    return True
