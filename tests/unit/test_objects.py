"""The experiments as last seen: news comes from the watch and from answers, in any order."""

from typing import Any

from tune_operator.experiment.run import Key
from tune_operator.objects import Objects

KEY = ("tune", "digits")


def version(number: int, uid: str = "u1", **more: Any) -> dict[str, Any]:
    meta = {"namespace": "tune", "name": "digits", "uid": uid, "resourceVersion": str(number)}
    return {"metadata": {**meta, **more}}


def known() -> tuple[Objects, list[Key]]:
    woken: list[Key] = []
    return Objects(woken.append), woken


def test_an_answer_that_the_watch_overtook_does_not_bring_back_the_older_object() -> None:
    objects, woken = known()
    objects.observe("MODIFIED", version(12, deletionTimestamp="2026-03-01T12:00:00Z"))
    newest = objects.learn(version(11))
    assert newest["metadata"]["deletionTimestamp"]
    assert objects[KEY] is newest
    assert woken == [KEY]


def test_an_event_older_than_our_own_write_changes_nothing() -> None:
    objects, _ = known()
    written = version(12)
    assert objects.learn(written) is written
    objects.observe("MODIFIED", version(11))
    assert objects[KEY] is written


def test_the_end_of_an_object_leaves_one_made_anew_under_its_name() -> None:
    objects, woken = known()
    objects.observe("ADDED", version(9))
    objects.observe("ADDED", version(15, uid="u2"))
    objects.observe("DELETED", version(14))
    assert objects[KEY]["metadata"]["uid"] == "u2"
    objects.observe("DELETED", version(16, uid="u2"))
    assert KEY not in objects
    assert len(woken) == 4
