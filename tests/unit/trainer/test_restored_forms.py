"""Whatever ``save_checkpoint`` returns, ``load_checkpoint`` gets the same in the next attempt."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.trainer.attempts import Attempts
from tests.unit.trainer.process import checkpoints, record
from tests.unit.trainer.s3_server import S3Server
from tune_trainer import Trainable
from tune_trainer.protocol.keys import CheckpointRef

FILES = {"model.weights": b"1 2 3", "model.moments": b"4", "sub/more": b""}


class Form(Trainable):
    """Writes its files and returns what its class says; ``loaded`` is what came back."""

    returned: Any
    loaded: Any = None
    files: dict[str, bytes]

    def step(self) -> dict[str, Any]:
        return {"value": 1}

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if isinstance(self.returned, dict):
            return self.returned
        for name, data in FILES.items():
            path = Path(checkpoint_dir, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        return self.returned and self.returned.format(checkpoint_dir)

    def load_checkpoint(self, checkpoint: Any) -> None:
        type(self).loaded = checkpoint
        if isinstance(checkpoint, str):
            root = Path(checkpoint.removesuffix("/model").removesuffix("/sub/more"))
            type(self).files = {name: (root / name).read_bytes() for name in FILES}


class OldForm(Form):
    """The same with the older names."""

    save_checkpoint = Trainable.save_checkpoint
    load_checkpoint = Trainable.load_checkpoint
    _save = Form.save_checkpoint
    _restore = Form.load_checkpoint


@pytest.mark.parametrize("base", [Form, OldForm])
@pytest.mark.parametrize(
    ("returned", "ending"),
    [
        pytest.param(None, "", id="nothing"),
        pytest.param("{}", "", id="the directory"),
        pytest.param("{}/sub/more", "/sub/more", id="a file"),
        pytest.param("{}/model", "/model", id="a prefix"),
        pytest.param("model", "/model", id="a relative prefix"),
        pytest.param({"weights": [1, 2.5, None]}, None, id="a dictionary"),
        pytest.param({"pair": (1, 2), 3: {"deep"}}, None, id="a dictionary that is no JSON"),
        pytest.param({}, None, id="an empty dictionary"),
    ],
)
def test_a_form(
    attempts: Attempts, s3: S3Server, base: type[Form], returned: Any, ending: str | None
) -> None:
    kind: type[Form] = type("Kind", (base,), {"returned": returned})
    assert attempts.run(kind, at_end=True) == 0, record(s3).message
    assert checkpoints(s3) == [CheckpointRef(1, 10)]
    again = {"attempt": 2, "plan": (CheckpointRef(1, 10),)}
    assert attempts.run(kind, criteria={"training_iteration": 12.0}, **again) == 0
    assert record(s3, 2).iteration == 12
    if ending is None:
        assert kind.loaded == returned
    else:
        assert kind.loaded.endswith(ending)
        assert not kind.loaded.endswith(f"{ending}/")
        assert kind.files == FILES
