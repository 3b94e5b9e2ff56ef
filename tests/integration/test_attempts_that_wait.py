"""Attempts that do not run, or run and say nothing: who is waited for, and who is not."""

import time
from typing import Any

from tests.integration.fleet import HOSTNAME, Fleet, template
from tests.integration.lab import Lab
from tests.integration.pair import Ended, Pair, counters
from tests.integration.player import annotate
from tune_operator.kube.resources import EXPERIMENTS, PODS

GATE: dict[str, Any] = {"schedulingGates": [{"name": "tests.tuneoperator.io/gate"}]}
AT_ONCE = {"initialSeconds": 0, "maxSeconds": 0}


async def open_gate(lab: Lab, pod: dict[str, Any]) -> None:
    ops = [{"op": "remove", "path": "/spec/schedulingGates"}]
    await lab.kube.json_patch(PODS, lab.namespace, pod["metadata"]["name"], ops)


def scheduled(pod: dict[str, Any], reason: str) -> bool:
    """Whether PodScheduled has this reason."""
    conditions = {c["type"]: c for c in pod["status"].get("conditions", [])}
    return bool(conditions.get("PodScheduled", {}).get("reason") == reason)


async def test_only_a_start_on_a_node_is_timed(lab: Lab, fleet: Fleet) -> None:
    """Two experiments wait for a node for longer than a third one's start may take, twice."""
    failure = {"startTimeoutSeconds": 1, "maxFailures": 1, "backoff": AT_ONCE}
    nowhere = template(nodeSelector={HOSTNAME: f"{lab.namespace}-nowhere"})
    image = template(annotations={"tune.dev/waiting-reason": "ImagePullBackOff"})
    for name, shape in (
        ("gated", template(**GATE)),
        ("nowhere", nowhere),
        ("image", image),
    ):
        await lab.apply(name, failure=failure, trainer=None, template=shape)
    gated = await lab.pod("gated", "00000", 1, lambda pod: scheduled(pod, "SchedulingGated"))
    lost = await lab.pod("nowhere", "00000", 1, lambda pod: scheduled(pod, "Unschedulable"))
    await fleet.make("another")  # of which the scheduler tells in the Pod that fits on no node

    ended = await lab.trial("image", "00000", lambda row: row["state"] == "Errored")
    Ended(3, "failed", "ImagePullBackOff", failures=2).check(ended, 2)
    assert ended["reason"] == "ImagePullBackOff"

    for name, pod in (("gated", gated), ("nowhere", lost)):
        (still,) = await lab.pods(name)
        assert still["metadata"]["uid"] == pod["metadata"]["uid"]
        assert "deletionTimestamp" not in still["metadata"]
        (row,) = (await lab.get(name))["status"]["trials"]
        assert (counters(row), row.get("lastInterruption")) == ((0, 0, 0), None)
        await lab.event(name, "TrialNotScheduled")
        (message,) = await lab.told(name, "TrialNotScheduled")
        assert message.startswith("trial 00000 attempt 1 waits for a node")
    await open_gate(lab, gated)
    await (await lab.player("gated", "00000", 1)).complete()
    await lab.condition("gated", "Complete", "True")


async def test_a_pod_deleted_before_it_was_scheduled_counts_one_disruption(lab: Lab) -> None:
    await lab.apply("early", trainer=None, template=template(**GATE))
    first = await lab.pod("early", "00000", 1, lambda pod: scheduled(pod, "SchedulingGated"))
    await lab.delete_pod(first)
    second = await lab.pod("early", "00000", 2, lambda pod: scheduled(pod, "SchedulingGated"))
    row = await lab.trial("early", "00000", lambda row: row["attempt"] == 2)
    Ended(16, "preempted", "Deleted", disruptions=1).check(row, 1)
    await open_gate(lab, second)
    player = await lab.player("early", "00000", 2)
    assert player.session is not None
    assert player.session.plan == ()
    await lab.only("early", second)


async def test_a_pod_that_its_node_refuses_costs_no_budget(lab: Lab) -> None:
    await lab.apply(
        "refused",
        failure={"maxFailures": 0, "backoff": AT_ONCE},
        trainer=None,
        template=template(**GATE),
    )
    first = await lab.pod("refused", "00000", 1, lambda pod: scheduled(pod, "SchedulingGated"))
    await annotate(lab.kube, first, {"tune.dev/reject-reason": "OutOfcpu"})
    await open_gate(lab, first)
    second = await lab.pod("refused", "00000", 2, lambda pod: scheduled(pod, "SchedulingGated"))
    row = await lab.trial("refused", "00000", lambda row: row["attempt"] == 2)
    Ended(12, "rejected", "OutOfcpu", infrastructure=1).check(row, 1)
    await open_gate(lab, second)
    await (await lab.player("refused", "00000", 2)).complete()
    await lab.condition("refused", "Complete", "True")


async def test_a_trainer_that_reports_nothing_is_ended_and_one_that_reports_in_time_is_not(
    lab: Lab,
) -> None:
    """Both have ten seconds, the least there is; the second one speaks up after five.

    And once more when the first one's time is over: what happens then may take its ten seconds.
    """
    failure = {"progressDeadlineSeconds": 10, "maxFailures": 1, "backoff": AT_ONCE}
    pair = await Pair.start(lab, "silent", failure=failure)
    await pair.victim.annotate({"tune.dev/hang": "true"})  # so that the intent can be seen
    await pair.bystander.train(1)
    half_time = time.monotonic() + 5

    async def over() -> bool:
        return time.monotonic() > half_time

    await lab.until(over, "half of the time is over", "silent")
    await pair.bystander.train(1)

    async def hung() -> bool:
        return str((await lab.get("silent"))["status"]["live"]["00000"]).endswith("/hung")

    await lab.until(hung, "the intent is recorded", "silent")
    await pair.bystander.train(1)
    await lab.pod("silent", "00000", 1, lambda pod: "deletionTimestamp" in pod["metadata"])
    await pair.victim.annotate({"tune.dev/hang": "false"})
    await pair.resumed(Ended(3, "failed", "ProgressDeadlineExceeded", failures=1))


async def test_the_queue_of_an_experiment_is_that_of_its_pods(lab: Lab) -> None:
    """Kueue, which would hold them back, is played by a gate."""
    body = lab.manifest("queued", trainer=None, template=template(**GATE))
    queue = {"kueue.x-k8s.io/queue-name": "team-a", "kueue.x-k8s.io/priority-class": "batch"}
    body["metadata"]["labels"] = {**queue, "team": "vision"}
    await lab.kube.create(EXPERIMENTS, lab.namespace, body)
    pod = await lab.pod("queued", "00000", 1, lambda pod: scheduled(pod, "SchedulingGated"))
    assert queue.items() <= pod["metadata"]["labels"].items()
    assert "team" not in pod["metadata"]["labels"]
    await open_gate(lab, pod)
    await (await lab.player("queued", "00000", 1)).complete()
    await lab.condition("queued", "Complete", "True")
