"""Prints the CustomResourceDefinition made from the models: ``python -m tune_operator.api.crd``."""

from __future__ import annotations

import sys
from typing import Any, Final

import yaml

from tune_operator.api import constants
from tune_operator.api.base import Rule, rules
from tune_operator.api.models import TuneExperimentSpec
from tune_operator.api.schema import Schema, structural
from tune_operator.api.status import TuneExperimentStatus

_NAME: Final = Rule(
    f"size(self.metadata.name) <= {constants.MAX_NAME_LENGTH}",
    f"metadata.name may have at most {constants.MAX_NAME_LENGTH} characters: choose a shorter one",
    ".metadata",
)

_COLUMNS: Final = (
    ("State", "string", ".status.state"),
    ("Done", "string", ".status.done"),
    ("Running", "integer", ".status.counts.running"),
    ("Failures", "integer", ".status.failures"),
    ("Disruptions", "integer", ".status.disruptions"),
    ("Best", "number", ".status.best.objectiveValue"),
    ("Age", "date", ".metadata.creationTimestamp"),
)


def schema() -> Schema:
    """Schema of the whole object."""
    return {
        "description": "A hyperparameter experiment: one Pod per attempt of a trial.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(TuneExperimentSpec),
            "status": structural(TuneExperimentStatus),
        },
        **rules(_NAME),
    }


def definition() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    columns = [{"name": name, "type": kind, "jsonPath": path} for name, kind, path in _COLUMNS]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{constants.PLURAL}.{constants.GROUP}"},
        "spec": {
            "group": constants.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": constants.KIND,
                "listKind": f"{constants.KIND}List",
                "plural": constants.PLURAL,
                "singular": constants.SINGULAR,
                "shortNames": list(constants.SHORT_NAMES),
                "categories": [constants.CATEGORY],
            },
            "versions": [
                {
                    "name": constants.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


def document() -> str:
    """The definition as YAML, with a line on where it comes from."""
    head = "# Made from operator/src/tune_operator/api by `make generate`; never edit it.\n"
    return head + yaml.safe_dump(definition(), sort_keys=False, width=100, allow_unicode=True)


if __name__ == "__main__":
    sys.stdout.write(document())
