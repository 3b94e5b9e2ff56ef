"""The session: the trainer waits for an operator that is away and leaves one that refuses it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.trainer import operator_server
from tests.unit.trainer.http_server import Answer
from tests.unit.trainer.operator_server import OperatorServer, error
from tune_trainer.errors import Fenced, Unusable
from tune_trainer.operator_client import OperatorClient
from tune_trainer.session import open_session, request_for

REQUEST = request_for("00003", 1, can_save=True, can_load=False)


def scripted(operator: OperatorServer, *answers: Answer) -> None:
    script: Iterator[Answer] = iter(answers)
    operator.script = lambda request: next(script, None)


def test_it_waits_until_the_pod_is_bound(operator: OperatorServer, client: OperatorClient) -> None:
    busy = error(503, "NotReady", {"Retry-After": "7"})
    scripted(operator, error(409, "NotBound"), error(409, "NotBound"), busy)
    waits: list[float] = []
    session = open_session(client, REQUEST, 100.0, wait=waits.append)
    assert session == operator.session
    assert len(waits) == 3
    assert waits[0] < 0.5
    assert waits[2] == 7.0
    assert operator.sessions == [REQUEST]
    assert REQUEST.sdk.startswith("tune-trainer/")
    assert (REQUEST.can_save, REQUEST.can_load) == (True, False)


def test_an_outdated_pod_is_fenced(operator: OperatorServer, client: OperatorClient) -> None:
    scripted(operator, error(401, "Outdated"))
    with pytest.raises(Fenced, match="Outdated says the test"):
        open_session(client, REQUEST, 100.0)


def test_an_operator_that_stays_away_is_unusable(client: OperatorClient, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    away = OperatorClient("https://127.0.0.1:1", client_ca(client), tmp_path / "token")
    with pytest.raises(Unusable, match="no session after 30 s: the operator is unreachable"):
        open_session(away, REQUEST, 30.0, wait=lambda seconds: None)


def client_ca(client: OperatorClient) -> str:
    return str(client._pool.connection_pool_kw["ca_cert_data"])


def test_another_authority_is_not_trusted(operator: OperatorServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    folder = tmp_path / "other"
    folder.mkdir()
    operator_server._key.cache_clear()
    other = OperatorServer(folder)
    stranger = OperatorClient(operator.url, other.ca, tmp_path / "token")
    with pytest.raises(Unusable, match="SSL"):
        open_session(stranger, REQUEST, 1.0, wait=lambda seconds: None)
    stranger.close()
    other.stop()
    assert operator.requests == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (error(400, "BadRequest"), "refuses the session: HTTP 400: BadRequest says the test"),
        (Answer(200, b'{"version": 99}'), "another protocol: session.version: 99"),
        (Answer(200, b"<html>"), "another protocol"),
    ],
)
def test_what_waiting_does_not_mend(
    operator: OperatorServer, client: OperatorClient, answer: Answer, message: str
) -> None:
    scripted(operator, answer)
    with pytest.raises(Unusable, match=message):
        open_session(client, REQUEST, 100.0)
