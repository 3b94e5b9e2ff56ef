"""Experiments on real nodes, seen and touched as users do: with kubectl."""

import copy
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import yaml
from minio import Minio
from minio.commonconfig import CopySource

from dev.demo.bucket import Keys
from dev.demo.errors import StepFailed
from dev.demo.install import EXAMPLE, STORE_SERVICE
from dev.demo.shell import Shell
from dev.demo.target import NAMESPACE, SYSTEM_NAMESPACE
from tests.polling import soon
from tune_trainer.protocol.exit_record import ExitRecord
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, TrialKeys, parse_manifest_key

PATIENCE = 90.0
"""Seconds after which a fact that did not come true fails the test."""

KUBECTL = ("kubectl", "--namespace", NAMESPACE)
BUCKET = "tune"


def _keys(name: str, uid: str, trial: str) -> TrialKeys:
    return RunKeys.of("digits", NAMESPACE, name, uid).trial(trial)


class Stage:
    """The namespace of the digits example on a cluster with a real kubelet."""

    def __init__(self, shell: Shell, keys: Keys, run: Path) -> None:
        self.shell = shell
        self.run = run
        service = shell.json(
            *("kubectl", "--namespace", SYSTEM_NAMESPACE, "get", "service", STORE_SERVICE),
            "--output=json",
        )
        self.store = Minio(
            f"{service['spec']['clusterIP']}:9000",
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            secure=False,
        )

    def with_store(self, store: Minio) -> "Stage":
        """The same, for experiments that keep their checkpoints there."""
        other = copy.copy(self)
        other.store = store
        return other

    def source(self, name: str, *files: Path) -> None:
        """A ConfigMap of modules."""
        modules = {file.name: file.read_text() for file in files}
        self.create("v1", "ConfigMap", name, data=modules)

    def create(self, version: str, kind: str, name: str, **fields: Any) -> None:
        """Any other object of the namespace; one of that name is replaced."""
        metadata = {"name": name, "namespace": NAMESPACE}
        body = {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}
        self.shell.run(*KUBECTL, "apply", "--filename=-", stdin=json.dumps(body))

    def apply(self, name: str, example: Path = EXAMPLE, **changes: Any) -> None:
        """An example under another name; ``changes`` replace whole sections."""
        manifest = cast(dict[str, Any], yaml.safe_load((example / "experiment.yaml").read_text()))
        manifest["metadata"]["name"] = name
        spec = {**copy.deepcopy(manifest["spec"]), **changes}
        # All stay, for the tests to see what was saved when.
        spec["checkpoint"] = {"keep": {"latest": 100}, **(spec.get("checkpoint") or {})}
        manifest["spec"] = {key: value for key, value in spec.items() if value is not None}
        self.shell.run(*KUBECTL, "apply", "--filename=-", stdin=yaml.safe_dump(manifest))

    def change(self, name: str, **spec: Any) -> None:
        """Change fields of the live object, as ``kubectl edit`` would."""
        patch = json.dumps({"spec": spec})
        self.shell.run(*KUBECTL, "patch", "tx", name, "--type=merge", f"--patch={patch}")

    def delete(self, name: str) -> None:
        """Delete the experiment; returns when it is gone."""
        self.shell.run(*KUBECTL, "delete", "tx", name, "--timeout=90s")

    def get(self, name: str) -> dict[str, Any]:
        """The experiment; empty when it does not exist."""
        return self.shell.json(*KUBECTL, "get", "tx", name, "--ignore-not-found", "--output=json")

    def uid(self, name: str) -> str:
        """Identity of the object, and name of its run in the store."""
        return cast(str, self.get(name)["metadata"]["uid"])

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Its Pods."""
        selector = f"tuneoperator.io/experiment={name}"
        return cast(
            list[dict[str, Any]],
            self.shell.json(*KUBECTL, "get", "pods", "-l", selector, "--output=json")["items"],
        )

    def pod(self, name: str, trial: str) -> str:
        """Name of the running Pod of a trial."""

        def running() -> str | None:
            for pod in self.pods(name):
                if (
                    pod["metadata"]["labels"]["tuneoperator.io/trial"] == trial
                    and pod["status"].get("phase") == "Running"
                    and "deletionTimestamp" not in pod["metadata"]
                ):
                    return cast(str, pod["metadata"]["name"])
            return None

        return soon(running, f"trial {trial} runs", PATIENCE, lambda: self.explain(name))

    def row(self, name: str, trial: str = "00000") -> dict[str, Any]:
        """A trial's row of the status; empty before it started."""
        rows = self.get(name).get("status", {}).get("trials", [])
        return next((row for row in rows if row["name"] == trial), {})

    def reaches(self, name: str, iteration: int, trial: str = "00000") -> dict[str, Any]:
        """Wait until a trial has reported this iteration."""

        def reached() -> dict[str, Any] | None:
            row = self.row(name, trial)
            return row if row.get("iteration", 0) >= iteration else None

        what = f"trial {trial} of {name} reaches iteration {iteration}"
        return soon(reached, what, PATIENCE, lambda: self.explain(name))

    def attempt(self, name: str, number: int, trial: str = "00000") -> dict[str, Any]:
        """Wait until this attempt of a trial has begun; the trial's row."""

        def begun() -> dict[str, Any] | None:
            row = self.row(name, trial)
            return row if row.get("attempt", 0) >= number else None

        what = f"attempt {number} of trial {trial} of {name} begins"
        return soon(begun, what, PATIENCE, lambda: self.explain(name))

    def condition(
        self, name: str, kind: str, status: str = "True", reason: str = ""
    ) -> dict[str, str]:
        """Wait for a condition, with this reason if one is given."""

        def found() -> dict[str, str] | None:
            for entry in self.get(name).get("status", {}).get("conditions", []):
                same = (entry["type"], entry["status"]) == (kind, status)
                if same and reason in ("", entry["reason"]):
                    return cast(dict[str, str], entry)
            return None

        what = f"{name} {kind}={status} {reason}"
        return soon(found, what, PATIENCE, lambda: self.explain(name))

    def told(self, name: str, *words: str) -> None:
        """Wait until ``kubectl describe`` says all of this."""

        def said() -> bool:
            text = self.shell.run(*KUBECTL, "describe", "tx", name)
            return all(word in text for word in words)

        soon(said, f"describe says {words}", PATIENCE, lambda: self.explain(name))

    def line(self, name: str) -> dict[str, str]:
        """What ``kubectl get`` prints, by column."""
        header, line = self.shell.run(*KUBECTL, "get", "tx", name).splitlines()
        return dict(zip(header.split(), line.split(), strict=False))

    def evict(self, pod: str) -> None:
        """The Eviction API, as a drain uses it."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": NAMESPACE},
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        self.shell.run("kubectl", "create", "--raw", path, "-f", "-", stdin=json.dumps(body))

    def sigkill(self, namespace: str, pod: str, container: str) -> None:
        """Kill a container's first process as a crash would: no signal it could catch."""
        self._ctr("task", "kill", "--signal", "SIGKILL", self.task(namespace, pod, container))

    def stops(self, task: str) -> None:
        """Wait until the process of a container has ended, whether or not a kubelet sees it."""

        def stopped() -> bool:
            tasks = (line.split() for line in self._ctr("task", "ls").splitlines())
            return not any(name == task and state == "RUNNING" for name, _, state in tasks)

        soon(stopped, f"task {task} stops", PATIENCE, lambda: self._ctr("task", "ls"))

    def task(self, namespace: str, pod: str, container: str) -> str:
        """What containerd calls a container."""
        found = self.shell.json(
            "kubectl", "--namespace", namespace, "get", "pod", pod, "--output=json"
        )
        statuses = found["status"]["containerStatuses"]
        identity = next(s["containerID"] for s in statuses if s["name"] == container)
        return cast(str, identity.removeprefix("containerd://"))

    def _ctr(self, *command: str) -> str:
        ctr = ("ctr", "--address", str(self.run / "containerd.sock"), "--namespace", "k8s.io")
        return subprocess.run([*ctr, *command], check=True, capture_output=True, text=True).stdout

    def committed(self, name: str, uid: str, trial: str = "00000") -> list[CheckpointRef]:
        """Committed checkpoints of a trial, oldest first."""
        prefix = _keys(name, uid, trial).manifests()
        listed = self.store.list_objects(BUCKET, prefix, recursive=True)
        refs = (parse_manifest_key(item.object_name or "") for item in listed)
        return sorted(ref for ref in refs if ref is not None)

    def commits(self, name: str, trial: str) -> None:
        """Wait until a trial that goes on has committed a checkpoint."""

        def committed() -> bool:
            return bool(self.committed(name, self.uid(name), trial))

        soon(committed, f"trial {trial} of {name} commits", PATIENCE, lambda: self.explain(name))

    def commit_late(self, name: str, uid: str, newest: CheckpointRef, iteration: int) -> None:
        """A manifest of a later iteration lands for an attempt that was given up."""
        keys = _keys(name, uid, "00000")
        late = keys.manifest(replace(newest, iteration=iteration))
        self.store.copy_object(BUCKET, late, CopySource(BUCKET, keys.manifest(newest)))

    def exit_record(self, name: str, uid: str, trial: str, attempt: int) -> ExitRecord:
        """What an attempt left as its end."""
        answer = self.store.get_object(BUCKET, _keys(name, uid, trial).exit_record(attempt))
        with answer:
            return ExitRecord.from_bytes(answer.read())

    def killed(self, name: str) -> list[str]:
        """Pods of the experiment that the kubelet sent a signal, as its events say."""
        selector = "--field-selector=reason=Killing,source=kubelet"
        events = self.shell.json(*KUBECTL, "get", "events", selector, "--output=json")["items"]
        pods = (event["involvedObject"]["name"] for event in events)
        return [pod for pod in pods if pod.startswith(f"{name}-")]

    @contextmanager
    def sees(self, pod: str, path: str, value: object) -> Iterator[None]:
        """Around a block in which a Pod's status comes to say this, if only before the Pod goes."""
        wanted = f"--for=jsonpath={{{path}}}={value}"
        wait = (*KUBECTL, "wait", f"pod/{pod}", wanted, f"--timeout={2 * PATIENCE:.0f}s")
        with self.shell.background(*wait) as waiting:
            yield
            assert waiting.wait(PATIENCE) == 0, f"{path} of Pod {pod} never was {value}"

    def gone(self, name: str) -> None:
        """Wait until neither the experiment nor any of its Pods exists."""

        def nothing() -> bool:
            return not self.get(name) and not self.pods(name)

        soon(nothing, f"{name} is gone", PATIENCE, lambda: self.explain(name))

    def explain(self, name: str) -> str:
        """Everything that tells why something did not happen."""
        system = ("kubectl", "--namespace", SYSTEM_NAMESPACE)
        return "\n".join(
            (
                self._answer(*KUBECTL, "describe", "tx", name),
                self._answer(*KUBECTL, "get", "pods", "--output=wide"),
                self._answer(*system, "logs", "deployment/tune-operator", "--tail=60"),
            )
        )

    def _answer(self, *command: str) -> str:
        """Of a kubelet that is stopped there are no logs."""
        try:
            return self.shell.run(*command)
        except StepFailed as error:
            return str(error)

    def clear(self) -> None:
        """Delete all experiments, while the operator can end them in order."""
        self.shell.run(*KUBECTL, "delete", "tx", "--all", "--timeout=120s")
