"""Attempts of one trial that are killed, or stopped and later revived, wherever they are.

What is restored was committed, is whole, and is never older than the last checkpoint that was
acknowledged; what a revived zombie commits changes nothing. ``tests.integration.kill_loop`` has the
loop. That it can fail is shown with attempts that break one rule each.

``ROUNDS=300 SEED=7`` for more, or for the same again.
"""

import os
from collections.abc import Iterator

import pytest

from tests.clusters import Bucket
from tests.integration.doomed import Place
from tests.integration.kill_loop import KillLoop, Zygote

ROUNDS = int(os.environ.get("ROUNDS", "36"))
SEED = int(os.environ.get("SEED", "1"))

pytestmark = pytest.mark.timeout(60 + 10 * ROUNDS)


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory, minio: Bucket) -> Iterator[Zygote]:
    found = Zygote(tmp_path_factory.mktemp("kill-loop"), minio)
    yield found
    found.close()


def test_what_is_restored_was_committed_wherever_the_attempt_before_it_ended(
    zygote: Zygote, minio: Bucket
) -> None:
    loop = KillLoop(zygote, minio, SEED)
    loop.run(ROUNDS)
    # The loop has met what it is about.
    assert set(Place) <= loop.met.keys(), loop.met
    for kind, share in (("killed", 8), ("stopped", 8), ("committed too late", 20), ("damaged", 20)):
        assert loop.met[kind] >= ROUNDS // share, loop.met
    assert loop.met["fenced"] >= 1, loop.met


@pytest.mark.parametrize(
    ("rule", "noticed"),
    [
        ("acknowledge_before_the_commit", "an acknowledged checkpoint is not there"),
        ("manifest_before_data", "was restored instead of|has no data|NoValidCheckpoint"),
        (
            "restore_without_verification",
            "what was restored is not|was restored instead of|NotFound",
        ),
        ("overwrite_what_is_committed", "was overwritten"),
        ("commit_what_was_restored", "was committed again"),
    ],
)
def test_a_rule_that_is_broken_is_noticed(
    zygote: Zygote, minio: Bucket, rule: str, noticed: str
) -> None:
    with pytest.raises(AssertionError, match=noticed):
        KillLoop(zygote, minio, SEED, rule).run(ROUNDS)
