"""Keys of data name their checkpoint; the mark of a deletion sorts behind all segments."""

from __future__ import annotations

import pytest

from tune_trainer.protocol.keys import (
    LARGEST_TERM,
    CheckpointRef,
    DataRef,
    RunKeys,
    SegmentRef,
    parse_data_key,
    parse_segment_key,
)

RUN = RunKeys.of("a", "ns", "digits", "uid")
TRIAL = RUN.trial("00003")


@pytest.mark.parametrize("path", ["model", "deep/er/model", "00001-0000000002-x/y", "line\nbreak"])
def test_what_a_trainer_writes_is_found_again(path: str) -> None:
    folder = DataRef("00003", CheckpointRef(2, 40), "0a1b2c3d")
    key = TRIAL.data(folder.ref, folder.nonce) + path
    assert key.startswith(TRIAL.all_data())
    assert parse_data_key(TRIAL, key) == folder


def test_a_folder_is_found_from_any_trial_of_the_run() -> None:
    folder = DataRef("00003", CheckpointRef(2, 40), "0a1b2c3d")
    assert RUN.trial("00007").folder(folder) == TRIAL.data(folder.ref, folder.nonce)


@pytest.mark.parametrize(
    "key",
    [
        TRIAL.manifest(CheckpointRef(2, 40)),
        TRIAL.data(CheckpointRef(2, 40), "n").rstrip("/"),
        RUN.trial("00004").data(CheckpointRef(2, 40), "n") + "model",
        f"{TRIAL.all_data()}2-40-n/model",
        f"{TRIAL.all_data()}other/model",
    ],
)
def test_anything_else_is_no_data_of_this_trial(key: str) -> None:
    assert parse_data_key(TRIAL, key) is None


def test_the_mark_is_behind_every_segment_and_is_none() -> None:
    assert RUN.purging() > RUN.segment(SegmentRef(LARGEST_TERM, "f" * 16, 99999999))
    assert RUN.purging().startswith(RUN.journal())
    assert parse_segment_key(RUN.purging()) is None
