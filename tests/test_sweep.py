"""Every primitive of JAX against JAX: value, both modes, both ways to second order, batched.

Per commit, each case runs in its usual dtype and shape, and one other combination to first
order; all combinations run with the slow tests. What is computed on the way makes the table
of docs/support.md, which must be up to date.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from primitives import CASES, ENTRYWISE, NOT_YET, UNREACHED, Case, Variant
from sweep import PAGE, by_primitive, equations, page, parts, row, sweep
from together import Jax, Problem, attempt, compiled_together, generator

import symgrad as sg

GROUPS = by_primitive(CASES)
NAMES = sorted(GROUPS)
USUAL = {name: [case.variants()[0] for case in cases] for name, cases in GROUPS.items()}
OTHERS = {
    name: [v for case in cases for v in case.variants()[1:]] for name, cases in GROUPS.items()
}


def test_every_primitive_of_jax_is_swept_or_out_of_reach():
    """In a process of its own, because packages and other tests define primitives too."""
    code = "import primitives; print(*primitives.known())"
    here = Path(__file__).parent
    known = subprocess.check_output([sys.executable, "-c", code], cwd=here, text=True).split()
    assert set(known) - GROUPS.keys() == UNREACHED.keys()


def test_cases_contain_their_primitive(subtests):
    for name, variants in USUAL.items():
        for variant in variants:
            with subtests.test(case=str(variant.case)), jax.enable_x64(variant.wide):
                args = variant.draw(generator(variant))
                found = equations(jax.make_jaxpr(variant.case.fun)(*args).jaxpr)
                assert name in {e.primitive.name for e in found}


def check(swept, name, subtests):
    """All outcomes of a primitive are right; of one that is not read yet, some are not."""
    outcomes = {
        (v, what): o
        for v, account in swept.items()
        if v.case.primitive == name
        for what, o in account.items()
    }
    if name in NOT_YET:
        with subtests.test(primitive=name), pytest.raises(Exception):  # noqa: B017
            for outcome in outcomes.values():
                outcome.check()
        return
    for (variant, what), outcome in outcomes.items():
        with subtests.test(variant=str(variant), what=what):
            outcome.check()


@pytest.mark.parametrize("names", parts(NAMES), ids=lambda names: f"{names[0]} to {names[-1]}")
def test_all_transformations(names, subtests):
    swept = sweep([v for name in names for v in USUAL[name]])
    lines = PAGE.read_text().splitlines()
    for name in names:
        check(swept, name, subtests)
        with subtests.test(row=name):
            found = row({v: o for v, o in swept.items() if v.case.primitive == name})
            assert f"| {' | '.join(found)} |" in lines, "docs/support.md is old: make support"


def one_of(variants: list[Variant], name: str) -> list[Variant]:
    """The same one on each run."""
    return [variants[generator(name).integers(len(variants))]] if variants else []


@pytest.mark.parametrize("names", parts(NAMES, 80), ids=lambda names: f"{names[0]} to {names[-1]}")
def test_first_order_in_another_dtype(names, subtests):
    names = [name for name in names if name not in NOT_YET]
    swept = sweep([v for name in names for v in one_of(OTHERS[name], name)], first_order=True)
    for name in names:
        check(swept, name, subtests)


@pytest.mark.slow
@pytest.mark.parametrize("names", parts(NAMES, 10), ids=lambda names: f"{names[0]} to {names[-1]}")
def test_all_transformations_in_all_dtypes_and_shapes(names, subtests):
    names = [name for name in names if name not in NOT_YET]
    swept = sweep([v for name in names for v in OTHERS[name]])
    for name in names:
        check(swept, name, subtests)


LIMITS = np.array([0, -0.0, 1, -1, 0.5, 2, -3, 20, 1e30, -1e-30, np.inf, -np.inf, np.nan])
ENDLESS = {"igamma", "igammac", "igamma_grad_a"}
"""At infinity JAX does not come back from these."""


def at_limits(case: Case) -> Problem | None:
    """A case where functions have poles, kinks and jumps; all pairs if it has two operands."""
    if "float64" not in case.dtypes or any(o.dtype is not None for o in case.operands):
        return None
    grids = np.meshgrid(*[LIMITS] * len(case.operands))
    problem = Problem(case.fun, tuple(g.ravel() for g in grids), generator(case))
    problem.dots = tuple(np.full_like(a, 0.3**i) for i, a in enumerate(problem.args))
    problem.bars = jax.tree.map(np.ones_like, problem.bars)
    return problem if problem.smooth else None


def test_never_worse_at_limits(float64, subtests):
    """Infinities, zeros and ties: where the value and JAX's derivative are numbers, so is ours."""
    cases = {str(c): at_limits(c) for c in ENTRYWISE if c.primitive not in NOT_YET | ENDLESS}
    problems = {name: p for name, p in cases.items() if p is not None}

    def everything(operands):
        return [
            [{what: attempt(f) for what, f in p.account(by, *args).items()} for by in (sg, Jax)]
            for p, args in zip(problems.values(), operands, strict=True)
        ]

    found = compiled_together(everything, [p.args for p in problems.values()])
    for name, (ours, theirs) in zip(problems, found, strict=True):
        for what, wanted in theirs.items():
            if isinstance(wanted, Exception):
                continue
            with subtests.test(case=name, what=what):
                undefined = np.isnan(theirs["value"])
                pairs = zip(jax.tree.leaves(ours[what]), jax.tree.leaves(wanted), strict=True)
                for got, want in pairs:
                    known = ~(np.isnan(want) | undefined)
                    np.testing.assert_allclose(got[known], want[known], rtol=1e-10, atol=1e-12)


def test_the_page_lists_every_primitive_once():
    names = [line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert names == [*NAMES, *sorted(UNREACHED)]


def test_the_page_is_as_it_is_made():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    made = [line.strip("| ").split(" | ") for line in rows[: len(NAMES)]]
    assert page(made) == PAGE.read_text()
