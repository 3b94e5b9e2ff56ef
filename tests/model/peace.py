"""The end of every history: faults stop, and what was promised for then comes true (P7, P13)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.model.history import PLACE, hold
from tests.model.nodes import NODE_NAMES
from tune_operator.kube.resources import PODS
from tune_operator.kube.transport import Object
from tune_operator.lifecycle.pod_view import project

if TYPE_CHECKING:
    from tests.model.play import Play

ROUNDS, SECONDS = 100, 5.0
"""How long the end may take: more than any pause, grace and time-out together."""

CALM = 8
"""Rounds without a write after which a suspended experiment rests: longer than any pause."""

LATE = 61.0
"""Seconds, longer than any bound of a deletion here."""


@dataclass(frozen=True)
class Peace:
    """What peace looks like. ``restart``: the operator is started anew, and knows nothing; else it
    goes on with what it believes. ``heal``: all nodes come back; else one stays silent for ever.
    ``suspended``: the experiment rests. ``deleted``: it is deleted before its end.
    """

    restart: bool = True
    heal: bool = True
    suspended: bool = False
    deleted: bool = False

    @classmethod
    def drawn(cls, pick: int) -> Peace:
        """Any of them."""
        return cls(
            deleted=pick % 2 == 0,
            restart=pick // 2 % 2 == 0,
            heal=pick // 4 % 4 > 0,
            suspended=pick // 16 % 4 == 0,
        )


def conclude(play: Play, peace: Peace) -> None:
    """To rest, to its end or half-way there, and away; after a deletion nothing is left."""
    _stop_faults(play, peace)
    if peace.suspended:
        _settle(play, peace)
        play.edit_spec(lambda spec: spec.update(suspend=False))
    peace = replace(peace, suspended=False)
    if not peace.deleted:
        _settle(play, peace)
    play.delete_now()
    _settle(play, peace)
    hold("P7", PLACE not in play.server.objects, "the object is stuck")
    play.nodes.mend()
    _settle(play, replace(peace, heal=True))
    hold("P7", not play.pods(), f"left behind: {[pod['metadata'] for pod in play.pods()]}")


def _stop_faults(play: Play, peace: Peace) -> None:
    """The last fault may be the end of the operators; one stays."""
    play.bucket.up, play.server.quota, play.server.policy = True, False, False
    play.edit_spec(lambda spec: spec.update(suspend=peace.suspended))
    play.nodes.mend()
    if not peace.heal:
        play.nodes.turn(NODE_NAMES[0], play.clocks.wall)
    for spare in play.operators[1:]:
        spare.die()
    if peace.restart:
        play.crash(0)
    del play.operators[1:]
    play.orphans.clear()
    play.operators[0].loop.frozen = False
    for pod in play.server.of(PODS):
        if pod not in play.pods():
            play.server.delete((PODS.plural, pod["metadata"]["namespace"], pod["metadata"]["name"]))


def _settle(play: Play, peace: Peace) -> None:
    """P13: what there is to do comes to its end, and then nothing is written."""
    operator = play.operators[0]
    calm, known = 0, (0, 0)
    for _ in range(ROUNDS):
        play.wait_seconds(SECONDS)
        if not peace.heal:
            play.controllers(1)
        for pod in play.pods():
            play.behave(pod, operator)
        operator.finish()
        written = (play.server.version, play.bucket.writes)
        calm, known = (calm + 1 if written == known else 0), written
        if _is_over(play, peace) and (calm >= CALM or not peace.suspended):
            break
    over = _is_over(play, peace)
    hold("P13", over, f"no end is reached: {play.history.state}, {play.history.experiment}")
    before = (play.server.version, play.bucket.writes)
    for _ in range(3):
        play.wait_seconds(LATE)
        operator.poke()
        operator.finish()
    after = (play.server.version, play.bucket.writes)
    hold("P13", after == before, f"something is written after the end: {play.server.log[-2:]}")


def _is_over(play: Play, peace: Peace) -> bool:
    pods = _restless(play, peace)
    known = play.history.experiment
    if known is None or "deletionTimestamp" in known["metadata"]:
        return known is None and not pods
    state = play.history.state
    if peace.suspended and state.ended is None:
        return state.released and not pods
    done = all(trial.finished for trial in state.trials)
    return state.ended is not None and done and not pods


def _restless(play: Play, peace: Peace) -> list[Object]:
    """All Pods but those kept for people to read and those that nobody can reach."""
    pods = [pod for pod in play.pods() if peace.heal or not play.nodes.loses(pod)]
    kept = [pod for pod in pods if project(pod).terminal and not project(pod).tracked]
    if play.history.experiment is None:
        return pods
    return [pod for pod in pods if pod not in kept[:1]]
