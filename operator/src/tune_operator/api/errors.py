"""Validation errors as sentences: where in the object, what is wrong, what to do.

pydantic's own texts speak of Python ("Input should be a valid dictionary"); a user wrote YAML.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tune_operator.api.models import TuneExperimentSpec
from tune_operator.api.scalars import PATTERN_HINTS

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_ERRORS: Final = 10
_MAX_SHOWN: Final = 40

_TEXTS: Final = {
    "missing": "is required",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "dict_type": "must be a map",
    "model_type": "must be a map of fields",
    "list_type": "must be a list",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
}
"""What is wrong, by pydantic's type of the error; its context fills the braces."""

_SHOW_INPUT: Final = {
    *_TEXTS, "string_pattern_mismatch", "number", "finite", "integer", "positive", "quantity"
}  # fmt: skip
"""Errors about one value, as opposed to those about two fields, whose messages say it all."""


def describe(
    error: ValidationError, *, model: type[BaseModel] = TuneExperimentSpec, at: str = "spec"
) -> str:
    """All errors in one line: ``spec.search.space.lr.loguniform.lower: must be > 0; ...``.

    ``model`` is the one that was validated and ``at`` its place in the object.
    """
    details = error.errors(include_url=False)
    lines = [
        f"{path(detail['loc'], at)}: {_sentence(detail, model)}" for detail in details[:_MAX_ERRORS]
    ]
    if len(details) > _MAX_ERRORS:
        lines.append(f"and {len(details) - _MAX_ERRORS} more")
    return "; ".join(lines)


def path(location: Sequence[str | int], at: str) -> str:
    """A place in the object as ``kubectl`` writes it: ``spec.trainer.env[0].name``."""
    result = at
    for step in location:
        if isinstance(step, int) or not _PLAIN_KEY.fullmatch(step):
            result += f"[{step}]"
        else:
            result += f".{step}" if result else step
    return result


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, location = detail["type"], detail["loc"]
    if kind == "extra_forbidden":
        return _unknown(str(location[-1]), model, location[:-1])
    context = detail.get("ctx", {})
    if kind == "string_pattern_mismatch":
        text = f"must be {PATTERN_HINTS.get(context['pattern'], context['pattern'])}"
    elif kind in _TEXTS:
        text = _TEXTS[kind].format(**context)
    else:
        text = detail["msg"]
    if kind == "missing":
        return text + _help(model, location)
    return text + (_given(detail["input"]) if kind in _SHOW_INPUT else "")


def _given(value: Any) -> str:
    """The value itself where it is short; never a map or list, which may be large."""
    if value is None or isinstance(value, str | int | float):
        shown = repr(value) if isinstance(value, str) else str(value)
        return f", not {shown}" if len(shown) <= _MAX_SHOWN else ""
    return ""


def _help(model: type[BaseModel], location: Sequence[str | int]) -> str:
    """What a missing field is for."""
    parent = _model_at(model, location[:-1])
    for name, field in parent.model_fields.items() if parent else ():
        if location[-1] in (name, field.alias) and field.description:
            return f" ({field.description.rstrip('.')})"
    return ""


def _unknown(name: str, model: type[BaseModel], location: Sequence[str | int]) -> str:
    parent = _model_at(model, location)
    known = _aliases(parent) if parent else []
    if elsewhere := list(_places(model, name)):
        return f"unknown field; it belongs to {' or '.join(elsewhere)}"
    if close := difflib.get_close_matches(name, known, n=1):
        return f"unknown field; did you mean {close[0]}?"
    return f"unknown field; known here: {', '.join(known)}" if known else "unknown field; remove it"


def _aliases(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _places(model: type[BaseModel], name: str, at: str = "spec") -> Iterator[str]:
    """Sections outside of maps and lists that have a field of this name."""
    if name in _aliases(model):
        yield at
    for key, field in model.model_fields.items():
        for child in _branches(field.annotation):
            if isinstance(child, type) and issubclass(child, BaseModel):
                yield from _places(child, name, f"{at}.{field.alias or key}")


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    """The model whose fields stand at ``location``; None where there is none."""
    annotation: Any = model
    for step in location:
        annotation = _descend(annotation, step)
    models = [branch for branch in _branches(annotation) if isinstance(branch, type)]
    return next((branch for branch in models if issubclass(branch, BaseModel)), None)


def _descend(annotation: Any, step: str | int) -> Any:
    for branch in _branches(annotation):
        if isinstance(branch, type) and issubclass(branch, BaseModel):
            for name, field in branch.model_fields.items():
                if step in (name, field.alias):
                    return field.annotation
        elif typing.get_origin(branch) in (dict, list):
            return typing.get_args(branch)[-1]
    return None


def _branches(annotation: Any) -> list[Any]:
    """The types of a union, without Annotated around any of them."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _branches(typing.get_args(annotation)[0])
    if origin in (types.UnionType, typing.Union):
        return [branch for part in typing.get_args(annotation) for branch in _branches(part)]
    return [annotation]
