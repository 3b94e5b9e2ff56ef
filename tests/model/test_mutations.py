"""Would the model notice? Each safety rule is taken away in turn, and a promise must break.

The table is the proof that an invariant can fail and that the histories get there: a rule whose
loss goes unnoticed is either not needed or not tested.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.model.deletions import DELETIONS
from tests.model.examples import EXAMPLES
from tests.model.histories import random_history
from tests.model.history import Broken
from tests.model.mutations import MUTATIONS, Mutation

pytestmark = pytest.mark.timeout(300)  # pure computing: a busy machine takes its time
HISTORIES = 60
"""How many histories a loss may take to show where no example was written for it."""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_lost_rule_breaks_its_promise(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation.take_away(monkeypatch)
    with pytest.raises(Broken) as broken:
        (mutation.example or any_history)()
    assert broken.value.promise in mutation.promises, str(broken.value)


@pytest.mark.parametrize("example", [*EXAMPLES, *DELETIONS])
def test_with_the_rule_the_example_holds(example: Callable[[], None]) -> None:
    example()


def any_history() -> None:
    for seed in range(HISTORIES):
        random_history(seed)
