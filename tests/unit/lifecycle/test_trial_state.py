"""What a trial's state says of itself."""

from tests.unit.lifecycle.builders import at, trial
from tune_operator.lifecycle.trial_state import Avoided


def test_a_node_is_avoided_until_its_time_is_over() -> None:
    state = trial(avoid=(Avoided("node-1", at(10)), Avoided("node-2", at(20))))
    assert state.avoided(at(9)) == ("node-1", "node-2")
    assert state.avoided(at(10)) == ("node-2",)
    assert state.avoided(at(20)) == ()
