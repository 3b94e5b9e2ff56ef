"""What each cloud's metadata server says, asked over real HTTP, and everything that is not one."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.unit.trainer.http_server import Answer, Request, Server
from tests.unit.trainer.metadata_server import (
    GOOGLE,
    AwsServer,
    AzureServer,
    GcpServer,
    MetadataServer,
    azure_event,
)
from tune_trainer import metadata
from tune_trainer.metadata import Aws, Azure, Gcp
from tune_trainer.preemption import Silent, Source

Kind = TypeVar("Kind", bound=MetadataServer)


@pytest.fixture
def gcp() -> Iterator[GcpServer]:
    yield from served(GcpServer())


@pytest.fixture
def aws() -> Iterator[AwsServer]:
    yield from served(AwsServer())


@pytest.fixture
def azure() -> Iterator[AzureServer]:
    yield from served(AzureServer())


def served(server: Kind) -> Iterator[Kind]:
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("preempted", "maintenance", "ending"),
    [
        pytest.param("FALSE", "NONE", False, id="nothing"),
        pytest.param("TRUE", "NONE", True, id="preempted"),
        pytest.param("FALSE", "TERMINATE_ON_HOST_MAINTENANCE", True, id="terminated"),
        pytest.param("FALSE", "MIGRATE_ON_HOST_MAINTENANCE", False, id="moved to another host"),
        pytest.param("FALSE", None, False, id="without maintenance events"),
        pytest.param("TRUE", None, True, id="preempted, without maintenance events"),
    ],
)
def test_gcp(gcp: GcpServer, preempted: str, maintenance: str | None, ending: bool) -> None:
    gcp.preempted, gcp.maintenance = preempted, maintenance
    assert Gcp(gcp.url).ending() is ending


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_aws_announces_an_interruption(aws: AwsServer, action: str) -> None:
    source = Aws(aws.url)
    assert source.ending() is False
    aws.action = {"action": action, "time": "2026-09-18T08:22:00Z"}
    assert source.ending() is True
    assert aws.tokens == 1  # it is kept


def test_aws_renews_a_token_that_has_expired(aws: AwsServer) -> None:
    source = Aws(aws.url)
    assert source.ending() is False
    aws.expire()
    assert source.ending() is False
    assert aws.tokens == 2


def test_an_aws_action_that_is_none_is_none(aws: AwsServer) -> None:
    aws.action = {"action": "noop"}
    assert Aws(aws.url).ending() is False


@pytest.mark.parametrize(
    ("events", "machine", "ending"),
    [
        pytest.param([], "pool_3", False, id="none"),
        pytest.param([azure_event("Preempt", "pool_3")], "pool_3", True, id="preempted"),
        pytest.param([azure_event("Terminate", "pool_3")], "pool_3", True, id="terminated"),
        pytest.param([azure_event("Reboot", "pool_3")], "pool_3", False, id="only a reboot"),
        pytest.param([azure_event("Preempt", "pool_4")], "pool_3", False, id="another machine"),
        pytest.param([azure_event("Preempt", "pool_4")], "", True, id="own name is not known"),
        pytest.param(
            [azure_event("Freeze", "pool_3"), "?", azure_event("Preempt", "pool_4", "pool_3")],
            "pool_3", True, id="one of several",
        ),
    ],
)  # fmt: skip
def test_azure(azure: AzureServer, events: list[Any], machine: str, ending: bool) -> None:
    azure.events, azure.machine = events, machine
    assert Azure(azure.url).ending() is ending


KINDS = [Gcp, Aws, Azure]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(404, b"<html>404 Not Found</html>"), id="not found"),
        pytest.param(
            Answer(200, b"<html>Please log in to the network</html>"), id="a captive site"
        ),
        pytest.param(Answer(200, b'["TRUE"]'), id="other JSON"),
        pytest.param(Answer(200, b"[" * 50_000), id="deep JSON"),
        pytest.param(Answer(500), id="an error"),
        pytest.param(None, id="hangs up"),
        pytest.param(Answer(404, b"", GOOGLE), id="serves nothing of it"),
        pytest.param(Answer(200, b"\xff\x00 \n\x80"), id="garbage"),
    ],
)
def test_what_is_no_metadata_server_is_silent(
    kind: Callable[[str], Source], answer: Answer | None
) -> None:
    server = Server(lambda request: answer)
    try:
        with pytest.raises(Silent):
            kind(server.url).ending()
    finally:
        server.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_where_nobody_listens_is_silent(kind: Callable[[str], Source]) -> None:
    with pytest.raises(Silent):
        kind("http://127.0.0.1:1").ending()


@pytest.mark.parametrize("asked", KINDS)
def test_the_server_of_one_cloud_is_none_of_another(
    asked: Callable[[str], Source], gcp: GcpServer, aws: AwsServer, azure: AzureServer
) -> None:
    """All three listen on the same address in their clouds."""
    gcp.preempted = "TRUE"
    aws.action = {"action": "terminate"}
    azure.events = [azure_event("Preempt", "pool_3")]
    servers: dict[Callable[[str], Source], MetadataServer] = {Gcp: gcp, Aws: aws, Azure: azure}
    for kind, server in servers.items():
        if kind is asked:
            assert asked(server.url).ending() is True
        else:
            with pytest.raises(Silent):
                asked(server.url).ending()


def test_sources_can_be_moved_and_turned_off(gcp: GcpServer) -> None:
    gcp.preempted = "TRUE"
    found = metadata.sources({"TUNE_METADATA_GCP": gcp.url, "TUNE_METADATA_AZURE": ""})
    assert [source.name for source in found] == ["GCP", "AWS"]
    assert found[0].ending() is True


def test_a_proxy_is_not_asked(gcp: GcpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxied: list[Request] = []

    def behave(request: Request) -> Answer:
        proxied.append(request)
        return Answer(200)

    proxy = Server(behave)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    assert Gcp(gcp.url).ending() is False
    proxy.stop()
    assert proxied == []
