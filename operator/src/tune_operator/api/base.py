"""What every model of the object shares: strictness, camelCase, and CEL rules beside the model.

A rule is written next to the pydantic validator that says the same, because the API server checks
the first at apply time and the operator checks the second on objects that came in otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, PydanticCustomError


class Model(BaseModel):
    """Base of all models: unknown fields are refused, values are not coerced, nothing changes."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
    )


@dataclass(frozen=True)
class Rule:
    """One CEL rule. ``message`` names the remedy; ``field`` is the path the error points at.

    ``telling`` is CEL too and makes the message where values belong into it; ``message`` is what
    is shown if that fails.
    """

    rule: str
    message: str
    field: str = ""
    telling: str = ""

    def schema(self) -> JsonDict:
        """The rule as an entry of ``x-kubernetes-validations``."""
        entry: JsonDict = {"rule": self.rule, "message": self.message}
        if self.field:
            entry["fieldPath"] = self.field
        if self.telling:
            entry["messageExpression"] = self.telling
        return entry


def rules(*entries: Rule) -> JsonDict:
    """``json_schema_extra`` of a model with these CEL rules."""
    return {"x-kubernetes-validations": [entry.schema() for entry in entries]}


def immutable(name: str, *, required: bool) -> Rule:
    """Rule of the parent: field ``name`` stays as it was created.

    On an optional field a rule of its own would miss addition and removal.
    """
    same = f"self.{name} == oldSelf.{name}"
    if not required:
        same = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})"
    message = f"{name} is immutable: restore its value, or create a new TuneExperiment"
    return Rule(same, message, f".{name}")


def immutable_but(name: str, model: type[BaseModel], *mutable: str) -> list[Rule]:
    """Rules of the parent for its optional field ``name``, of whose ``model`` only some may change.

    One for each other field: whether the section is there says nothing, it may hold but these.
    """
    fields = [field.alias or key for key, field in model.model_fields.items()]
    return [_immutable_within(name, field) for field in fields if field not in mutable]


def _immutable_within(name: str, field: str) -> Rule:
    new, old = (f"has({of}.{name}) && has({of}.{name}.{field})" for of in ("self", "oldSelf"))
    path = f"{name}.{field}"
    same = f"({new}) == ({old}) && (!({new}) || self.{path} == oldSelf.{path})"
    message = f"{path} is immutable: restore its value, or create a new TuneExperiment"
    return Rule(same, message, f".{path}")


class OneOf(Model):
    """A model of which exactly one field is given, such as ``{random: {}}``.

    Every field is optional, None where it is absent.
    """

    untyped: ClassVar[frozenset[str]] = frozenset()
    """Fields, as users write them, whose type a structural schema cannot express."""

    @classmethod
    def choices(cls) -> list[str]:
        """The fields' names as users write them."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @property
    def kind(self) -> str:
        """Python name of the field that was given."""
        return next(name for name in self.model_fields_set if self._is_given(name))

    def _is_given(self, name: str) -> bool:
        return getattr(self, name) is not None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(self._is_given(name) for name in self.model_fields_set) != 1:
            raise PydanticCustomError("one_of", "{help}", {"help": self.help()})
        return self

    @classmethod
    def help(cls) -> str:
        """What to do when none or several are given."""
        return f"set exactly one of {', '.join(cls.choices())}"

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Adds the count as a CEL rule with a message.

        ``has()`` sees neither untyped fields nor lists of them. Where there are any, the rule
        covers the others and the schema's own ``oneOf`` covers all; its error, unlike that of
        ``maxProperties``, does not keep the rule from being checked. That nothing is given is left
        to ``minProperties``, because ``oneOf`` would ask for its first branch.
        """
        schema = handler.resolve_ref_schema(handler(core_schema))
        typed = [name for name in cls.choices() if name not in cls.untyped]
        given = ", ".join(f"has(self.{name})" for name in typed)
        operator = "<=" if cls.untyped else "=="
        rule = Rule(f"[{given}].filter(given, given).size() {operator} 1", cls.help())
        schema.update(rules(rule))
        if cls.untyped:
            given_one: list[Any] = [{"required": [name]} for name in cls.choices()]
            schema.update({"minProperties": 1, "oneOf": [*given_one, {"maxProperties": 0}]})
        return schema
