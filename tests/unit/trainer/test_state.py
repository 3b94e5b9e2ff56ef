"""State formats: whatever save_checkpoint returns, load_checkpoint gets the same again."""

import json
import math
from collections import OrderedDict
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_trainer import Trainable, state
from tune_trainer.state import Kind, Saved


class Fixed(Trainable):
    """Saves what it is told; remembers what it is handed back."""

    returned: Any = None
    files: tuple[str, ...] = ()
    loaded: Any = None

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        for name in self.files:
            path = Path(checkpoint_dir, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(name)
        return self.returned(checkpoint_dir) if callable(self.returned) else self.returned

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.loaded = checkpoint


def fixed(returned: Any, *files: str) -> Fixed:
    trainable = Fixed()
    trainable.returned = returned
    trainable.files = files
    return trainable


@pytest.mark.parametrize(
    ("returned", "saved", "handed_back"),
    [
        pytest.param(None, Saved(Kind.DIRECTORY), "{}", id="nothing"),
        pytest.param(lambda d: d, Saved(Kind.DIRECTORY), "{}", id="the directory"),
        pytest.param(lambda d: d + "/", Saved(Kind.DIRECTORY), "{}", id="with a slash"),
        pytest.param(Path, Saved(Kind.DIRECTORY), "{}", id="as a Path"),
        pytest.param(lambda d: f"{d}/model", Saved(Kind.PATH, "model"), "{}/model", id="a file"),
        pytest.param(lambda d: f"{d}/a/m-", Saved(Kind.PATH, "a/m-"), "{}/a/m-", id="a prefix"),
        pytest.param("model", Saved(Kind.PATH, "model"), "{}/model", id="a relative path"),
    ],
)
def test_paths(tmp_path: Path, returned: Any, saved: Saved, handed_back: str) -> None:
    trainable = fixed(returned, "model", "a/m-1")
    assert state.save(trainable, tmp_path) == saved
    elsewhere = tmp_path / "restored"
    state.load(trainable, saved.kind, saved.relative, elsewhere)
    assert trainable.loaded == handed_back.format(elsewhere)


@pytest.mark.parametrize("returned", ["/etc/passwd", "../x", lambda d: d + "-sibling/x"])
def test_a_path_outside_is_refused(tmp_path: Path, returned: Any) -> None:
    with pytest.raises(ValueError, match="not inside"):
        state.save(fixed(returned), tmp_path)


@pytest.mark.parametrize("returned", [3, b"bytes", ["list"], True])
def test_any_other_value_is_refused(tmp_path: Path, returned: Any) -> None:
    with pytest.raises(TypeError, match="must return None, a dict, or a path"):
        state.save(fixed(returned), tmp_path)


class Color(IntEnum):
    RED = 1


CYCLE: dict[str, Any] = {}
CYCLE["self"] = [CYCLE]


@pytest.mark.parametrize(
    ("returned", "kind"),
    [
        pytest.param({}, Kind.JSON, id="empty"),
        pytest.param({"a": [1, 2.5, None, True, "x", {"b": -0.0}]}, Kind.JSON, id="json"),
        pytest.param({"n": 2**1000}, Kind.JSON, id="a long number"),
        pytest.param({"n": 2**5000}, Kind.PICKLE, id="too long a number"),
        pytest.param({"t": (1, 2)}, Kind.PICKLE, id="a tuple"),
        pytest.param({1: "int key"}, Kind.PICKLE, id="no text as key"),
        pytest.param({"x": math.nan}, Kind.PICKLE, id="not finite"),
        pytest.param({"x": np.float64(1.5)}, Kind.PICKLE, id="numpy"),
        pytest.param({"x": Color.RED}, Kind.PICKLE, id="enum"),
        pytest.param(OrderedDict(a=1), Kind.PICKLE, id="a subclass"),
        pytest.param({"b": b"bytes"}, Kind.PICKLE, id="bytes"),
        pytest.param(CYCLE, Kind.PICKLE, id="a cycle"),
    ],
)
def test_dictionaries(tmp_path: Path, returned: dict[Any, Any], kind: Kind) -> None:
    trainable = fixed(returned)
    saved = state.save(trainable, tmp_path)
    assert saved == Saved(kind)
    state.load(trainable, saved.kind, saved.relative, tmp_path)
    assert repr(trainable.loaded) == repr(returned)
    assert type(trainable.loaded) is type(returned)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
        | st.tuples(inner)
    ),
    max_leaves=12,
)


@given(JSON_LIKE)
def test_what_counts_as_exact_is_exact(value: Any) -> None:
    if state.exact(value):
        assert repr(json.loads(json.dumps(value))) == repr(value)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'tarball' is not known"):
        state.load(Fixed(), "tarball", "", tmp_path)
