"""Programs of other libraries in double precision; in single precision with the slow tests."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(params=["float64", pytest.param("float32", marks=pytest.mark.slow)])
def real(request: pytest.FixtureRequest) -> Any:
    """Each precision in turn."""
    return request.getfixturevalue(request.param)
