"""The operator's side of the protocol, as a script that a test changes while it runs."""

import json
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.polling import soon
from tests.unit.trainer.http_server import Answer, Request, Server
from tests.unit.trainer.s3_server import BUCKET
from tune_trainer.protocol.exit_record import ExitRecord
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.messages import (
    COMPLETE_PATH,
    CONTINUE,
    RESULTS_PATH,
    SESSION_PATH,
    CompleteRequest,
    CompleteResponse,
    Directive,
    ResultsRequest,
    ResultsResponse,
    SessionRequest,
    SessionResponse,
    StorageInfo,
)
from tune_trainer.protocol.result import Result

TOKEN = "a-token-of-the-pod"
ROOT = "prefix/ns/digits/run-1"
WAIT = 20.0


def session_response(endpoint: str = "http://127.0.0.1:9", **changes: object) -> SessionResponse:
    """A session of trial 00003, attempt 1, from scratch."""
    values: dict[str, object] = {
        "experiment": "digits",
        "experiment_uid": "uid-1",
        "namespace": "ns",
        "run_id": "run-1",
        "trial": "00003",
        "attempt": 1,
        "config": {"start": 0},
        "metric": "value",
        "mode": "max",
        "criteria": {"training_iteration": 10.0},
        "frequency": 0,
        "at_end": False,
        "plan": (),
        "storage": StorageInfo(endpoint, "us-east-1", BUCKET, ROOT),
        **changes,
    }
    return SessionResponse(**values)  # type: ignore[arg-type]


class OperatorServer:
    """Takes results in order, as the operator does. ``script`` may answer first.

    ``directive`` makes the answer to a request for results.
    """

    def __init__(self, folder: Path) -> None:
        self.session = session_response()
        self.script: Callable[[Request], Answer | None] | None = None
        self.directive: Callable[[ResultsRequest], Directive] = lambda request: CONTINUE
        self.durable = False
        """Whether results are called durable when they are received."""
        self.journal: dict[int, Result] = {}
        """Results that survive a crash."""
        self.requests: list[Request] = []
        self.results: dict[int, Result] = {}
        self.checkpoints: list[CheckpointRef] = []
        self.completed: list[ExitRecord] = []
        self.sessions: list[SessionRequest] = []
        self._changed = threading.Condition()
        self.ca, context = _certificate(folder)
        self._server = Server(self._behave, context)
        self.url = self._server.url

    def stop(self) -> None:
        self._server.stop()

    def wait_until(self, what: Callable[[], bool], seconds: float = WAIT) -> None:
        """Wait for a condition on what arrived here, or on what the trainer did meanwhile."""
        soon(
            lambda: what() or None, "the trainer sends it", seconds, lambda: f"{self.requests[-3:]}"
        )

    def restart(self) -> None:
        """Forget what is not durable, as the operator that comes after a crash."""
        with self._changed:
            self.results = dict(self.journal)

    @property
    def received(self) -> int:
        """Sequence of the newest result."""
        return max(self.results, default=0)

    def _behave(self, request: Request) -> Answer | None:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        with self._changed:
            self.requests.append(request)
            try:
                if self.script is not None:
                    scripted = self.script(request)
                    if scripted is not None:
                        return scripted
                return Answer(200, json.dumps(self._answer(request)).encode())
            finally:
                self._changed.notify_all()

    def _answer(self, request: Request) -> dict[str, object]:
        match request.path:
            case path if path == SESSION_PATH:
                self.sessions.append(SessionRequest.from_bytes(request.body))
                return self.session.to_json()
            case path if path == RESULTS_PATH:
                return self._take(ResultsRequest.from_bytes(request.body)).to_json()
            case path if path == COMPLETE_PATH:
                complete = CompleteRequest.from_bytes(request.body)
                self.checkpoints += complete.checkpoints
                self.completed.append(complete.exit)
                return CompleteResponse().to_json()
        raise AssertionError(request.path)

    def _take(self, sent: ResultsRequest) -> ResultsResponse:
        if sent.after <= self.received:
            self.results.update({result.seq: result for result in sent.results})
        self.checkpoints += [ref for ref in sent.checkpoints if ref not in self.checkpoints]
        if self.durable:
            self.journal = dict(self.results)
        return ResultsResponse(self.received, max(self.journal, default=0), self.directive(sent))


def error(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    """An error as the operator writes it."""
    body = json.dumps({"error": {"code": code, "message": f"{code} says the test"}}).encode()
    return Answer(status, body, headers or {})


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _certificate(folder: Path) -> tuple[str, ssl.SSLContext]:
    """PEM of a certificate that is its own authority, and a context that serves it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "operator")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(_key().public_key()), False)
        .sign(_key(), hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    key = _key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "operator.pem"
    path.write_bytes(pem + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return pem.decode(), context
