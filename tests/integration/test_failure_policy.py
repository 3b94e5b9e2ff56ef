"""What failures may cost: rules by exit code, disruptions apart, and the end of a whole run."""

from typing import Any

import pytest

from tests.integration.fleet import Fleet
from tests.integration.lab import Lab
from tests.integration.pair import Ended, Pair, counters
from tests.integration.player import Player
from tune_trainer.protocol.messages import CONTINUE, DirectiveKind

AT_ONCE = {"initialSeconds": 0, "maxSeconds": 0}


def rule(action: str, *codes: int) -> dict[str, Any]:
    return {"action": action, "onExitCodes": {"operator": "In", "values": [*codes]}}


async def ended(lab: Lab, name: str, attempt: int, expected: Ended) -> dict[str, Any]:
    """Wait until trial 00000's attempt was settled as expected."""

    def settled(row: dict[str, Any]) -> bool:
        return bool(row.get("lastInterruption", {}).get("attempt") == attempt)

    row = await lab.trial(name, "00000", settled)
    expected.check(row, attempt)
    return row


async def test_rules_say_what_an_exit_code_costs(lab: Lab) -> None:
    rules = [rule("Ignore", 44), rule("Count", 45), rule("FailTrial", 42)]
    failure = {"maxFailures": 5, "rules": rules, "backoff": AT_ONCE}
    pair = await Pair.start(lab, "ruled", failure=failure)

    await pair.victim.exit(44)
    second = await pair.resumed(Ended(16, "failed", "Error"))

    await second.exit(45)
    third = await lab.player("ruled", "00000", 3)
    await ended(lab, "ruled", 2, Ended(16, "failed", "Error", failures=1))

    await third.exit(42)
    row = await ended(lab, "ruled", 3, Ended(16, "failed", "FailTrialRule", failures=2))
    assert (row["state"], row["reason"]) == ("Errored", "FailTrialRule")
    assert "42" in await lab.event("ruled", "TrialErrored")
    await pair.unnoticed()
    await pair.bystander.complete()
    await lab.condition("ruled", "Complete", "True", "TrialsErrored")


async def test_ignored_disruptions_have_a_budget_of_their_own(lab: Lab) -> None:
    failure = {"maxFailures": 0, "disruptions": {"policy": "Ignore", "max": 1}, "backoff": AT_ONCE}
    pair = await Pair.start(lab, "spared", failure=failure)
    evicted = Ended(11, "preempted", "EvictionByEvictionAPI", disruptions=1)

    await lab.evict(pair.victim.pod)
    second = await pair.resumed(evicted)

    await lab.evict(second.pod)
    row = await ended(lab, "spared", 2, Ended(11, "preempted", evicted.reason, disruptions=2))
    assert (row["state"], row["reason"]) == ("Errored", "EvictionByEvictionAPI")
    assert "spec.failure.disruptions.max is 1" in await lab.event("spared", "BudgetExhausted")
    await pair.unnoticed()


@pytest.mark.parametrize(
    ("reason", "failing", "failure"),
    [
        ("FailFast", 1, {"maxFailures": 0, "failFast": True}),
        ("MaxFailedTrials", 2, {"maxFailures": 0, "maxFailedTrials": 1}),
        ("FailExperiment", 1, {"rules": [rule("FailExperiment", 1)]}),
    ],
    ids=["failFast", "maxFailedTrials", "FailExperiment"],
)
async def test_the_end_of_a_run_reaches_a_trainer_as_the_answer_to_its_next_result(
    lab: Lab, reason: str, failing: int, failure: dict[str, Any]
) -> None:
    running = failing + 1
    total = running + failing  # the last one never starts
    await lab.apply("doomed", failure=failure, numSamples=total, maxConcurrentTrials=running)
    *failed, last = [await lab.player("doomed", f"{n:05d}", 1) for n in range(running)]
    others = [last]
    for player in failed[:-1]:  # as many as the experiment bears
        await player.exit(1)
        others.append(await lab.player("doomed", f"{running:05d}", 1))
    for player in others:
        assert (await player.train(2)).directive == CONTINUE
    await failed[-1].exit(1)
    await lab.condition("doomed", "Stopping", "True", reason)
    for player in others:
        await stopped(lab, player)

    message = await lab.condition("doomed", "Failed", "True", reason)
    assert f"{failing} errored" in message
    status = (await lab.get("doomed"))["status"]
    assert status["live"] == {}
    assert (status["failures"], status["disruptions"]) == (failing, 0)
    rows = {row["name"]: row for row in status["trials"]}
    assert {name: row["attempt"] for name, row in rows.items()} == {
        player.trial: 1 for player in (*failed, *others)
    }
    for player in others:
        row = rows[player.trial]
        assert (row["state"], row["reason"]) == ("Terminated", "ExperimentStopped")
        assert (row["checkpoint"]["iteration"], counters(row)) == (player.iteration, (0, 0, 0))


async def stopped(lab: Lab, player: Player) -> None:
    """It is told so with each result until it obeys, and its Pod gets no signal."""
    answer = await player.train(1)
    assert answer.directive.kind is DirectiveKind.STOP
    assert (await player.train(1)).directive == answer.directive
    pod = await lab.pod("doomed", player.trial, 1, lambda _: True)
    assert "deletionTimestamp" not in pod["metadata"]
    await player.save()
    await player.stop(answer.directive)


async def test_the_next_attempt_keeps_away_from_the_nodes_that_failed_it(
    lab: Lab, fleet: Fleet
) -> None:
    nodes = await fleet.make("a", "b")
    failure = {"maxFailures": 3, "backoff": AT_ONCE}
    await lab.apply("picky", trainer=None, template=fleet.template(*nodes), failure=failure)
    hosts = []
    for attempt in (1, 2, 3):
        player = await lab.player("picky", "00000", attempt)
        hosts.append(player.pod["spec"]["nodeName"])
        if attempt < 3:
            await player.exit(1)
    assert set(hosts[:2]) == set(nodes)
    assert hosts[2] in nodes  # both failed it: it runs all the same
    await player.complete()
