"""The command line of ``--local``, with every mistake named before anything is made."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tune_trainer.protocol import fields


class Wrong(Exception):
    """The command cannot be carried out as it was given."""


@dataclass(frozen=True)
class Command:
    """What was asked for; None where nothing was said."""

    entrypoint: str
    storage: Path
    resume: bool
    config: Mapping[str, Any] | None
    criteria: Mapping[str, float] | None
    frequency: int | None
    max_lost_seconds: int | None
    at_end: bool | None
    metric: str | None
    mode: str | None


def parse(arguments: Sequence[str]) -> Command:
    """Raises Wrong; ends the process for ``--help`` and for what is no option."""
    given = _parser().parse_args(arguments)
    return Command(
        entrypoint=given.entrypoint,
        storage=Path(given.storage).expanduser(),
        resume=given.resume,
        config=None if given.config is None else read_config(given.config),
        criteria=dict(map(_criterion, given.stop)) if given.stop else None,
        frequency=given.checkpoint_frequency,
        max_lost_seconds=given.max_lost_seconds,
        at_end=given.checkpoint_at_end,
        metric=given.metric,
        mode=given.mode,
    )


def read_config(text: str) -> dict[str, Any]:
    """A configuration given as JSON, or as the name of a JSON or YAML file; raises Wrong."""
    config = _json(text, "--config") if text.lstrip().startswith("{") else _file(Path(text))
    if not isinstance(config, dict):
        raise Wrong(f"--config: expected an object of parameters, not {type(config).__name__}")
    try:
        fields.dump(config)
    except (TypeError, ValueError) as error:
        raise Wrong(f"--config: {error}: parameters have JSON types") from None
    return config


def _file(path: Path) -> Any:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"--config: neither JSON ({{...}}) nor a file: {error}") from None
    if path.suffix not in {".yaml", ".yml"}:
        return _json(text, f"--config {path}")
    try:
        import yaml
    except ModuleNotFoundError:
        raise Wrong(f"--config {path}: YAML needs PyYAML (pip install pyyaml)") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Wrong(f"--config {path}: {error}") from None


def _json(text: str, what: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise Wrong(f"{what}: {constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{what}: no JSON: {error}") from None


def _criterion(text: str) -> tuple[str, float]:
    key, _, bound = text.rpartition("=")
    try:
        if not key:
            raise ValueError
        number = float(bound)
        fields.dump({"bound": number})
    except ValueError:
        raise Wrong(f"--stop {text}: expected KEY=NUMBER, as training_iteration=10") from None
    return key, number


def _whole(text: str) -> int:
    number = int(text)
    if not 0 <= number <= fields.LARGEST:
        raise argparse.ArgumentTypeError(f"must be between 0 and {fields.LARGEST}")
    return number


_whole.__name__ = "number"  # argparse says "invalid number value"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tune_trainer --local",
        description="Run one trial here, with a folder in place of the object store.",
    )
    parser.add_argument("entrypoint", help="what to train: module:name")
    parser.add_argument("--config", metavar="JSON|FILE", help="parameters; default none")
    parser.add_argument(
        "--storage", default="tune-local", metavar="DIR",
        help="where checkpoints and results go; default ./tune-local",
    )  # fmt: skip
    parser.add_argument(
        "--stop", action="append", metavar="KEY=NUMBER",
        help="end at the first result with this value or more; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint-frequency", type=_whole, metavar="N", help="iterations; default 0, off"
    )
    parser.add_argument(
        "--max-lost-seconds", type=_whole, metavar="S",
        help="save so often that at most about S seconds of training are lost; default 0, off",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint-at-end", action=argparse.BooleanOptionalAction, help="save at the end too"
    )
    parser.add_argument("--metric", metavar="KEY", help="the objective: a key of a result")
    parser.add_argument("--mode", choices=["min", "max"], help="whether lower is better")
    parser.add_argument(
        "--resume", action="store_true",
        help="go on from the newest valid checkpoint of this entry point in the folder; "
        "the configuration and whatever is not given are those it began with",
    )  # fmt: skip
    return parser
