"""The script of `make chaos`."""

from tests.chaos import script
from tests.chaos.faults import AIMED, NodeFault, TrialFault, title


def test_a_seed_gives_the_same_script_again() -> None:
    assert script.write(7, 200, 100) == script.write(7, 200, 100)
    assert script.write(7, 200, 100) != script.write(8, 200, 100)


def test_a_script_is_in_order_and_within_its_budget() -> None:
    strikes = script.write(7, 200, 100)
    moments = [strike.at for strike in strikes]
    assert moments == sorted(moments)
    assert 0 < moments[0] < moments[-1] < 200
    assert sum(isinstance(strike.fault, TrialFault) for strike in strikes) == 100


def test_every_kind_of_fault_has_its_turn() -> None:
    titles = {title(strike.fault) for strike in script.write(7, 200, 200)}
    assert titles == {title(fault) for fault in (*AIMED, *script.SHARED)}


def test_a_longer_run_has_more_of_the_shared_faults() -> None:
    long = [strike.fault for strike in script.write(7, 600, 100)]
    assert long.count(NodeFault.LOST) == 3 * script.SHARED[NodeFault.LOST]
