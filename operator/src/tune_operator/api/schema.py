"""From a pydantic model to a structural schema, the dialect of OpenAPI v3 that CRDs speak.

It knows no references, no ``additionalProperties: false`` (the API server prunes instead), no
numeric exclusive bounds, no ``const`` and no null type. Defaults stay out of the CRD: the models
apply them, so that the stored object is what the user wrote and re-applying it changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

Schema = dict[str, Any]

_DROPPED: Final = {"$defs", "$ref", "title", "default", "propertyNames", "anyOf", "const"}
_ORDER: Final = ("description", "type")


class UnsupportedSchema(Exception):
    """A model uses something a structural schema cannot say. ``args[0]`` names the place."""


class _Generator(GenerateJsonSchema):
    """Any and JsonValue become fields the API server leaves alone."""

    def any_schema(self, schema: core_schema.AnySchema) -> Schema:  # noqa: ARG002
        return {"x-kubernetes-preserve-unknown-fields": True}


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of ``model``; raises UnsupportedSchema."""
    document = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return _convert(document, document.get("$defs", {}), model.__name__)


def _convert(node: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    node = _inline(node, definitions, path)
    result = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in node:
        result["enum"] = [node["const"]]
    if properties := result.pop("properties", None):
        result["properties"] = {
            name: _convert(child, definitions, f"{path}.{name}")
            for name, child in properties.items()
        }
    if isinstance(node.get("items"), dict):
        result["items"] = _convert(node["items"], definitions, f"{path}[]")
    values = result.pop("additionalProperties", False)
    if isinstance(values, dict):
        result["additionalProperties"] = _convert(values, definitions, f"{path}{{}}")
    elif values is True:
        result["x-kubernetes-preserve-unknown-fields"] = True
    return {key: result[key] for key in sorted(result, key=_rank)}


def _inline(node: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    """Resolve references and optional types; what is said at the place of use wins."""
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            target = definitions[node["$ref"].rpartition("/")[2]]
        else:
            branches = [branch for branch in node["anyOf"] if branch != {"type": "null"}]
            if len(branches) != 1:
                raise UnsupportedSchema(f"{path}: a union of types has no structural schema")
            target = branches[0]
        here = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
        node = {**target, **here}
    return node


def _rank(key: str) -> tuple[int, str]:
    return (_ORDER.index(key) if key in _ORDER else len(_ORDER), key)
