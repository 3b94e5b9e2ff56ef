"""Reading a specification as the operator does, and what a user is told when it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tune_operator.api.errors import describe
from tune_operator.api.models import TuneExperimentSpec


def read(spec: Any) -> TuneExperimentSpec:
    return TuneExperimentSpec.model_validate(spec)


def refusal(spec: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(spec)
    return describe(caught.value)
