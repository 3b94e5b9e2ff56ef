"""Plays a trainer on a kwok node: real token, real HTTPS, real manifests, no training.

The Pod's end is played by annotations that the cluster's Pod stages understand (dev/cluster).
"""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from minio import Minio

from tests.clusters import Bucket
from tests.polling import eventually
from tune_operator.api.constants import LABEL_ATTEMPT, LABEL_TRIAL, TOKEN_AUDIENCE
from tune_operator.kube.client import Kube
from tune_operator.kube.resources import PODS, Resource
from tune_operator.store.credentials import StaticCredentials
from tune_operator.store.factory import open_store
from tune_trainer.protocol import environment
from tune_trainer.protocol.exit_record import ExitRecord, Outcome, Reason
from tune_trainer.protocol.keys import CheckpointRef, RunKeys
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.protocol.messages import (
    COMPLETE_PATH,
    RESULTS_PATH,
    SESSION_PATH,
    CompleteRequest,
    Directive,
    ResultsRequest,
    ResultsResponse,
    SessionRequest,
    SessionResponse,
)
from tune_trainer.protocol.result import Result

NOW = "2026-01-01T00:00:00Z"
WAIT = 503, 409


class Refused(Exception):
    """The operator's answer was not 200 and asking again is of no use."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


class Player:
    """One attempt's trainer. Like the SDK it keeps its results until they are durable."""

    def __init__(self, kube: Kube, bucket: Bucket, pod: Mapping[str, Any]) -> None:
        self.kube = kube
        self.pod = pod
        labels = pod["metadata"]["labels"]
        self.trial: str = labels[LABEL_TRIAL]
        self.attempt = int(labels[LABEL_ATTEMPT])
        (container,) = pod["spec"]["containers"]
        self.env = {entry["name"]: entry.get("value") for entry in container["env"]}
        self.iteration = 0
        self.seq = 0
        self.kept: list[Result] = []
        self.session: SessionResponse | None = None
        credentials = StaticCredentials(bucket.access_key, bucket.secret_key)
        self.store = open_store(f"s3://{bucket.bucket}", bucket.endpoint, None, credentials)
        self._token = ""

    @property
    def name(self) -> str:
        """Of the Pod."""
        name: str = self.pod["metadata"]["name"]
        return name

    async def start(self) -> SessionResponse:
        """Open the session and take up the first checkpoint of the resume plan."""
        body = SessionRequest(self.trial, self.attempt).to_json()
        self.session = SessionResponse.from_bytes(await self._post(SESSION_PATH, body))
        self.iteration = self.session.plan[0].iteration if self.session.plan else 0
        return self.session

    async def train(self, iterations: int, *, score: float = 0.5) -> ResultsResponse:
        """Report that many iterations, one by one."""
        answer = None
        for _ in range(iterations):
            self.train_alone(1, score=score)
            answer = await self._report()
        assert answer is not None
        return answer

    def train_alone(self, iterations: int, *, score: float = 0.5) -> None:
        """Report nothing of that many iterations, as if the operator were away."""
        for _ in range(iterations):
            self.iteration += 1
            self.seq += 1
            self.kept.append(self._result(score))

    async def save(self) -> CheckpointRef:
        """Commit a checkpoint without files at the current iteration, and report it."""
        ref = await self.commit()
        await self._report(ref)
        return ref

    async def commit(self) -> CheckpointRef:
        """The same without a report."""
        ref = CheckpointRef(self.attempt, self.iteration)
        manifest = Manifest(
            experiment=self._opened.experiment_uid,
            trial=self.trial,
            ref=ref,
            nonce="played",
            time=NOW,
            kind="json",
            relative="",
            metrics={"training_iteration": self.iteration},
            progress={},
            files=(),
            results=tuple(self.kept),
        )
        assert await self.store.put_if_absent(self.keys.manifest(ref), manifest.to_bytes())
        return ref

    async def end(self, outcome: Outcome, *, reason: str = "", score: float = 0.5) -> None:
        """Write the exit record as the SDK does; the process ends by `exit` or by a deletion."""
        record = self.record(outcome, reason, score)
        await self.store.put_if_absent(self.keys.exit_record(self.attempt), record.to_bytes())

    async def complete(self, *, score: float = 0.5) -> None:
        """The end of a trial: /complete (which stores the record), exit code 0."""
        record = self.record(Outcome.COMPLETED, "StoppedByCriteria", score)
        await self._post(COMPLETE_PATH, CompleteRequest(self.attempt, record).to_json())
        await self.exit(0)

    async def stop(self, directive: Directive, *, score: float = 0.5) -> None:
        """Obey a Stop as the SDK does: its record names the directive, /complete, exit code 0."""
        record = replace(
            self.record(Outcome.STOPPED, Reason.STOPPED_BY_DIRECTIVE, score), directive=directive.id
        )
        await self._post(COMPLETE_PATH, CompleteRequest(self.attempt, record).to_json())
        await self.exit(0)

    async def exit(self, code: int, **annotations: str) -> None:
        """End the container ``trainer``."""
        await self.annotate({"tune.dev/exit-code": str(code), **annotations})

    async def annotate(self, annotations: Mapping[str, str]) -> None:
        """Tell the node what happens to the Pod."""
        await annotate(self.kube, self.pod, annotations)

    def record(self, outcome: Outcome, reason: str, score: float) -> ExitRecord:
        """The attempt's exit record."""
        return ExitRecord(
            experiment=self._opened.experiment_uid,
            trial=self.trial,
            attempt=self.attempt,
            outcome=outcome,
            reason=reason or outcome.value,
            message="",
            iteration=self.iteration,
            time=NOW,
            signal="SIGTERM" if outcome is Outcome.INTERRUPTED else "",
            last_result=self._result(score) if self.seq else None,
            results=tuple(self.kept),
        )

    @property
    def keys(self) -> Any:
        """Keys of the trial in the store."""
        return RunKeys(self._opened.storage.root).trial(self.trial)

    @property
    def _opened(self) -> SessionResponse:
        assert self.session is not None
        return self.session

    def _result(self, score: float) -> Result:
        metrics = {"training_iteration": self.iteration, "mean_accuracy": score}
        return Result(self.seq, metrics)

    async def _report(self, *saved: CheckpointRef) -> ResultsResponse:
        body = ResultsRequest(self.attempt, tuple(self.kept), saved).to_json()
        answer = ResultsResponse.from_bytes(await self._post(RESULTS_PATH, body))
        self.kept = [result for result in self.kept if result.seq > answer.durable]
        return answer

    async def _post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Send; wait while the operator is away, not ready, or has not bound us yet."""
        context = ssl.create_default_context(cadata=self.env[environment.CA])
        token = self._token = self._token or await pod_token(self.kube, self.pod)
        request = Request(
            url=f"{self.env[environment.SESSION_URL]}{path}",
            body=body,
            token=token,
            context=context,
        )
        async with aiohttp.ClientSession() as http:
            return await eventually(
                lambda: request.send(http), f"{path} is answered", 40, self._nobody_answered
            )

    async def _nobody_answered(self) -> str:
        return f"of trial {self.trial} attempt {self.attempt}"


@dataclass(frozen=True)
class Request:
    """One message to the operator, sent until it is answered."""

    url: str
    body: Mapping[str, Any]
    token: str
    context: ssl.SSLContext

    async def send(self, http: aiohttp.ClientSession) -> bytes | None:
        """The answer; None while the operator is away, not ready, or has not bound us yet."""
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            async with http.post(
                self.url, json=self.body, ssl=self.context, headers=headers
            ) as answer:
                data = await answer.read()
        except aiohttp.ClientConnectionError:
            return None
        if answer.status == 200:
            return data
        if answer.status in WAIT:
            return None
        raise Refused(answer.status, data.decode())


async def annotate(kube: Kube, pod: Mapping[str, Any], annotations: Mapping[str, str]) -> None:
    """Add annotations to a Pod."""
    meta = pod["metadata"]
    ops: list[dict[str, Any]] = [
        {"op": "add", "path": f"/metadata/annotations/{key.replace('/', '~1')}", "value": text}
        for key, text in annotations.items()
    ]
    if not (await kube.get(PODS, meta["namespace"], meta["name"]))["metadata"].get("annotations"):
        ops.insert(0, {"op": "add", "path": "/metadata/annotations", "value": {}})
    await kube.json_patch(PODS, meta["namespace"], meta["name"], ops)


async def pod_token(kube: Kube, pod: Mapping[str, Any]) -> str:
    """A token as the kubelet projects it: our audience, bound to this Pod."""
    meta = pod["metadata"]
    bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
    body = {"spec": {"audiences": [TOKEN_AUDIENCE], "boundObjectRef": bound}}
    request = Resource("", "v1", "serviceaccounts/default/token", "TokenRequest")
    answer = await kube.create(
        request, meta["namespace"], {"apiVersion": "authentication.k8s.io/v1", **body}
    )
    token: str = answer["status"]["token"]
    return token


def objects(bucket: Bucket, prefix: str) -> list[str]:
    """Keys in the bucket below a prefix."""
    listed = _client(bucket).list_objects(bucket.bucket, prefix, recursive=True)
    return [item.object_name for item in listed]


def remove(bucket: Bucket, prefix: str) -> None:
    """Delete everything below a prefix."""
    client = _client(bucket)
    for key in objects(bucket, prefix):
        client.remove_object(bucket.bucket, key)


def _client(bucket: Bucket) -> Minio:
    return Minio(
        bucket.endpoint.removeprefix("http://"),
        access_key=bucket.access_key,
        secret_key=bucket.secret_key,
        secure=False,
    )


def dump(value: Any) -> str:
    """For messages of failed assertions."""
    return json.dumps(value, indent=1, default=str)
