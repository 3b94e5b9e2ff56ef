"""The protocol of attempts under every fault we know, as Hypothesis finds them.

A failing example reads as a list of (what happens, pick): replay it with `Play.happens`.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.cases import ran
from tests.model.cases import EXAMPLES
from tests.model.histories import ACTIONS, random_history
from tests.model.peace import Peace, conclude
from tests.model.play import Play

pytestmark = pytest.mark.timeout(300)  # pure computing: a busy machine takes its time
WEIGHTED = [name for name, weight in ACTIONS.items() for _ in range(weight)]


class Attempts(RuleBasedStateMachine):
    """Any sequence of actions; every write is judged by the history as it happens."""

    def __init__(self) -> None:
        super().__init__()
        self.play = Play()
        self.pick = 0

    @rule(name=st.sampled_from(WEIGHTED), pick=st.integers(0, 2**16 - 1))
    def happens(self, name: str, pick: int) -> None:
        self.pick = pick
        self.play.happens(name, pick)

    def teardown(self) -> None:
        with self.play as play:
            conclude(play, Peace.drawn(self.pick))


TestAttempts = Attempts.TestCase
TestAttempts.settings = settings(max_examples=EXAMPLES, stateful_step_count=60, deadline=None)


def test_long_histories(request: pytest.FixtureRequest) -> None:
    """Longer than Hypothesis likes, and always the same ones."""
    begun = 0
    for seed in range(EXAMPLES):
        play = random_history(seed)
        begun += len(play.history.intents)
    ran(request.node.nodeid, EXAMPLES - 1)  # the test itself counts as one
    assert begun > 2 * EXAMPLES, "the histories are too tame to show anything"
