"""No rule is in a phase that was not verified, and what `sg.rules` says of it is true."""

from __future__ import annotations

import numpy as np
import pytest
from test_every_rule import PROGRAMS
from verification import PAGE, TABLE, WrongLaw, check_program, check_values, page, table, verify

import symgrad as sg
from symgrad.laws import algebra, book
from symgrad.ops.pointwise import exp, log, logistic, maximum, sqrt, square
from symgrad.pattern import equation
from symgrad.verified import VERIFIED


@pytest.mark.parametrize("rule", sg.rules, ids=str)
def test_rules_are_verified(rule):
    found = verify(rule)
    assert found, "no check applies to it"
    assert rule.verified == found, "symgrad/verified.py is old: make rules"


def test_no_rule_is_in_a_phase_unverified():
    used = {r for phase in (*book.DEFAULT_LIFT, *book.DEFAULT_SIMPLIFY) for r in phase}
    assert used <= set(sg.rules)
    assert [r for r in used if not r.verified] == []
    assert set(VERIFIED) == {r.name for r in sg.rules}
    assert len({r.name for r in sg.rules}) == len(sg.rules)


def test_what_is_written_of_rules_is_new():
    for file, text in ((PAGE, page(VERIFIED)), (TABLE, table(VERIFIED))):
        assert file.read_text() == text, f"{file.name} is old: make rules"


WRONG = {
    "domain": equation(exact=False)(lambda x: (sqrt(square(x)), x)),
    "sign": equation(exact=False)(lambda x, y: (x - y, y - x)),
    "overflow": equation(exact=False)(lambda x: (logistic(x), exp(x) / (1 + exp(x)))),
    "rounding": equation(exact=False)(lambda x: (exp(x) - 1, (exp(x) + 1e6) - 1000001)),
    "shrinking domain": equation(exact=False)(lambda x, y: (log(x * y), log(x) + log(y))),
    "nearly": equation(exact=False)(lambda x: (maximum(x, 1), maximum(x, 1.0000001))),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_laws_are_found(name, float64):
    with pytest.raises(WrongLaw):
        check_values(WRONG[name], np.float32)


def test_a_law_must_fire_in_its_program(float64):
    program = next(p for p in PROGRAMS if p.rule is algebra.sum_of_equals)
    assert check_program(algebra.sum_of_equals, program.graph(), program.args())
    assert not check_program(algebra.double_negation, program.graph(), program.args())
