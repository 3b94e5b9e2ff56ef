"""The rules by which news changes the store, in every order in which news can arrive."""

from dataclasses import dataclass

import pytest

from tune_operator.kube.record_store import RecordStore


@dataclass(frozen=True)
class Record:
    name: str
    resource_version: str
    phase: str = "Running"
    uid: str = ""
    namespace: str = "tune"
    experiment_uid: str = "e1"


def record(name: str, version: int, phase: str = "Running", uid: str = "") -> Record:
    return Record(name, str(version), phase, uid or f"uid-{name}")


@pytest.fixture
def store() -> RecordStore[Record]:
    """Listed at 10, with Pods a (written at 5) and b (at 6)."""
    store: RecordStore[Record] = RecordStore()
    store.replace_all([record("a", 5), record("b", 6)], "10")
    return store


def names(store: RecordStore[Record]) -> set[str]:
    return {found.name for found in store.of("e1")}


def test_first_list_is_all_news() -> None:
    store: RecordStore[Record] = RecordStore()
    assert store.replace_all([record("a", 5)], "10") == [record("a", 5)]
    assert store.get("tune", "a") == record("a", 5)
    assert store.seen == 10


def test_event_that_changes_something_is_news(store: RecordStore[Record]) -> None:
    assert store.event("MODIFIED", record("a", 11, "Failed")) == [record("a", 11, "Failed")]
    assert store.event("ADDED", record("c", 12)) == [record("c", 12)]
    assert store.seen == 12


def test_event_that_changes_only_the_version_is_none(store: RecordStore[Record]) -> None:
    assert store.event("MODIFIED", record("a", 11)) == []
    assert store.get("tune", "a") == record("a", 11)


def test_event_older_than_what_is_known_changes_nothing(store: RecordStore[Record]) -> None:
    store.observe(record("a", 15, "Failed"))
    assert store.event("MODIFIED", record("a", 12, "Running")) == []
    assert store.get("tune", "a") == record("a", 15, "Failed")


def test_deletion_gives_the_last_known_record(store: RecordStore[Record]) -> None:
    store.observe(record("a", 15, "Failed"))
    assert store.event("DELETED", record("a", 16, "Running")) == [record("a", 15, "Failed")]
    assert names(store) == {"b"}


def test_deletion_of_what_is_not_known_is_no_news(store: RecordStore[Record]) -> None:
    assert store.event("DELETED", record("x", 11)) == []


def test_list_finds_what_was_deleted_meanwhile(store: RecordStore[Record]) -> None:
    assert store.replace_all([record("b", 6)], "20") == [record("a", 5)]
    assert names(store) == {"b"}


def test_list_without_a_difference_is_no_news(store: RecordStore[Record]) -> None:
    assert store.replace_all([record("b", 6), record("a", 5)], "20") == []
    assert store.seen == 20


def test_own_create_made_after_the_list_survives_it(store: RecordStore[Record]) -> None:
    store.observe(record("c", 25))
    assert store.replace_all([record("a", 5), record("b", 6)], "20") == []
    assert names(store) == {"a", "b", "c"}


def test_own_create_that_the_list_should_show_was_deleted(store: RecordStore[Record]) -> None:
    store.observe(record("c", 15))
    assert store.replace_all([record("a", 5), record("b", 6)], "20") == [record("c", 15)]


def test_own_write_newer_than_the_list_wins_over_it(store: RecordStore[Record]) -> None:
    store.observe(record("a", 25, "Failed"))
    assert store.replace_all([record("a", 5), record("b", 6)], "20") == []
    assert store.get("tune", "a") == record("a", 25, "Failed")


def test_own_write_is_news_before_the_watch_and_none_after(store: RecordStore[Record]) -> None:
    assert store.observe(record("c", 11)) == [record("c", 11)]
    assert store.event("ADDED", record("c", 11)) == []


def test_own_write_that_arrives_after_its_deletion_stays_dead(store: RecordStore[Record]) -> None:
    store.event("ADDED", record("c", 11))
    store.event("DELETED", record("c", 13))
    assert store.observe(record("c", 12)) == []
    assert names(store) == {"a", "b"}


def test_own_write_whose_deletion_is_the_same_version_stays_dead(
    store: RecordStore[Record],
) -> None:
    store.event("DELETED", record("a", 13))
    assert store.observe(record("a", 13)) == []


def test_own_write_to_a_pod_that_a_list_no_longer_had_stays_dead(
    store: RecordStore[Record],
) -> None:
    store.replace_all([record("b", 6)], "20")
    assert store.observe(record("a", 19)) == []


def test_bookmark_moves_on_what_was_seen(store: RecordStore[Record]) -> None:
    store.bookmark("30")
    assert store.seen == 30
    assert store.observe(record("c", 29)) == []
    store.bookmark("29")
    assert store.seen == 30


def test_name_taken_again_tells_of_both(store: RecordStore[Record]) -> None:
    old, new = record("a", 5), record("a", 12, uid="another")
    assert store.observe(new) == [old, new]
    assert store.event("DELETED", record("a", 11)) == []
    assert store.get("tune", "a") == new


def test_version_is_compared_as_a_number(store: RecordStore[Record]) -> None:
    store.event("MODIFIED", record("a", 99, "Failed"))
    assert store.event("MODIFIED", record("a", 100, "Running")) == [record("a", 100, "Running")]


def test_index_holds_nothing_of_what_is_gone(store: RecordStore[Record]) -> None:
    other = Record("z", "11", experiment_uid="e2", uid="z")
    store.event("ADDED", other)
    assert store.of("e2") == (other,)
    store.event("DELETED", other)
    assert store.of("e2") == ()
    assert len(store) == 2


def test_all_records_whatever_they_belong_to(store: RecordStore[Record]) -> None:
    alone = Record("z", "11", experiment_uid="", uid="z", namespace="")
    store.event("ADDED", alone)
    assert set(store.all()) == {record("a", 5), record("b", 6), alone}
    assert store.get("", "z") == alone
