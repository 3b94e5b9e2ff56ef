"""One chaos run on a cluster that is up: build the stage, strike, wait for the end, judge."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import Configuration
from minio import Minio

from tests.chaos import journal, oracle, script
from tests.chaos.audit import AuditLog
from tests.chaos.door import Door
from tests.chaos.faults import Server
from tests.chaos.history import StatusHistory, followed
from tests.chaos.injector import Injector, Stage
from tests.chaos.ledger import Ledger
from tests.chaos.nodes import NODES, Nodes
from tests.chaos.operators import Operators
from tests.chaos.pool import Pool
from tests.chaos.proxy import Proxy
from tests.chaos.report import problems, say, table
from tests.chaos.trainer import ITERATION_SECONDS, METRIC, Phase, World
from tune_operator.api.constants import GROUP, KIND, VERSION
from tune_operator.kube import credentials
from tune_operator.kube.client import Kube
from tune_operator.kube.resources import EXPERIMENTS, NAMESPACES, SECRETS
from tune_operator.kube.served import served
from tune_operator.runtime.clock import SystemClock
from tune_operator.store.credentials import StaticCredentials
from tune_operator.store.factory import open_store
from tune_trainer.protocol import environment
from tune_trainer.protocol.keys import RunKeys, trial_name

NAME = "chaos"
BUCKET = "tune-chaos"
SECRET = "storage"
CONCURRENT = 45
FREQUENCY = 3
PROGRESS_SECONDS = 15.0
FINISH_SECONDS = 180.0
"""What the trials get to end after the last fault."""

RELEASE_SECONDS = 60.0
QUIET_SECONDS = 6.0
REST_SECONDS = 370.0
"""What a run may take besides the seconds of faults: with its cluster ten minutes for 200 s."""

MAX_FAILURES = 4
"""Of each trial. Enough for all but those that fail every time, which cost the run a minute."""

HOPELESS_STEP = 25
"""Of the first half of the trials, one in so many fails whenever it runs."""

NODE_LOST_SECONDS = 20
"""Enough that a node that is unreachable for a moment loses no Pod, however slow the machine."""


@dataclass(frozen=True)
class Budget:
    """How much of everything."""

    seed: int
    seconds: float
    faults: int
    trials: int

    @property
    def iterations(self) -> int:
        """Of a trial, so that trials are there as long as faults are."""
        each = self.seconds * CONCURRENT / self.trials
        return max(2 * FREQUENCY, round(0.75 * each / ITERATION_SECONDS))

    @property
    def limit(self) -> float:
        """Seconds after which the run is over, whatever it still waits for."""
        return self.seconds + REST_SECONDS

    @property
    def hopeless(self) -> frozenset[str]:
        """Trials that nothing helps: they must be given up, after exactly so many attempts."""
        return frozenset(trial_name(n) for n in range(5, self.trials // 2, HOPELESS_STEP))


@dataclass(frozen=True)
class Verdict:
    """The end of a run."""

    problems: list[str]

    @property
    def good(self) -> bool:
        return not self.problems


class Run:
    """One experiment and all that is done to it. ``facts``: the cluster's cluster.json."""

    def __init__(self, budget: Budget, facts: Mapping[str, Any], logs: Path) -> None:
        self._budget = budget
        self._facts = facts
        self._logs = logs
        self._chance = random.Random(budget.seed)
        self._namespace = f"chaos-{os.getpid()}"
        self._ledger = Ledger()

    async def play(self) -> Verdict:
        """From nothing to the verdict."""
        return Verdict(await oracle.within(self._budget.limit, self._play()))

    async def _play(self) -> list[str]:
        os.environ["KUBECONFIG"] = self._facts["kubeconfig"]
        async with AsyncExitStack() as stack:
            kube = await Kube.connect()
            stack.push_async_callback(kube.close)
            self._kube = kube
            await self._prepare()
            audit = AuditLog(Path(self._facts["audit"]), self._namespace)
            apis = [await stack.enter_async_context(p.serve()) for p in await self._api_proxies()]
            store = await stack.enter_async_context(self._proxy(self._facts["minio"]).serve())
            urls = (apis[0].url, apis[1].url)
            operators = await stack.enter_async_context(
                Operators(self._logs, urls, self._namespace).run()
            )
            made = await self._create(store.url)
            history = await stack.enter_async_context(followed(kube, made))
            world = await stack.enter_async_context(self._world(operators))
            pool = Pool(world, self._namespace, self._chance.getrandbits(32))
            await stack.enter_async_context(pool.run())
            stage = Stage(
                kube=kube,
                namespace=self._namespace,
                pool=pool,
                nodes=await self._nodes(),
                operators=operators,
                apis=(apis[0], apis[1]),
                store=store,
                ledger=self._ledger,
            )
            progress = asyncio.ensure_future(self._tell(stage, history))
            try:
                return await self._through(stage, history, audit, world, made)
            finally:
                progress.cancel()
                self._summary(stage, history, audit)

    async def _through(
        self,
        stage: Stage,
        history: StatusHistory,
        audit: AuditLog,
        world: World,
        made: Mapping[str, Any],
    ) -> list[str]:
        found: list[str] = []
        await self._until(lambda: stage.operators.leader is not None, 60)
        strikes = script.write(self._budget.seed, self._budget.seconds, self._budget.faults)
        say(f"{len(strikes)} faults in {self._budget.seconds:.0f} s begin")
        await Injector(stage).run(strikes)
        say("the last fault is over; the trials may end")
        if not await self._until(lambda: _complete(history.last), FINISH_SECONDS):
            found.append(f"not complete {FINISH_SECONDS:.0f} s after the last fault")
        if not await self._until(lambda: not stage.pool.pods, RELEASE_SECONDS):
            left = sorted(pod["metadata"]["name"] for pod in stage.pool.pods.values())
            found.append(f"Pods are left {RELEASE_SECONDS:.0f} s later: {left}")
        say("all Pods are released; nobody may write any more")
        since = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        await asyncio.sleep(QUIET_SECONDS)
        found += [f"not quiet: {write}" for write in audit.writes(since)]
        await stage.operators.end()
        found += oracle.check_script(self._ledger, strikes)
        logs = self._operator_logs()
        found += oracle.check_exits(stage.operators.exits, logs)
        found += oracle.check_leaders(self._ledger, logs)
        found += oracle.check_mishaps(_mishaps(stage))
        return found + await self._judge(history, audit, world, made)

    async def _judge(
        self, history: StatusHistory, audit: AuditLog, world: World, made: Mapping[str, Any]
    ) -> list[str]:
        found = [f"strange: {text}" for text in self._ledger.strange]
        found += oracle.check_attempts(self._ledger)
        found += oracle.check_pods(audit.created(), history, self._ledger)
        found += oracle.check_status(history)
        found += oracle.check_logs(self._operator_logs())
        keys = RunKeys.of(self._namespace, self._namespace, NAME, made["metadata"]["uid"])
        try:
            records = await journal.read(world.store, keys.journal())
        except journal.Broken as broken:
            return [*found, f"journal: {broken}"]
        names = [trial_name(index) for index in range(self._budget.trials)]
        rows = journal.rows(records)
        found += oracle.check_trials(self._ledger, rows, names, MAX_FAILURES)
        found += oracle.check_end(history.last, rows)
        found += oracle.check_results(records, self._ledger)
        found += oracle.check_listed(records, history.last.get("trials", []))
        return found

    def _operator_logs(self) -> list[Path]:
        return sorted(self._logs.glob("operator-*.log"))

    # Building the stage

    async def _prepare(self) -> None:
        await served(self._kube, EXPERIMENTS, SystemClock())
        body = {"metadata": {"name": self._namespace}}
        await self._kube.create(NAMESPACES, None, body)
        user, password = self._facts["minioUser"], self._facts["minioPassword"]
        client = Minio(
            self._facts["minio"].removeprefix("http://"),
            access_key=user,
            secret_key=password,
            secure=False,
        )
        if not client.bucket_exists(BUCKET):
            client.make_bucket(BUCKET)
        keys = {environment.ACCESS_KEY: user, environment.SECRET_KEY: password}
        meta = {"name": SECRET, "namespace": self._namespace}
        await self._kube.create(SECRETS, self._namespace, {"metadata": meta, "stringData": keys})

    async def _api_proxies(self) -> list[Proxy]:
        """One for each operator, logged in as the cluster's administrator."""
        configuration = Configuration()
        await credentials.load(configuration)
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        context.load_cert_chain(str(configuration.cert_file), configuration.key_file)
        return [self._proxy(self._facts["apiserver"], context) for _ in range(2)]

    def _proxy(self, target: str, context: ssl.SSLContext | None = None) -> Proxy:
        return Proxy(target, context, random.Random(self._chance.getrandbits(32)))

    async def _create(self, store_url: str) -> dict[str, Any]:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"name": NAME, "namespace": self._namespace},
            "spec": self._spec(store_url),
        }
        return await self._kube.create(EXPERIMENTS, self._namespace, body)

    def _spec(self, store_url: str) -> dict[str, Any]:
        # A request, so that the scheduler spreads the Pods over the nodes.
        requests = {"requests": {"cpu": "20"}}
        container = {"name": "trainer", "image": "dev.local/played:1", "resources": requests}
        return {
            "objective": {"metric": METRIC, "mode": "max"},
            "numSamples": self._budget.trials,
            "maxConcurrentTrials": CONCURRENT,
            "search": {
                "seed": self._budget.seed,
                "space": {"lr": {"uniform": {"lower": 0.001, "upper": 0.1}}},
            },
            "stop": {"criteria": {"training_iteration": self._budget.iterations}},
            "checkpoint": {"frequency": FREQUENCY, "atEnd": True},
            "storage": {
                "uri": f"s3://{BUCKET}/{self._namespace}",
                "endpoint": store_url,
                "credentials": {"mode": "Secret", "secretRef": {"name": SECRET}},
            },
            "failure": {
                "maxFailures": MAX_FAILURES,
                "backoff": {"initialSeconds": 1, "maxSeconds": 4},
                "nodeLost": {"timeoutSeconds": NODE_LOST_SECONDS},
            },
            "cleanup": {"keepErroredPods": 0},
            "stopGracePeriodSeconds": 12,
            "template": {
                # Deletion ends nothing by itself: the played trainer does.
                "metadata": {"annotations": {"tune.dev/hang": "true"}},
                "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]},
            },
        }

    @asynccontextmanager
    async def _world(self, operators: Operators) -> AsyncIterator[World]:
        def port() -> int | None:
            return operators.leader.port if operators.leader else None

        keys = StaticCredentials(self._facts["minioUser"], self._facts["minioPassword"])
        store = open_store(f"s3://{BUCKET}", self._facts["minio"], None, keys)
        connector = aiohttp.TCPConnector(limit=0)
        try:
            async with aiohttp.ClientSession(connector=connector) as http:
                chance = random.Random(self._chance.getrandbits(32))
                door = Door(http, port, chance)
                yield World(self._kube, store, door, self._ledger, self._budget.hopeless)
        finally:
            await store.close()

    async def _nodes(self) -> Nodes:
        items, _ = await self._kube.list(NODES, None)
        names = [item["metadata"]["name"] for item in items]
        return Nodes(self._kube, self._facts["name"], names)

    # Waiting and telling

    async def _until(self, true: Callable[[], object], seconds: float) -> bool:
        give_up = time.monotonic() + seconds
        while not true():
            if time.monotonic() > give_up:
                return False
            await asyncio.sleep(0.3)
        return True

    async def _tell(self, stage: Stage, history: StatusHistory) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            phases = Counter(trainer.phase for trainer in stage.pool.trainers.values())
            counts = history.last.get("counts", {})
            leader = stage.operators.leader
            say(
                f"{history.last.get('done', '-')} done, {counts.get('running', 0)} running "
                f"({phases[Phase.TRAINING]} train, {phases[Phase.STARTING]} start), "
                f"{history.last.get('failures', 0)} failures, "
                f"{history.last.get('disruptions', 0)} disruptions, "
                f"{sum(self._ledger.struck.values())} faults, "
                f"leader {leader.name if leader else 'nobody'}, {len(stage.pool.pods)} Pods"
            )

    def _summary(self, stage: Stage, history: StatusHistory, audit: AuditLog) -> None:
        struck = self._ledger.struck
        skipped = self._ledger.skipped
        names = sorted({*struck, *skipped})
        table("faults: struck, skipped", {n: f"{struck[n]:>4} {skipped[n]:>4}" for n in names})
        table("attempts by what ended or touched them", dict(oracle.totals(self._ledger)))
        requests = {f"{server}: {k}": n for server, met in _mishaps(stage).items()
                    for k, n in sorted(met.items())}  # fmt: skip
        table("requests of the operators that met a mishap", requests)
        attempts = self._ledger.attempts.values()
        last = history.last
        table("what became of it", {
            "state": f"{last.get('state')}, {last.get('done')} done",
            "counters": ", ".join(f"{name} {last.get(name, 0)}" for name in
                                  ("failures", "disruptions", "infrastructure", "lostIterations")),
            "Pods created": len(audit.created()),
            "Pods without a session": sum(not one.bound for one in attempts),
            "zombies refused": sum(bool(one.refused) for one in attempts),
            "results made": sum(one.sent for one in attempts),
            "status versions": f"{history.versions}, at most {history.largest} bytes",
            "leaders": len(oracle.leaders(self._operator_logs())),
            "operator exits": ", ".join(
                f"{end} ({n})" for end, n in sorted(stage.operators.exits.items(), key=str)),
            "journal term": last.get("journal", {}).get("term"),
        })  # fmt: skip


def _mishaps(stage: Stage) -> dict[str, Counter[str]]:
    """What requests of the operators met, by server."""
    api: Counter[str] = Counter()
    for proxy in stage.apis:
        api.update(proxy.mishaps)
    return {Server.API.value: api, Server.STORE.value: stage.store.mishaps}


def _complete(status: Mapping[str, Any]) -> bool:
    return any(
        entry["type"] in ("Complete", "Failed") and entry["status"] == "True"
        for entry in status.get("conditions", [])
    )


def conclude(verdict: Verdict, budget: Budget, logs: Path) -> int:
    """The last words and the exit code."""
    if verdict.good:
        say(f"PASSED: seed {budget.seed}, {budget.trials} trials")
        return 0
    say(f"FAILED with seed {budget.seed}: {len(verdict.problems)} problems; logs in {logs}")
    problems(verdict.problems)
    return 1
