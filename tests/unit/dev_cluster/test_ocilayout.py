"""The layout of finished images: streams without what is there, and pruning."""

import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from dev.cluster.imagebuild import write_rootfs
from dev.cluster.ocilayout import CONTAINERD_NAME, KEPT_VERSIONS, REFERENCE, Layout


class Store:
    """A layout as buildah leaves it."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder)
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)
        self._index: list[dict[str, object]] = []

    def blob(self, content: bytes) -> str:
        name = sha256(content).hexdigest()
        (self._blobs / name).write_bytes(content)
        return f"sha256:{name}"

    def image(self, reference: str, *layers: bytes) -> None:
        parts = [{"digest": self.blob(layer)} for layer in layers]
        config = {"digest": self.blob(reference.encode())}
        manifest = self.blob(json.dumps({"config": config, "layers": parts}).encode())
        self._index.append({"digest": manifest, "annotations": {REFERENCE: reference}})
        text = json.dumps({"schemaVersion": 2, "manifests": self._index})
        (self.layout.folder / "index.json").write_text(text)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def members(layout: Layout, names: dict[str, str], present: list[str]) -> dict[str, bytes]:
    target = io.BytesIO()
    layout.stream(names, present, target)
    target.seek(0)
    with tarfile.open(fileobj=target) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]


def test_a_shared_layer_is_sent_once(store: Store) -> None:
    store.image("a.1", b"base", b"a")
    store.image("b.1", b"base", b"b")
    sent = members(store.layout, {"dev.local/a:dev": "a.1", "dev.local/b:dev": "b.1"}, [])
    assert sorted(v for v in sent.values() if v in {b"base", b"a", b"b"}) == [b"a", b"b", b"base"]
    names = [entry["annotations"] for entry in json.loads(sent["index.json"])["manifests"]]
    assert names == [{CONTAINERD_NAME: "dev.local/a:dev"}, {CONTAINERD_NAME: "dev.local/b:dev"}]


def test_what_the_node_has_is_not_sent(store: Store) -> None:
    store.image("a.1", b"base", b"a")
    sent = members(store.layout, {"dev.local/a:dev": "a.1"}, [store.blob(b"base")])
    assert b"a" in sent.values()
    assert b"base" not in sent.values()


def test_old_versions_go_with_the_layers_only_they_had(store: Store) -> None:
    for version in range(KEPT_VERSIONS + 2):
        store.image(f"a.{version}", b"base", f"layer {version}".encode())
    store.image("b.0", b"base")
    assert store.layout.prune() == ["a.0", "a.1"]
    assert store.layout.prune() == []
    assert list(store.layout.manifests()) == ["a.2", "a.3", "a.4", "b.0"]
    left = {file.read_bytes() for file in (store.layout.folder / "blobs" / "sha256").iterdir()}
    assert b"base" in left
    assert b"layer 0" not in left
    assert b"layer 2" in left


def test_an_index_that_was_being_written_starts_the_layout_anew(store: Store) -> None:
    store.image("a.1", b"base")
    (store.layout.folder / "index.json").write_text('{"schemaV')
    assert store.layout.manifests() == {}
    assert not store.layout.folder.exists()
    assert store.layout.prune() == []


def test_a_file_system_of_programs_is_always_the_same(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"binary")
    for name in ("one.tar", "two.tar"):
        write_rootfs(tmp_path / name, {"bin/program": program})
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        assert archive.getmember("tmp").mode == 0o1777
        assert archive.getmember("bin/program").mode == 0o755
