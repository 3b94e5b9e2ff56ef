"""The generated CRD: committed as generated, structural, bounded, described, without defaults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, Field

from tune_operator.api import crd
from tune_operator.api.base import Model
from tune_operator.api.schema import UnsupportedSchema, structural

COMMITTED = Path(__file__).parents[3] / "crds" / "tuneoperator.io_tuneexperiments.yaml"
Node = tuple[str, dict[str, Any]]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[Node]:
    """Every schema node with its path; ``[]`` are items, ``{}`` values of a map."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


SECTIONS = crd.schema()["properties"]
SPEC = list(nodes(SECTIONS["spec"], "spec"))
STATUS = list(nodes(SECTIONS["status"], "status"))


def test_the_committed_file_is_the_generated_one() -> None:
    assert COMMITTED.read_text() == crd.document(), "run `make generate` and commit the result"


def test_the_file_is_what_python_m_prints_and_reads_back_as_the_definition() -> None:
    assert yaml.safe_load(crd.document()) == crd.definition()


def test_names_and_columns() -> None:
    spec = crd.definition()["spec"]
    assert spec["names"]["shortNames"] == ["tx", "tuneexp"]
    assert spec["names"]["categories"] == ["tune"]
    (version,) = spec["versions"]
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]] == [
        "State", "Done", "Running", "Failures", "Disruptions", "Best", "Age",
    ]  # fmt: skip


def test_only_structural_keywords_remain() -> None:
    banned = {"$ref", "$defs", "title", "default", "anyOf", "allOf", "propertyNames", "const"}
    assert not [path for path, node in SPEC + STATUS if banned & node.keys()]
    assert not [path for path, node in SPEC + STATUS if node.get("additionalProperties") is False]


def test_every_field_of_spec_and_status_is_described() -> None:
    undescribed = [
        path
        for path, node in SPEC + STATUS
        if "description" not in node
        and not path.endswith(("[]", "{}"))
        and not path.startswith("spec.template.")
    ]
    assert undescribed == []


def test_every_list_map_and_string_is_bounded() -> None:
    def unbounded(node: dict[str, Any]) -> bool:
        match node.get("type"):
            case "array":
                return "maxItems" not in node
            case "string":
                return not {"maxLength", "enum", "format"} & node.keys()
            case _:
                return "additionalProperties" in node and "maxProperties" not in node

    assert [path for path, node in SPEC + STATUS if unbounded(node)] == []


def test_every_rule_has_a_message() -> None:
    rules = [
        rule for _, node in [*SPEC, ("", crd.schema())]
        for rule in node.get("x-kubernetes-validations", [])
    ]  # fmt: skip
    assert len(rules) >= 20
    assert all(len(rule["message"]) > 20 for rule in rules)


def test_of_the_checkpoint_section_only_keep_may_change() -> None:
    rules = SECTIONS["spec"]["x-kubernetes-validations"]
    of = {rule["fieldPath"] for rule in rules if rule.get("fieldPath", "").startswith(".check")}
    fields = SECTIONS["spec"]["properties"]["checkpoint"]["properties"].keys()
    assert of == {f".checkpoint.{field}" for field in fields - {"keep"}}


def test_identifiers_keep_their_capitals() -> None:
    assert "runID" in SECTIONS["status"]["properties"]
    interruption = SECTIONS["status"]["properties"]["trials"]["items"]["properties"][
        "lastInterruption"
    ]
    assert {"class", "exitCode"} <= interruption["properties"].keys()


def test_a_union_of_types_has_no_structural_schema() -> None:
    class Either(Model):
        value: int | str = Field(description="Either.")

    with pytest.raises(UnsupportedSchema, match=r"Either\.value"):
        structural(Either)


def test_nested_models_are_inlined_and_the_place_of_use_describes_them() -> None:
    class Inner(BaseModel):
        """Any inner."""

        kind: int = 3

    class Outer(BaseModel):
        first: Inner | None = Field(default=None, description="The first.")
        others: dict[str, Inner] = Field(default={}, max_length=2)

    schema = structural(Outer)
    inner = {"type": "object", "properties": {"kind": {"type": "integer"}}}
    assert schema["properties"]["first"] == {**inner, "description": "The first."}
    assert schema["properties"]["others"] == {
        "type": "object",
        "maxProperties": 2,
        "additionalProperties": {**inner, "description": "Any inner."},
    }
