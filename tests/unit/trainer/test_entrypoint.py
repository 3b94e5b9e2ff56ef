"""Entry points that are none: told before training starts, with the mistake's name."""

import sys
import textwrap
from pathlib import Path

import pytest

from tune_trainer import entrypoint
from tune_trainer.errors import AttemptFailed, Unusable
from tune_trainer.failure import cut, describe, during


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is importable as user_module."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "user_module", raising=False)
    return tmp_path / "user_module.py"


def test_a_trainable_is_found(module: Path) -> None:
    module.write_text("from tune_trainer import Trainable\nclass Mine(Trainable): pass\n")
    assert entrypoint.load("user_module:Mine").__name__ == "Mine"


@pytest.mark.parametrize(
    "source",
    [
        "def mine(config): pass",
        "def mine(config, seed=7): pass",
        "def mine(*args): pass",
        "mine = lambda config: None",
        "class Mine:\n    def __call__(self, config): pass\nmine = Mine()",
        "import functools\ndef f(a, config): pass\nmine = functools.partial(f, 3)",
    ],
)
def test_a_function_of_the_configuration_is_found(module: Path, source: str) -> None:
    module.write_text(source)
    found = entrypoint.load("user_module:mine")
    assert found.can_save()
    assert found.can_load()


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("user_module", "", "expected module:name"),
        ("user_module:", "", "expected module:name"),
        (":Mine", "", "expected module:name"),
        ("no_such_module:Mine", "", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("user_module:Mine", "", "has no attribute 'Mine'"),
        ("user_module:Mine", "Mine = 3", "is a int, expected a subclass"),
        ("user_module:Mine", "class Mine: pass", "is a class, expected a subclass"),
        ("user_module:mine", "def mine(): pass", "as its one argument, train(config): too many"),
        ("user_module:mine", "def mine(a, b): pass", "missing a required argument: 'b'"),
        ("user_module:mine", "async def mine(config): pass", "is async"),
        ("user_module:mine", "async def mine(config): yield", "is async"),
        ("user_module:mine", "mine = dict.update", "as its one argument"),
        ("user_module:Mine", "import no_such_library", "No module named 'no_such_library'"),
        ("user_module:Mine", "x = (", "SyntaxError"),
        ("user_module:Mine", "raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_mistakes_are_named(module: Path, name: str, source: str, message: str) -> None:
    module.write_text(source)
    with pytest.raises(AttemptFailed) as caught:
        entrypoint.load(name)
    assert caught.value.reason == "EntrypointError"
    assert caught.value.message.startswith(f"entry point {name!r}: ")
    assert message in caught.value.message


def test_a_failure_names_type_text_and_the_last_frames(module: Path) -> None:
    module.write_text(
        textwrap.dedent("""
            def outer():
                inner()
            def inner():
                raise ValueError("the text")
        """)
    )
    import user_module  # type: ignore[import-not-found]

    with pytest.raises(ValueError, match="the text") as caught:
        user_module.outer()
    first, *frames = describe(caught.value).splitlines()
    assert first == "ValueError: the text"
    assert frames[-2:] == [f"  {module}:3 in outer", f"  {module}:5 in inner"]


def test_a_failure_deep_in_a_library_names_the_call() -> None:
    def down(level: int) -> None:
        if level == 0:
            error = ValueError("ä" * 5000)
            error.add_note("a note of the library's own")
            raise error
        down(level - 1)

    with (
        pytest.raises(ValueError, match="ä") as caught,
        during("step()", "00003", 7),
        during("save_checkpoint()", "00003", 6),
    ):
        down(20)
    first, own, call, *_ = describe(caught.value).splitlines()
    assert first.startswith("ValueError: ää")
    assert own == "a note of the library's own"
    assert call == "in save_checkpoint() of trial 00003, iteration 6", "the innermost"


def test_an_error_of_ours_is_not_the_call_s() -> None:
    with pytest.raises(Unusable) as caught, during("step()", "00003", 7):
        raise Unusable("the store")
    assert describe(caught.value).startswith("tune_trainer.errors.Unusable: the store\n  ")


def test_a_message_fits_its_field() -> None:
    error = ValueError("ä" * 5000)
    text = describe(error)
    assert len(text.encode()) <= 1024
    assert text.startswith("ValueError: ää")
    assert len(cut("ß" * 999, 100).encode()) <= 100
    assert cut("short") == "short"
