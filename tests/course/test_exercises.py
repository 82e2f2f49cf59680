"""The tests of the tests: wrong answers are refused with a reason, correct variants pass.

`exercises/<lab>.py` holds the answers to try: RIGHT by exercise, and WRONG with what must be said.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import greenkit.course.answers
from greenkit.course.exercises import Exercise

FOLDER = Path(__file__).parent / "exercises"


def answers_to(lab: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"exercises_{lab}", FOLDER / f"{lab}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LABS = {path.stem: answers_to(path.stem) for path in sorted(FOLDER.glob("*.py"))}
RIGHT = [
    (lab, name, answer)
    for lab, module in LABS.items()
    for name, answers in module.RIGHT.items()
    for answer in answers
]
WRONG = [
    (lab, name, answer, reason)
    for lab, module in LABS.items()
    for name, answers in module.WRONG.items()
    for answer, reason in answers
]

Verdict = Callable[[str, str, Any], tuple[bool, str]]


@pytest.fixture
def verdict(capsys: pytest.CaptureFixture[str]) -> Verdict:
    """Check an answer: whether it is right, and what is said."""

    def judge(lab: str, name: str, answer: Any) -> tuple[bool, str]:
        right = Exercise.named(lab, name).check(answer)
        return right, capsys.readouterr().out

    return judge


def test_every_lab_has_answers_to_try() -> None:
    assert set(LABS) == set(greenkit.course.answers.LABS)


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_has_four_exercises_or_more_each_with_right_and_wrong_answers(lab: str) -> None:
    registered = {name for known, name in Exercise._known if known == lab}
    assert len(registered) >= 4
    assert set(LABS[lab].RIGHT) == set(LABS[lab].WRONG) == registered
    assert all(len(answers) >= 2 for answers in LABS[lab].RIGHT.values())
    assert all(len(answers) >= 3 for answers in LABS[lab].WRONG.values())


@pytest.mark.parametrize(("lab", "name", "answer"), RIGHT)
def test_a_correct_variant_passes(lab: str, name: str, answer: Any, verdict: Verdict) -> None:
    assert verdict(lab, name, answer) == (True, f"{name}: right\n")


@pytest.mark.parametrize(("lab", "name", "answer", "reason"), WRONG)
def test_a_wrong_answer_is_refused_with_its_reason(
    lab: str, name: str, answer: Any, reason: str, verdict: Verdict
) -> None:
    right, said = verdict(lab, name, answer)
    assert not right
    assert re.search(reason, said), said


@pytest.mark.parametrize(
    ("lab", "name"), [(lab, name) for lab, module in LABS.items() for name in module.RIGHT]
)
def test_a_stub_is_not_attempted_and_does_not_fail(lab: str, name: str, verdict: Verdict) -> None:
    assert verdict(lab, name, None) == (False, f"{name}: not attempted\n")


def test_an_answer_that_raises_is_feedback_and_not_a_traceback(verdict: Verdict) -> None:
    right, said = verdict("pruning", "csr_bytes", lambda *_: 1 / 0)
    assert not right
    assert "ZeroDivisionError" in said


def test_an_unknown_exercise_names_those_that_exist() -> None:
    with pytest.raises(KeyError, match="csr_bytes"):
        Exercise.named("pruning", "no_such_exercise")
