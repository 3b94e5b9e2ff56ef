"""What runs a trial: the short form ``trainer`` or a whole Pod ``template``.

A template stays raw; a dry-run create of the Pod validates it. Only what would break the operator's
own promises is checked here.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from tune_operator.api.base import Model, Rule, rules
from tune_operator.api.constants import GROUP, TRAINER_CONTAINER
from tune_operator.api.scalars import (
    ENTRYPOINT_PATTERN,
    UNTYPED,
    VARIABLE_PATTERN,
    ObjectName,
    Quantity,
    Raw,
)

_RESERVED: Final = "TUNE_"
_RESERVED_HELP: Final = f"names that start with {_RESERVED} are set by the operator: rename it"
_VALUE_HELP: Final = "set value or valueFrom, not both"

Quantities = Annotated[dict[str, Quantity], Field(max_length=32)]


class Resources(Model):
    """Resources of the container ``trainer``, as in a Pod."""

    requests: Quantities | None = Field(
        default=None, description="Resources the scheduler reserves, such as {cpu: 500m}."
    )
    limits: Quantities | None = Field(
        default=None, description="Resources the container may not exceed."
    )


class EnvVar(
    Model,
    json_schema_extra=rules(
        Rule(f"!self.name.startsWith('{_RESERVED}')", _RESERVED_HELP, ".name"),
        Rule("!(has(self.value) && has(self.valueFrom))", _VALUE_HELP, ".value"),
    ),
):
    """An environment variable, as in a Pod."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=VARIABLE_PATTERN)] = Field(
        description="Name of the variable; TUNE_ is reserved."
    )
    value: Annotated[str, Field(max_length=32768)] | None = Field(
        default=None, description="Its value."
    )
    value_from: Raw | None = Field(
        default=None, description="Where its value comes from, such as secretKeyRef."
    )

    @model_validator(mode="after")
    def _allowed(self) -> EnvVar:
        if self.name.startswith(_RESERVED):
            raise PydanticCustomError("reserved", "{help}", {"help": _RESERVED_HELP})
        if self.value is not None and self.value_from is not None:
            raise PydanticCustomError("one_of", "{help}", {"help": _VALUE_HELP})
        return self


def _distinct_names(env: list[EnvVar]) -> list[EnvVar]:
    names = [variable.name for variable in env]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PydanticCustomError(
            "duplicate", "{name} is set twice: remove one", {"name": repr(twice)}
        )
    return env


class Trainer(Model):
    """A trainer image of ours, or made from it, and the code it runs."""

    image: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="Container image with the SDK tune_trainer."
    )
    entrypoint: Annotated[str, Field(max_length=253, pattern=ENTRYPOINT_PATTERN)] = Field(
        description="What to train, module:name: a Trainable class or a function train(config)."
    )
    source_config_map: ObjectName | None = Field(
        default=None,
        description="ConfigMap with Python files, mounted at /workspace and on PYTHONPATH.",
    )
    resources: Resources | None = Field(
        default=None, description="Resources of the container, as in a Pod."
    )
    env: Annotated[
        list[EnvVar],
        Field(
            max_length=100,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
        AfterValidator(_distinct_names),
    ] = Field(default=[], description="More environment variables, as in a Pod.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When to pull the image, as in a Pod."
    )


_NO_TRAINER: Final = (
    f"spec.containers needs a container named {TRAINER_CONTAINER}, which runs the trial: "
    "rename or add it"
)
_RESTARTS: Final = (
    f"container {TRAINER_CONTAINER} must not set restartPolicy: the operator starts each attempt "
    "in a new Pod; remove it"
)
_POD_RESTARTS: Final = "spec.restartPolicy must be Never or absent: the operator restarts trials"
_OURS: Final = f"labels and finalizers of {GROUP} are set by the operator: remove them"
_IDENTITY: Final = ("name", "generateName", "namespace", "ownerReferences")
_NOT_ITS_OWN: Final = (
    f"{', '.join(_IDENTITY[:-1])} and {_IDENTITY[-1]} of metadata are set by the operator for the "
    "Pod of each attempt: remove them"
)


def _list(parent: Any, key: str) -> list[Any]:
    value = parent.get(key) if isinstance(parent, dict) else None
    return value if isinstance(value, list) else []


def _fit_for_trials(template: dict[str, Any]) -> dict[str, Any]:
    """What the API server's dry run would let pass but the operator cannot work with."""
    spec = template.get("spec")
    metadata = template.get("metadata")
    trainers = [
        container
        for container in _list(spec, "containers")
        if isinstance(container, dict) and container.get("name") == TRAINER_CONTAINER
    ]
    if not isinstance(spec, dict) or not trainers:
        raise PydanticCustomError("template", "{help}", {"help": _NO_TRAINER})
    if any("restartPolicy" in container for container in trainers):
        raise PydanticCustomError("template", "{help}", {"help": _RESTARTS})
    if spec.get("restartPolicy", "Never") != "Never":
        raise PydanticCustomError("template", "{help}", {"help": _POD_RESTARTS})
    if isinstance(metadata, dict) and any(key in metadata for key in _IDENTITY):
        raise PydanticCustomError("template", "{help}", {"help": _NOT_ITS_OWN})
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    ours = [*(labels if isinstance(labels, dict) else ()), *_list(metadata, "finalizers")]
    if any(str(name).startswith(f"{GROUP}/") for name in ours):
        raise PydanticCustomError("template", "{help}", {"help": _OURS})
    return template


_IS_OURS: Final = f"{{}}.startsWith('{GROUP}/')"

_TEMPLATE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    UNTYPED: True,
    "required": ["spec"],
    "properties": {
        "metadata": {
            "type": "object",
            UNTYPED: True,
            "properties": {
                "labels": {
                    "type": "object",
                    "maxProperties": 100,
                    "additionalProperties": {"type": "string", "maxLength": 63},
                },
                "finalizers": {
                    "type": "array",
                    "maxItems": 20,
                    "items": {"type": "string", "maxLength": 316},
                },
                "name": {"type": "string", "maxLength": 253},
                "generateName": {"type": "string", "maxLength": 253},
                "namespace": {"type": "string", "maxLength": 63},
                "ownerReferences": {
                    "type": "array",
                    "maxItems": 20,
                    "items": {"type": "object", UNTYPED: True},
                },
            },
            **rules(
                Rule(
                    f"(!has(self.labels) || !self.labels.exists(key, {_IS_OURS.format('key')})) && "
                    "(!has(self.finalizers) || "
                    f"!self.finalizers.exists(name, {_IS_OURS.format('name')}))",
                    _OURS,
                ),
                Rule(" && ".join(f"!has(self.{key})" for key in _IDENTITY), _NOT_ITS_OWN),
            ),
        },
        "spec": {
            "type": "object",
            UNTYPED: True,
            "properties": {
                "restartPolicy": {"type": "string", "maxLength": 32},
                "containers": {
                    "type": "array",
                    "maxItems": 64,
                    "items": {
                        "type": "object",
                        UNTYPED: True,
                        "properties": {
                            "name": {"type": "string", "maxLength": 63},
                            "restartPolicy": {"type": "string", "maxLength": 32},
                        },
                    },
                },
            },
        },
    },
    **rules(
        Rule(
            "has(self.spec.containers) && self.spec.containers.exists(c, "
            f"has(c.name) && c.name == '{TRAINER_CONTAINER}')",
            _NO_TRAINER,
            ".spec",
        ),
        Rule(
            "!has(self.spec.containers) || self.spec.containers.all(c, "
            f"!has(c.name) || c.name != '{TRAINER_CONTAINER}' || !has(c.restartPolicy))",
            _RESTARTS,
            ".spec",
        ),
        Rule(
            "!has(self.spec.restartPolicy) || self.spec.restartPolicy == 'Never'",
            _POD_RESTARTS,
            ".spec",
        ),
    ),
}

Template = Annotated[
    dict[str, Any], AfterValidator(_fit_for_trials), WithJsonSchema(_TEMPLATE_SCHEMA)
]
"""A raw Pod template."""
