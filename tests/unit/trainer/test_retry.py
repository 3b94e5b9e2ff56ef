"""How long a store that does not serve us is asked again."""

import pytest

from tests.unit.trainer.build import FakeTime
from tune_trainer.errors import Unusable
from tune_trainer.retry import Retry
from tune_trainer.store.base import KeysRefused, Unavailable


@pytest.mark.parametrize(
    ("error", "bound"),
    [(Unavailable("HTTP 503"), 900), (KeysRefused("HTTP 403 InvalidAccessKeyId"), 60)],
    ids=["no answer", "keys that the store does not know"],
)
def test_keys_nobody_knows_are_given_up_sooner_for_the_next_pod_has_better_ones(
    error: Unavailable, bound: int
) -> None:
    fake = FakeTime()

    def action() -> None:
        raise error

    with pytest.raises(Unusable, match=f"gave up after {bound} s"):
        Retry(900, denied=60, wait=fake.wait, clock=fake.clock).run(action)
    assert bound / 2 < fake.now <= bound
