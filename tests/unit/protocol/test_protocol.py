"""What operator and trainer agree on: round trips, fixed widths, and refusals by field name."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_trainer.protocol import environment, fields, numbers
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.exit_record import ExitRecord, Outcome, Reason
from tune_trainer.protocol.keys import (
    CheckpointRef,
    DataRef,
    RunKeys,
    parse_manifest_key,
    trial_name,
)
from tune_trainer.protocol.manifest import LARGEST, FileEntry, Manifest, Pack
from tune_trainer.protocol.messages import (
    CONTINUE,
    Directive,
    DirectiveKind,
    ResultsRequest,
    ResultsResponse,
    SessionResponse,
    StorageInfo,
)
from tune_trainer.protocol.result import Result

refs = st.builds(CheckpointRef, st.integers(1, 99_999), st.integers(0, 10**9))
scalars = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats() | st.text()
metrics = st.dictionaries(
    st.text(),
    st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v)),
    max_size=4,
)
MANIFEST = Manifest(
    experiment="uid",
    trial="00003",
    ref=CheckpointRef(2, 40),
    nonce="ab",
    time="2026-01-01T00:00:00Z",
    kind="directory",
    relative="",
    metrics={"loss": math.nan},
    progress={"training_iteration": 40},
    files=(FileEntry("model/weights", 5, 4, ("aa", "bb")),),
    results=(Result(3, {"loss": 0.5}),),
)


def text(value: object) -> str:
    """JSON with NaN in it, so that NaN equals itself and 1.0 is not 1."""
    return json.dumps(value, sort_keys=True)


@settings(max_examples=50)
@given(metrics)
def test_results_travel_unchanged_and_are_plain_json(values: dict[str, object]) -> None:
    encoded = fields.dump(numbers.encode(values))
    assert text(numbers.decode(json.loads(encoded))) == text(values)


@given(st.lists(refs, min_size=2, max_size=2, unique=True))
def test_keys_sort_as_checkpoints_do(pair: list[CheckpointRef]) -> None:
    keys = RunKeys.of("p", "ns", "x", "uid").trial(trial_name(3))
    assert sorted(map(keys.manifest, pair)) == [keys.manifest(ref) for ref in sorted(pair)]


@given(refs)
def test_a_checkpoint_is_read_back_from_its_key_and_its_short_form(ref: CheckpointRef) -> None:
    key = RunKeys.of("", "ns", "x", "uid").trial("00000").manifest(ref)
    assert parse_manifest_key(key) == ref
    assert CheckpointRef.parse(str(ref)) == ref


def test_a_manifest_is_read_back_as_written() -> None:
    assert repr(Manifest.from_bytes(MANIFEST.to_bytes())) == repr(MANIFEST)


def test_a_manifest_of_large_files_and_of_packs_is_read_back_as_written() -> None:
    files = (FileEntry("weights", 2**40, 2**38, ("a", "b", "c", "d")),)
    manifest = replace(MANIFEST, files=files, packs=(Pack("pack-00000", 3, "cc"),))
    assert repr(Manifest.from_bytes(manifest.to_bytes())) == repr(manifest)


def test_a_manifest_says_packs_only_where_there_are_some() -> None:
    """So that an older trainer reads what it can load, and refuses what it would load in part."""
    plain = json.loads(MANIFEST.to_bytes())
    packed = json.loads(replace(MANIFEST, packs=(Pack("pack-00000", 3, "cc"),)).to_bytes())
    assert (plain["version"], "packs" in plain) == (1, False)
    assert packed["version"] == 2


class TestClones:
    """A clone is another trial's checkpoint by one manifest, which names where the data lie."""

    CLONE = MANIFEST.clone("00007", CheckpointRef(5, 40), "cd")

    def test_is_read_back_as_written(self) -> None:
        assert repr(Manifest.from_bytes(self.CLONE.to_bytes())) == repr(self.CLONE)

    def test_names_the_data_of_its_source_and_not_its_results(self) -> None:
        assert self.CLONE.data == MANIFEST.data == DataRef("00003", CheckpointRef(2, 40), "ab")
        assert (self.CLONE.trial, self.CLONE.ref, self.CLONE.nonce) == (
            "00007", CheckpointRef(5, 40), "cd",
        )  # fmt: skip
        assert (self.CLONE.files, self.CLONE.progress) == (MANIFEST.files, MANIFEST.progress)
        assert self.CLONE.results == ()

    def test_of_a_clone_names_what_was_uploaded(self) -> None:
        """So that it outlives the manifest it was made from."""
        assert self.CLONE.clone("00003", CheckpointRef(6, 40), "ef").data == MANIFEST.data

    def test_made_twice_is_the_same(self) -> None:
        again = MANIFEST.clone("00007", CheckpointRef(5, 40), "cd")
        assert again.to_bytes() == self.CLONE.to_bytes()

    def test_has_a_version_that_older_readers_refuse(self) -> None:
        """They would look for the data below the clone's own key, and collect the source's."""
        packed = replace(MANIFEST, packs=(Pack("pack-00000", 3, "cc"),))
        for source in (MANIFEST, packed):
            clone = source.clone("00007", CheckpointRef(5, 40), "cd")
            assert json.loads(clone.to_bytes())["version"] == 3
            assert Manifest.from_bytes(clone.to_bytes()).packs == source.packs

    @pytest.mark.parametrize(
        ("field", "origin"),
        [
            ("trial", DataRef("../../other/t/00000", CheckpointRef(1, 1), "ab")),
            ("trial", DataRef("3", CheckpointRef(1, 1), "ab")),
            ("nonce", DataRef("00003", CheckpointRef(1, 1), "ab/../..")),
            ("nonce", DataRef("00003", CheckpointRef(1, 1), "a/b")),
            ("attempt", DataRef("00003", CheckpointRef(0, 1), "ab")),
            ("iteration", DataRef("00003", CheckpointRef(1, -1), "ab")),
        ],
    )
    def test_cannot_name_anything_outside_its_run(self, field: str, origin: DataRef) -> None:
        with pytest.raises(ProtocolError, match=f"manifest.origin.{field}"):
            Manifest.from_bytes(replace(MANIFEST, origin=origin).to_bytes())


def test_a_manifest_of_a_newer_trainer_is_refused() -> None:
    newer = MANIFEST.to_bytes().replace(b'"version":1', b'"version":4')
    expected = r"version: 4 is not known here \(expected 1 or 2 or 3\)"
    with pytest.raises(ProtocolError, match=expected):
        Manifest.from_bytes(newer)


def test_a_manifest_is_bounded() -> None:
    parts = ("ab" * 32,) * (LARGEST // 66)
    endless = replace(MANIFEST, files=(FileEntry("weights", len(parts) * 2**24, 2**24, parts),))
    with pytest.raises(ValueError, match="1 files of 1 MiB or more"):
        endless.to_bytes()
    with pytest.raises(ProtocolError, match="more than"):
        Manifest.from_bytes(b"x" * (LARGEST + 1))


@given(st.integers(0, len(MANIFEST.to_bytes()) - 1))
def test_a_torn_manifest_is_never_read(length: int) -> None:
    with pytest.raises(ProtocolError):
        Manifest.from_bytes(MANIFEST.to_bytes()[:length])


def test_an_altered_manifest_is_never_read() -> None:
    altered = MANIFEST.to_bytes().replace(b'"size":5', b'"size":6')
    with pytest.raises(ProtocolError, match="sha256"):
        Manifest.from_bytes(altered)


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "", "a\\b"])
def test_a_manifest_cannot_name_files_outside_its_directory(path: str) -> None:
    bad = replace(MANIFEST, files=(FileEntry(path, 1, 4, ("aa",)),))
    with pytest.raises(ProtocolError, match="path"):
        Manifest.from_bytes(bad.to_bytes())


def test_an_exit_record_is_read_back_as_written_with_its_message_cut() -> None:
    record = ExitRecord(
        "uid", "00003", 2, Outcome.FAILED, "ValueError", "x" * 2000, 7, "", "", Result(9, {"a": 1})
    )
    read = ExitRecord.from_bytes(record.to_bytes())
    assert read == replace(record, message="x" * 1024)


def test_an_exit_record_names_the_directive_that_stopped_it() -> None:
    record = ExitRecord(
        "uid", "00003", 2, Outcome.STOPPED, Reason.STOPPED_BY_DIRECTIVE, "", 7, "", directive="s-1"
    )
    assert ExitRecord.from_bytes(record.to_bytes()) == record


def test_an_exit_record_of_an_older_trainer_names_no_directive() -> None:
    record = ExitRecord("uid", "00003", 2, Outcome.COMPLETED, "Completed", "", 7, "")
    document = record.to_json()
    del document["directive"]
    assert ExitRecord.from_json(document) == record


SESSION = SessionResponse(
    "digits", "uid", "ns", "run", "00003", 2, {"lr": 0.1}, "loss", "min", {"loss": 0.5}, 5, True,
    (CheckpointRef(1, 5),), StorageInfo("https://s3", "us-east-1", "tune", "ns/digits/run"),
    max_lost_seconds=300, on_preemption=False,
)  # fmt: skip


def test_a_session_is_read_back_as_written() -> None:
    assert SessionResponse.from_bytes(fields.dump(SESSION.to_json())) == SESSION


def test_a_session_of_an_older_operator_saves_on_preemption_and_by_frequency_alone() -> None:
    document = SESSION.to_json()
    del document["checkpoint"]["maxLostSeconds"], document["checkpoint"]["onPreemption"]
    read = SessionResponse.from_bytes(fields.dump(document))
    assert read == replace(SESSION, max_lost_seconds=0, on_preemption=True)


@pytest.mark.parametrize(
    ("name", "value"), [("maxLostSeconds", -1), ("maxLostSeconds", "60"), ("onPreemption", 1)]
)
def test_a_session_with_a_wrong_policy_is_refused_by_its_field(name: str, value: object) -> None:
    document = SESSION.to_json()
    document["checkpoint"][name] = value
    with pytest.raises(ProtocolError, match=rf"session\.checkpoint\.{name}: "):
        SessionResponse.from_bytes(fields.dump(document))


@pytest.mark.parametrize(
    "directive",
    [CONTINUE, Directive(DirectiveKind.STOP, "s-1"), Directive(DirectiveKind.CHECKPOINT, "c-2")],
    ids=lambda directive: directive.kind,
)
def test_a_directive_is_read_back_as_written(directive: Directive) -> None:
    answer = ResultsResponse(3, 2, directive)
    assert ResultsResponse.from_bytes(fields.dump(answer.to_json())) == answer


def answer_with(directive: object) -> bytes:
    return fields.dump({"version": 1, "received": 3, "durable": 2, "directive": directive})


@pytest.mark.parametrize(
    "directive",
    [
        pytest.param({"type": "Exploit", "id": "e-1", "of": ["00001"]}, id="with more to say"),
        pytest.param({"type": "Exploit", "id": 7}, id="with an ID of another kind"),
        pytest.param({"type": "Exploit"}, id="without an ID"),
    ],
)
def test_a_directive_of_a_newer_operator_is_continue(directive: object) -> None:
    answer = ResultsResponse.from_bytes(answer_with(directive))
    assert answer == ResultsResponse(3, 2, Directive(unknown="Exploit"))
    assert answer.directive.kind is DirectiveKind.CONTINUE


@pytest.mark.parametrize(
    ("directive", "field"),
    [
        ("Stop", "answer.directive"),
        ({}, "answer.directive.type: missing"),
        ({"type": 1}, "answer.directive.type"),
        ({"type": "Stop"}, "answer.directive.id: missing"),
        ({"type": "Stop", "id": ""}, "answer.directive.id: Stop needs one"),
        ({"type": "Checkpoint", "id": 7}, "answer.directive.id"),
    ],
)
def test_a_directive_that_is_none_is_refused_by_its_field(directive: object, field: str) -> None:
    with pytest.raises(ProtocolError, match=field):
        ResultsResponse.from_bytes(answer_with(directive))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'{"version":2}', "version"),
        (b'{"version":1,"seq":0}', "attempt"),
        (b'{"version":1,"attempt":true,"seq":0}', "attempt"),
        (b'{"version":1,"attempt":0,"seq":0}', "attempt"),
        (b'{"version":1,"attempt":1e99,"seq":0}', "attempt"),
        (b'{"version":1,"attempt":1,"seq":0,"after":-1}', "after"),
        (b'{"version":1,"attempt":1%s,"seq":0}' % (b"0" * 60), "attempt"),
        (b'{"version":1,"attempt":1,"seq":2,"results":[{"seq":1,"metrics":{}}]}', "seq"),
        (b'{"version":1,"attempt":1,"seq":1,"results":[{"seq":1,"metrics":{"a":NaN}}]}', "NaN"),
        (b'{"version":1,"attempt":1,"seq":1,"results":[{"seq":1,"metrics":{"a":1e999}}]}', "1e999"),
        (b'{"version":1,"attempt":1,"seq":0,"checkpoints":["1-%s"]}' % (b"9" * 5000), "checkpoint"),
    ],
)
def test_a_bad_message_is_refused_by_the_name_of_its_field(body: bytes, field: str) -> None:
    with pytest.raises(ProtocolError, match=field):
        ResultsRequest.from_bytes(body)


def test_what_a_request_follows_may_be_left_unsaid() -> None:
    request = ResultsRequest(1, (Result(4, {}),), after=3)
    assert ResultsRequest.from_bytes(fields.dump(request.to_json())) == request
    document = request.to_json()
    del document["after"]
    assert ResultsRequest.from_bytes(fields.dump(document)).after == 0


def test_a_result_nested_beyond_reason_is_refused() -> None:
    deep: dict[str, object] = {}
    for _ in range(2000):
        deep = {"a": deep}
    with pytest.raises(ProtocolError, match="deep"):
        numbers.decode({"metrics": deep})


def test_parameters_become_variables_and_collisions_are_found() -> None:
    config = {"optim": {"lr": 0.1}, "batch-size": 8}
    flat = environment.flatten(config)
    assert [environment.param_variable(name) for name in flat] == [
        "TUNE_PARAM_OPTIM_LR",
        "TUNE_PARAM_BATCH_SIZE",
    ]
    assert environment.collisions(["a-b", "c", "a.b"]) == [("a-b", "a.b")]


class TestHostileDocuments:
    """What a trainer may write that would stay with its trial: bounded, and fit to be shown."""

    def read(self, **changed: object) -> ExitRecord:
        document = {"version": 1, "trial": "00000", "attempt": 1, "outcome": "Failed", **changed}
        return ExitRecord.from_bytes(json.dumps(document).encode())

    def test_texts_of_an_exit_record_are_cut(self) -> None:
        long = "x" * 100_000
        record = self.read(reason=long, message=long, signal=long, directive=long, time=long)
        assert len(record.message) == 1024
        for text in (record.reason, record.signal, record.directive, record.time):
            assert len(text) == 256

    def test_half_a_surrogate_pair_becomes_a_character_that_any_store_keeps(self) -> None:
        record = self.read(reason="Bad\ud800", message="no such file: b\udcff")
        assert record.reason == "Bad?"
        assert record.message == "no such file: b?"

    @pytest.mark.parametrize(("given", "read"), [(-3, 0), (10**30, 10**9), (7, 7)])
    def test_the_iteration_of_an_exit_record_stays_within_what_can_be_counted(
        self, given: int, read: int
    ) -> None:
        assert self.read(iteration=given).iteration == read

    @pytest.mark.parametrize("nonsense", [-1, 10**30, True, 1.5, "3"])
    def test_a_result_of_no_possible_iteration_has_none(self, nonsense: object) -> None:
        assert Result(1, {"training_iteration": nonsense}).iteration == 0

    @pytest.mark.parametrize("levels", [101, 900])
    def test_metrics_that_could_not_be_written_again_are_refused(self, levels: int) -> None:
        nested: object = 1
        for _ in range(levels):
            nested = [nested]
        with pytest.raises(ProtocolError, match="nested too deeply"):
            numbers.decode({"metrics": {"a": nested}})
