"""Naive programs, right where JAX is nan, infinite, zero or wrong."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import traps
from together import attempt, compiled_together
from traps import Trap
from traps.failing import FAILING
from traps.truth import truth
from traps.variants import VARIANTS, expected, question

MACHINERY = {"failing", "truth", "variants"}
FAMILIES = sorted(m.name for m in pkgutil.iter_modules(traps.__path__) if m.name not in MACHINERY)

TOLERANCE = {"float32": 1e-4, "float64": 1e-11, "bfloat16": 0.06}
"""Relative; single precision as in other collections of such programs."""


def family(name: str) -> tuple[Trap, ...]:
    return importlib.import_module(f"traps.{name}").TRAPS


def chosen(trap: Trap, precision: str, everything: bool) -> list[str]:
    """All variants, or as written and one more that depends only on the trap and precision."""
    others = list(VARIANTS)[1:]
    if everything:
        return ["as written", *others]
    if precision != "float32":
        return ["as written"]
    draws = np.random.default_rng(zlib.crc32(trap.name.encode()))
    return ["as written", *draws.choice(others, 2, replace=False)[:1]]


@functools.cache
def results(name: str, precision: str, everything: bool) -> dict[str, dict[str, Any]]:
    """What symgrad finds for every trap of a family and variant, in one compilation."""
    members = [t for t in family(name) if precision in t.precisions]
    with jax.enable_x64(precision == "float64"):
        dtype = jnp.dtype(precision)
        asked = {
            (t, v): attempt(functools.partial(question, t, v, dtype))
            for t in members
            for v in chosen(t, precision, everything)
        }
        errors = {k: q for k, q in asked.items() if isinstance(q, Exception)}
        good = {k: q for k, q in asked.items() if k not in errors}

        def account(operands: list[Any]) -> list[Any]:
            return [
                attempt(functools.partial(compute, *given))
                for (compute, _, _), given in zip(good.values(), operands, strict=True)
            ]

        found = compiled_together(account, [operands for _, operands, _ in good.values()])
    values = {k: (f, q[2]) for (k, q), f in zip(good.items(), found, strict=True)}
    return {
        str(t): {v: values.get((u, v), errors.get((u, v))) for u, v in asked if u is t}
        for t in members
    }


@functools.cache
def answer(trap: Trap, precision: str) -> np.ndarray:
    return truth(trap, jnp.dtype(precision))


def complaint(trap: Trap, precision: str, variant: str, result: Any) -> str:
    """What is wrong with a result; nothing if it is right."""
    if isinstance(result, Exception):
        return f"{variant}: {type(result).__name__}: {str(result)[:200]}"
    if isinstance(result[0], Exception):
        return complaint(trap, precision, variant, result[0])
    found, factor = result
    dtype = jnp.dtype(precision)
    want, size = expected(trap, variant, answer(trap, precision), dtype)
    if (found.dtype, found.shape) != (dtype, np.shape(want)):
        return f"{variant}: {found.dtype}{list(found.shape)} instead of {list(np.shape(want))}"
    got = np.asarray(found).astype(np.float64) / factor
    allowed = trap.units * TOLERANCE[precision] * (np.abs(want) + 0.01 * size)
    if np.ndim(want) == 0:
        allowed = trap.units * TOLERANCE[precision] * size
    error = np.abs(got - want)
    if np.all(error <= allowed + float(jnp.finfo(dtype).tiny)):
        return ""
    return f"{variant}: {got.tolist()} instead of {want.tolist()}"


def reason(name: str, trap: Trap, precision: str, variant: str) -> str:
    """Why a result is expected to be wrong, nothing if it is not."""
    key = f"{name}/{trap}"
    narrower = (f"{key}[{precision}: {variant}]", f"{key}[{variant}]", f"{key}[{precision}]", key)
    return next((FAILING[k] for k in narrower if k in FAILING), "")


def cases() -> list[Any]:
    """One parameter for each trap and precision."""
    return [
        pytest.param(name, trap, precision, id=f"{name}/{trap}-{precision}")
        for name in FAMILIES
        for trap in family(name)
        for precision in trap.precisions
    ]


def check(name: str, trap: Trap, precision: str, everything: bool) -> None:
    """Nothing fails that is not expected to, and where everything is run, all that is does."""
    found = results(name, precision, everything)[str(trap)]
    complaints = {v: complaint(trap, precision, v, r) for v, r in found.items()}
    reasons = {v: reason(name, trap, precision, v) for v in found}
    new = [c for v, c in complaints.items() if c and not reasons[v]]
    assert not new, "\n".join(new)
    passed = [v for v, c in complaints.items() if everything and reasons[v] and not c]
    assert not passed, f"right now, take it out of failing.py: {', '.join(passed)}"
    known = next((r for r in reasons.values() if r), "")
    if known:
        pytest.xfail(known)


@pytest.mark.parametrize(("name", "trap", "precision"), cases())
def test_traps(name, trap, precision):
    check(name, trap, precision, everything=False)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "trap", "precision"), cases())
def test_traps_in_every_variant(name, trap, precision):
    check(name, trap, precision, everything=True)


def test_failures_that_are_expected_exist():
    known = {f"{name}/{trap}" for name in FAMILIES for trap in family(name)}
    assert {key.split("[")[0] for key in FAILING} <= known
