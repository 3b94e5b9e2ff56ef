"""The spool keeps every result until it is durable, in order, within its bound."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tune_trainer.protocol.result import Result
from tune_trainer.spool import Spool

BIG = 1 << 20


def spool(results: int = 100, size: int = BIG, mode: str = "max") -> Spool:
    return Spool("loss", mode, results, size)


def seqs(results: tuple[Result, ...]) -> list[int]:
    return [result.seq for result in results]


def test_what_is_received_is_kept_until_it_is_durable() -> None:
    kept = spool()
    for value in range(5):
        kept.add({"loss": value})
    kept.answered(received=4, durable=2)
    assert seqs(kept.unsent(BIG)) == [5]
    assert seqs(kept.undurable()) == [3, 4, 5]
    kept.answered(received=5, durable=5)
    assert kept.undurable() == ()
    assert kept.last == Result(5, {"loss": 4})


def test_a_restarted_operator_gets_again_what_it_lost() -> None:
    kept = spool()
    for value in range(5):
        kept.add({"loss": value})
    kept.answered(received=5, durable=2)
    kept.answered(received=2, durable=2)
    assert seqs(kept.unsent(BIG)) == [3, 4, 5]


def test_a_request_is_bounded_but_never_empty() -> None:
    kept = spool()
    for _ in range(3):
        kept.add({"text": "x" * 100})
    assert seqs(kept.unsent(1)) == [1]
    assert seqs(kept.unsent(300)) == [1, 2]


def test_refused_results_are_not_sent_again_but_kept() -> None:
    kept = spool()
    for _ in range(3):
        kept.add({"loss": 1})
    kept.refused(kept.unsent(BIG)[:2])
    assert seqs(kept.unsent(BIG)) == [3]
    assert seqs(kept.undurable()) == [1, 2, 3]


def test_what_was_received_before_a_refusal_is_sent_again_after_a_restart() -> None:
    kept = spool()
    for _ in range(3):
        kept.add({"loss": 1})
    kept.answered(received=2, durable=0)
    kept.refused(kept.unsent(BIG))
    kept.answered(received=0, durable=0)
    assert seqs(kept.unsent(BIG)) == [1, 2]


def test_beyond_the_bound_the_best_and_the_newest_are_kept() -> None:
    kept = spool(results=2, mode="min")
    for value in [5, 6, 4, math.nan, 1, 9, 8]:
        kept.add({"loss": value})
    assert seqs(kept.undurable()) == [1, 2, 5, 7]
    assert kept.merged == 3
    kept.answered(received=7, durable=2)  # there is room again
    kept.add({"loss": 3})
    kept.add({"loss": 0})
    assert seqs(kept.undurable()) == [5, 7, 9]
    assert kept.merged == 4


def test_the_bound_counts_bytes_too() -> None:
    kept = spool(size=500)
    for _ in range(10):
        kept.add({"loss": 1, "text": "x" * 150})
    assert seqs(kept.undurable()) == [1, 2, 3, 10]


@given(
    st.lists(
        st.one_of(
            st.floats(allow_nan=True).map(lambda value: ("add", value)),
            st.tuples(st.just("answer"), st.tuples(st.integers(0, 30), st.integers(0, 30))),
        ),
        max_size=60,
    )
)
def test_nothing_within_the_bound_is_lost(events: list[tuple[str, object]]) -> None:
    kept = spool(results=6)
    durable = 0
    for kind, value in events:
        if kind == "add":
            kept.add({"loss": value})
        else:
            assert isinstance(value, tuple)
            received, safe = min(value[0], kept.seq), min(value[1], kept.seq)
            durable = max(durable, safe)
            kept.answered(max(received, safe), safe)
        held = seqs(kept.undurable())
        assert held == sorted(set(held))
        assert len(held) <= 6 + 2
        assert len(held) + kept.merged >= kept.seq - durable
        if kept.seq > durable:
            assert held[-1] == kept.seq
        assert set(seqs(kept.unsent(BIG))) <= set(held)
