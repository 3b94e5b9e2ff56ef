"""Checkpoints through a store and a network that fail: what is restored was committed, whole.

Whatever happens, it is never older than the last one that was acknowledged, and a store that does
not serve us is never taken for one that has nothing.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.trainer.build import (
    KEYS,
    FakeTime,
    Ledger,
    at,
    files,
    quick_retry,
    read_files,
    saver,
)
from tests.unit.trainer.fault_server import LASTING, FaultServer, Trouble
from tests.unit.trainer.http_server import Answer, Request
from tests.unit.trainer.s3_server import BUCKET, error
from tests.unit.trainer.wire import Cut, Wire
from tune_trainer.checkpoint import layout
from tune_trainer.checkpoint.restore import fetch
from tune_trainer.errors import Unusable
from tune_trainer.protocol.keys import CheckpointRef, parse_manifest_key
from tune_trainer.retry import Retry
from tune_trainer.store.base import Store
from tune_trainer.store.s3 import Credentials, S3Store

OLD, NEW = CheckpointRef(1, 5), CheckpointRef(1, 10)
CONTENT = {
    OLD: {"weights": b"the older weights", "sub/state": b"old"},
    NEW: {"weights": b"and the newer weights", "sub/state": b"new", "empty": b""},
}
SILENCE = 0.1
quick = functools.partial(
    settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TROUBLES = st.lists(st.sampled_from(Trouble), max_size=16)
CUTS = st.lists(st.builds(Cut, st.booleans(), st.integers(0, 2500)), max_size=8)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 8 bytes, so that small files have several."""
    monkeypatch.setattr(layout, "PART_SIZE", 8)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    found = FaultServer()
    yield found
    found.stop()


@pytest.fixture
def store(server: FaultServer) -> Iterator[S3Store]:
    found = connect(server.endpoint)
    yield found
    found.close()


def connect(endpoint: str) -> S3Store:
    return S3Store(endpoint, "", BUCKET, Credentials("an-access-key", "a-secret-key"), SILENCE)


def afresh(server: FaultServer, store: Store, staging: Path) -> None:
    """The older checkpoint, and nothing else, in a healthy store."""
    server.heal()
    server.store.objects.clear()
    server.store.uploads.clear()
    server.conditional = True
    save(store, OLD, staging)


def save(store: Store, ref: CheckpointRef, staging: Path) -> list[CheckpointRef]:
    """Save and commit; returns what was acknowledged, also when it then went wrong."""
    ledger = Ledger()
    one = saver(store, ledger, staging)
    one.save(files(**CONTENT[ref]), at(ref.iteration), {"value": 1}, forced=True)
    one.wait()
    return ledger.refs


def restore(
    store: Store, plan: list[CheckpointRef], staging: Path
) -> tuple[CheckpointRef, dict[str, bytes]]:
    with fetch(store, KEYS, tuple(plan), staging, quick_retry()) as restored:
        return restored.manifest.ref, read_files(restored.directory)


def plan_of(server: FaultServer) -> list[CheckpointRef]:
    """The resume plan as the operator makes it: the manifests, newest first."""
    refs = map(parse_manifest_key, server.store.objects)
    return sorted(filter(None, refs), reverse=True)


@quick(max_examples=25)
@given(TROUBLES, TROUBLES, st.booleans())
def test_trouble_that_passes_costs_nothing(
    server: FaultServer, store: S3Store, tmp_path: Path,
    saving: list[Trouble], loading: list[Trouble], conditional: bool,
) -> None:  # fmt: skip
    afresh(server, store, tmp_path)
    server.conditional = conditional
    server.troubles = iter(saving)
    assert save(store, NEW, tmp_path) == [NEW]
    server.troubles = iter(t for t in loading if t is not Trouble.ALTERED)
    assert restore(store, [NEW, OLD], tmp_path) == (NEW, CONTENT[NEW])
    server.heal()  # what was late overwrites what it may
    assert restore(store, [NEW, OLD], tmp_path) == (NEW, CONTENT[NEW])


@quick(max_examples=25)
@given(st.sampled_from(LASTING), st.integers(0, 14))
def test_trouble_that_lasts_loses_no_more_than_what_was_not_acknowledged(
    server: FaultServer, store: S3Store, tmp_path: Path, trouble: Trouble, after: int
) -> None:
    afresh(server, store, tmp_path)
    server.forever(trouble, after)
    acknowledged = [OLD]
    with contextlib.suppress(Unusable):
        acknowledged += save(store, NEW, tmp_path)
    server.heal()
    plan = plan_of(server)
    ref, content = restore(store, plan, tmp_path)
    assert (ref, content) == (plan[0], CONTENT[ref])
    assert ref >= max(acknowledged)


@pytest.mark.parametrize("trouble", LASTING, ids=lambda trouble: trouble.name.lower())
@pytest.mark.parametrize("after", [0, 1, 2], ids=["manifest", "first part", "second part"])
def test_a_store_that_does_not_serve_us_is_unusable_and_never_empty(
    server: FaultServer, store: S3Store, tmp_path: Path, trouble: Trouble, after: int
) -> None:
    afresh(server, store, tmp_path)
    server.forever(trouble, after)
    with pytest.raises(Unusable):
        restore(store, [OLD], tmp_path)
    assert list(tmp_path.glob("restore-*")) == []


@quick(max_examples=25)
@given(CUTS, CUTS)
def test_connections_that_end_at_any_byte_cost_nothing(
    server: FaultServer, store: S3Store, tmp_path: Path, saving: list[Cut], loading: list[Cut]
) -> None:
    afresh(server, store, tmp_path)
    wire = Wire(server.endpoint, iter([*saving, *loading]))
    through = connect(wire.endpoint)
    try:
        assert save(through, NEW, tmp_path) == [NEW]
        assert restore(through, [NEW, OLD], tmp_path) == (NEW, CONTENT[NEW])
    finally:
        through.close()
        wire.stop()
    assert restore(store, [NEW, OLD], tmp_path) == (NEW, CONTENT[NEW])


def test_a_part_that_was_altered_on_its_way_here_is_read_again(
    server: FaultServer, store: S3Store, tmp_path: Path
) -> None:
    afresh(server, store, tmp_path)
    server.troubles = iter([Trouble.NONE, Trouble.ALTERED])
    assert restore(store, [OLD], tmp_path) == (OLD, CONTENT[OLD])


def test_an_upload_that_fails_leaves_no_parts_behind(
    server: FaultServer, store: S3Store, tmp_path: Path
) -> None:
    afresh(server, store, tmp_path)

    def no_second_part(request: Request, carry_out: Callable[[], Answer]) -> Answer:
        return error(403, "AccessDenied") if "partNumber=2" in request.path else carry_out()

    server.intercept = no_second_part
    with pytest.raises(Unusable, match="weights part 2: HTTP 403 AccessDenied"):
        save(store, NEW, tmp_path)
    assert server.store.uploads == {}
    assert plan_of(server) == [OLD]


def test_an_upload_that_the_store_dropped_is_given_up_at_once(
    server: FaultServer, store: S3Store, tmp_path: Path
) -> None:
    afresh(server, store, tmp_path)

    def dropped(request: Request, carry_out: Callable[[], Answer]) -> Answer:
        return error(404, "NoSuchUpload") if "partNumber=2" in request.path else carry_out()

    server.intercept = dropped
    with pytest.raises(Unusable, match="the store dropped the multipart upload"):
        save(store, NEW, tmp_path)
    assert plan_of(server) == [OLD]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("NoSuchBucket", "no such bucket: create it, or correct spec.storage.uri"),
        ("RequestTimeTooSkewed", "the clock of this node and the store's differ too much"),
        ("InvalidAccessKeyId", "HTTP 404 InvalidAccessKeyId"),
    ],
)
def test_what_is_set_up_wrongly_is_told_soon_and_with_its_remedy(
    server: FaultServer, store: S3Store, code: str, says: str
) -> None:
    server.intercept = lambda request, carry_out: error(404, code)
    fake = FakeTime()
    with pytest.raises(Unusable, match=f"gave up after 60 s: .*{says}"):
        Retry(900, denied=60, wait=fake.wait, clock=fake.clock).run(lambda: store.get("t/x"))
    assert fake.now < 61
