"""What the tests of exercises share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from greenkit.course.exercises import Exercise


@pytest.fixture
def verdict(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, Any], tuple[bool, str]]:
    """Check an answer to an exercise of the module's LAB: whether it is right, and what is said."""

    def judge(name: str, answer: Any) -> tuple[bool, str]:
        right = Exercise.named(request.module.LAB, name).check(answer)
        return right, capsys.readouterr().out

    return judge
