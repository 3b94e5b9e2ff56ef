"""Row 21: who is about to lose its Pod is asked for a checkpoint, and trains on."""

import pytest

from tests.integration.fleet import Fleet
from tests.integration.lab import Lab
from tests.integration.pair import Ended, Pair, counters
from tests.integration.player import Player
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.messages import CONTINUE, Directive, DirectiveKind

AUTOSCALER = "ToBeDeletedByClusterAutoscaler=1:NoSchedule"


async def answered(lab: Lab, player: Player, kind: DirectiveKind) -> Directive:
    """Train until the answer to a result is of this kind."""

    async def trained() -> Directive | None:
        answer = await player.train(1)
        return answer.directive if answer.directive.kind is kind else None

    return await lab.until(trained, f"{player.name} is answered {kind}", "moved")


async def pair_apart(lab: Lab, fleet: Fleet) -> Pair:
    """Two trials on nodes of their own, and a third node."""
    nodes = await fleet.make("a", "b", "c")
    template = fleet.template(*nodes, apart="moved")
    return await Pair.start(lab, "moved", trainer=None, template=template)


async def untouched(pair: Pair) -> None:
    """Being asked is no interruption."""
    row = await pair.lab.trial(pair.name, "00000", lambda row: row["attempt"] == 1)
    assert (counters(row), row.get("lastInterruption")) == ((0, 0, 0), None)
    await pair.only(pair.victim, pair.bystander)


async def test_a_drain_begins_with_a_checkpoint(lab: Lab, fleet: Fleet) -> None:
    """cordon, checkpoint, evict: not an iteration is lost."""
    pair = await pair_apart(lab, fleet)
    await fleet.kubectl("cordon", pair.node)
    asked = await answered(lab, pair.victim, DirectiveKind.CHECKPOINT)
    repeated = (await pair.victim.train(1)).directive
    assert (repeated.kind, repeated.id) == (asked.kind, asked.id)
    saved = await pair.victim.save()
    assert (await pair.victim.train(1)).directive == CONTINUE
    assert (await pair.bystander.train(1)).directive == CONTINUE
    await untouched(pair)

    pair.victim.iteration = saved.iteration + 1
    await pair.victim.annotate({"tune.dev/exit-on-delete": "0"})
    await pair.victim.end(Outcome.INTERRUPTED)
    await lab.evict(pair.victim.pod)
    second = await lab.player("moved", "00000", 2)
    assert second.session is not None
    assert second.session.plan[0] == saved
    assert second.pod["spec"]["nodeName"] != pair.node
    row = await lab.trial("moved", "00000", lambda row: row["attempt"] == 2)
    Ended(8, "preempted", "EvictionByEvictionAPI", disruptions=1).check(row, 1)
    await pair.only(second, pair.bystander)
    await pair.unnoticed()


@pytest.mark.parametrize(
    ("announce", "withdraw"),
    [
        (["cordon", "{}"], ["uncordon", "{}"]),
        (["taint", "node", "{}", AUTOSCALER], ["taint", "node", "{}", f"{AUTOSCALER}-"]),
    ],
    ids=["cordon", "taint of the autoscaler"],
)
async def test_an_announcement_may_be_withdrawn(
    lab: Lab, fleet: Fleet, announce: list[str], withdraw: list[str]
) -> None:
    pair = await pair_apart(lab, fleet)
    await fleet.kubectl(*(word.format(pair.node) for word in announce))
    first = await answered(lab, pair.victim, DirectiveKind.CHECKPOINT)
    await fleet.kubectl(*(word.format(pair.node) for word in withdraw))
    await answered(lab, pair.victim, DirectiveKind.CONTINUE)
    await fleet.kubectl(*(word.format(pair.node) for word in announce))
    second = await answered(lab, pair.victim, DirectiveKind.CHECKPOINT)
    assert first.id != second.id
    assert (await pair.bystander.train(1)).directive == CONTINUE
    await untouched(pair)


async def test_a_pod_that_is_marked_but_not_deleted_is_asked_too(lab: Lab) -> None:
    pair = await Pair.start(lab, "moved")
    await lab.mark(pair.victim.pod, "DisruptionTarget", "PreemptionByScheduler")
    await answered(lab, pair.victim, DirectiveKind.CHECKPOINT)
    await pair.victim.save()
    assert (await pair.victim.train(1)).directive == CONTINUE
    await untouched(pair)
