"""How the client behaves towards an API server that is slow, busy, restarting or gone."""

import asyncio
from pathlib import Path

import pytest
from kubernetes.aio.client import Configuration

from tests.unit.kube import api_server
from tests.unit.kube.api_server import (
    ApiServer,
    answer,
    bookmark,
    break_off,
    fail,
    hang,
    pod,
    pod_list,
    raw,
    stream,
)
from tests.unit.runtime.fake_clock import FakeClock
from tune_operator.kube import credentials, errors
from tune_operator.kube.client import Kube
from tune_operator.kube.resources import EXPERIMENTS, PODS

QUICK = {"request_seconds": 0.2}


class Hurried(FakeClock):
    """Sleeps take no time and are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def watched(kube: Kube) -> list[tuple[str, str]]:
    """(type, name or resourceVersion) of everything until the watch ends."""
    found = []
    async for kind, item in kube.watch(PODS, "tune", "5", label_selector="a=b"):
        meta = item["metadata"]
        found.append((kind, meta.get("name") or meta["resourceVersion"]))
    return found


async def test_read_is_repeated_until_it_works(server: ApiServer) -> None:
    server.then(fail(503), break_off, answer(pod("a", 7)))
    clock = Hurried()
    kube = server.client(clock=clock)
    assert (await kube.get(PODS, "tune", "a"))["metadata"]["name"] == "a"
    assert len(server.seen) == 3
    assert all(0.1 <= seconds <= 0.4 for seconds in clock.slept)


async def test_read_gives_up_after_a_few_attempts(server: ApiServer) -> None:
    server.then(*[fail(500, message="etcd is away")] * 9)
    kube = server.client(clock=Hurried())
    with pytest.raises(errors.Transient, match="get pods tune/a: etcd is away"):
        await kube.get(PODS, "tune", "a")
    assert len(server.seen) == 3


async def test_read_is_not_repeated_when_it_was_answered(server: ApiServer) -> None:
    server.then(fail(429, Retry_After="9"))
    kube = server.client(clock=Hurried())
    with pytest.raises(errors.TooManyRequests) as raised:
        await kube.get(PODS, "tune", "a")
    assert raised.value.retry_after == 9.0
    assert len(server.seen) == 1


async def test_writes_are_never_repeated(server: ApiServer) -> None:
    kube = server.client(clock=Hurried())
    writes = {
        "create": kube.create(PODS, "tune", pod("a", 1)),
        "replace": kube.replace(PODS, pod("a", 1)),
        "status": kube.replace_status(PODS, pod("a", 1)),
        "patch": kube.json_patch(PODS, "tune", "a", []),
        "delete": kube.delete(PODS, "tune", "a", uid="u"),
    }
    for name, write in writes.items():
        server.then(fail(504, "Timeout"), answer({}))
        with pytest.raises(errors.Transient):
            await write
        assert len(server.script) == 1, name
        server.script.clear()


async def test_done_write_that_aiohttp_repeats_is_a_conflict(server: ApiServer) -> None:
    server.then(break_off, fail(409, "Conflict"))
    kube = server.client()
    with pytest.raises(errors.Conflict):
        await kube.replace(PODS, pod("a", 1))


async def test_write_whose_connection_breaks_is_transient(server: ApiServer) -> None:
    server.then(break_off)
    kube = server.client()
    with pytest.raises(errors.Transient):
        await kube.create(PODS, "tune", pod("a", 1))


async def test_hung_request_ends_in_time(server: ApiServer) -> None:
    server.then(hang)
    kube = server.client(**QUICK)
    async with asyncio.timeout(5):
        with pytest.raises(errors.Transient, match="no answer in time"):
            await kube.create(PODS, "tune", pod("a", 1))


async def test_nobody_listens(server: ApiServer) -> None:
    async with api_server.running() as stopped:
        server.url = stopped.url
    with pytest.raises(errors.Transient):
        await server.client().create(PODS, "tune", pod("a", 1))


async def test_answer_that_is_no_json_is_transient(server: ApiServer) -> None:
    server.then(raw("<html>busy</html>"))
    kube = server.client()
    with pytest.raises(errors.Transient):
        await kube.create(PODS, "tune", pod("a", 1))


async def test_error_page_of_a_proxy_is_shown(server: ApiServer) -> None:
    server.then(raw("upstream is down\n", 502))
    kube = server.client()
    with pytest.raises(errors.Transient, match="upstream is down"):
        await kube.create(PODS, "tune", pod("a", 1))


async def test_name_that_leads_elsewhere_sends_nothing(server: ApiServer) -> None:
    kube = server.client()
    with pytest.raises(errors.Invalid):
        await kube.get(PODS, "tune", "../secrets/x")
    assert server.seen == []


async def test_what_requests_look_like(server: ApiServer) -> None:
    server.then(*[answer({})] * 6)
    kube = server.client()
    await kube.create(PODS, "tune", {"spec": 1}, dry_run=True)
    await kube.replace_status(EXPERIMENTS, {"metadata": {"namespace": "tune", "name": "d"}})
    await kube.json_patch(PODS, "tune", "a", [{"op": "test"}])
    await kube.delete(PODS, "tune", "a", uid="u1", grace_seconds=0)
    await kube.delete(PODS, "tune", "a", uid="u1")
    await kube.token_review("secret", ["aud"])
    dry, put, patch, now, later, review = server.seen
    assert dry.query == {"dryRun": "All", "fieldValidation": "Strict"}
    assert dry.body == {"apiVersion": "v1", "kind": "Pod", "spec": 1}
    assert put.path == "/apis/tuneoperator.io/v1alpha1/namespaces/tune/tuneexperiments/d/status"
    assert put.body["kind"] == "TuneExperiment"
    assert patch.headers["Content-Type"] == "application/json-patch+json"
    assert patch.body == [{"op": "test"}]
    assert now.body["preconditions"] == {"uid": "u1"}
    assert now.body["gracePeriodSeconds"] == 0
    assert "gracePeriodSeconds" not in later.body
    assert review.body["spec"] == {"token": "secret", "audiences": ["aud"]}


async def test_list_goes_through_all_pages(server: ApiServer) -> None:
    first = pod_list(40, pod("a", 1), pod("b", 2), more="next")
    server.then(answer(first), fail(503), answer(pod_list(40, pod("c", 3))))
    kube = server.client(clock=Hurried())
    items, version = await kube.list(PODS, "tune", label_selector="x=y")
    assert [item["metadata"]["name"] for item in items] == ["a", "b", "c"]
    assert version == "40"
    assert server.seen[0].query == {"labelSelector": "x=y", "limit": "250"}
    assert server.seen[2].query == {"labelSelector": "x=y", "limit": "250", "continue": "next"}


async def test_list_that_got_too_old_between_pages_is_read_in_one_piece(server: ApiServer) -> None:
    server.then(
        answer(pod_list(40, pod("a", 1), more="next")),
        fail(410, "Expired"),
        answer(pod_list(50, pod("a", 1), pod("b", 45))),
    )
    kube = server.client()
    items, version = await kube.list(PODS, None)
    assert len(items) == 2
    assert version == "50"
    assert server.seen[2].query == {"limit": "0"}


async def test_watch_gives_events_and_bookmarks_until_a_clean_end(server: ApiServer) -> None:
    server.then(stream(("ADDED", pod("a", 6)), bookmark(9), ("DELETED", pod("a", 10))))
    kube = server.client()
    assert await watched(kube) == [("ADDED", "a"), ("BOOKMARK", "9"), ("DELETED", "a")]
    assert server.seen[0].query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "5",
        "labelSelector": "a=b",
        "timeoutSeconds": "30",
    }


@pytest.mark.parametrize(
    ("answering", "expected"),
    [
        pytest.param(fail(410, "Expired"), errors.Gone, id="refused as too old"),
        pytest.param(
            stream(("ERROR", api_server.status(410, "Expired", "too old"))),
            errors.Gone,
            id="too old, told as an event",
        ),
        pytest.param(
            stream(("ERROR", api_server.status(500, "InternalError"))),
            errors.Transient,
            id="another error event",
        ),
        pytest.param(stream(("ERROR", {})), errors.Transient, id="error event without a code"),
        pytest.param(fail(429), errors.TooManyRequests, id="too many watches"),
        pytest.param(raw('{"type": "ADDED", "obj'), errors.Transient, id="last line cut off"),
        pytest.param(raw('{"kind": "Pod"}\n'), errors.Transient, id="a line that is no event"),
        pytest.param(
            stream(("ADDED", pod("a", 6)), then=break_off), errors.Transient, id="broken off"
        ),
        pytest.param(break_off, errors.Transient, id="broken off before the first word"),
    ],
)
async def test_watch_that_fails(
    server: ApiServer, answering: api_server.Answer, expected: type[errors.KubeError]
) -> None:
    server.then(answering, answering)  # aiohttp itself repeats a GET that was not answered at all
    kube = server.client()
    with pytest.raises(expected):
        await watched(kube)


@pytest.mark.parametrize(
    "answering",
    [
        pytest.param(hang, id="no answer at all"),
        pytest.param(stream(("ADDED", pod("a", 6)), then=hang), id="silent after an event"),
    ],
)
async def test_silent_watch_is_dead(
    server: ApiServer, answering: api_server.Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_operator.kube.client.WATCH_SLACK_SECONDS", 0.1)
    server.then(answering)
    kube = server.client(watch_seconds=0.1)
    async with asyncio.timeout(5):
        with pytest.raises(errors.Transient, match="watch pods tune: no answer in time"):
            await watched(kube)


async def test_refused_login_is_repeated_once_with_renewed_credentials(server: ApiServer) -> None:
    async def renew(configuration: Configuration) -> None:
        configuration.api_key["BearerToken"] = "Bearer new"

    server.then(fail(401), answer(pod("a", 1)), fail(401), fail(401))
    kube = server.client(renew=renew)
    await kube.create(PODS, "tune", pod("a", 1))
    assert [seen.headers.get("Authorization") for seen in server.seen] == [None, "Bearer new"]
    with pytest.raises(errors.Unauthorized):
        await kube.create(PODS, "tune", pod("a", 1))


async def test_service_account_token_is_taken_from_its_file(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    (tmp_path / "ca.crt").write_text("the CA")
    (tmp_path / "token").write_text("first")
    configuration = Configuration()
    await credentials.load(configuration, tmp_path)
    assert configuration.host == "https://[::1]:6443"
    assert configuration.api_key["BearerToken"] == "bearer first"
    (tmp_path / "token").write_text("second")
    await credentials.load(configuration, tmp_path)
    assert configuration.api_key["BearerToken"] == "bearer second"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="no such file"),
        pytest.param("", id="an empty file"),
        pytest.param("current-context: x\ncontexts: []\n", id="a context that is not there"),
        pytest.param("{", id="no YAML"),
    ],
)
async def test_kubeconfig_that_is_none_says_what_to_do(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(credentials.NoCluster, match="set KUBECONFIG"):
        await Kube.connect()
