"""Values to any number of digits: those of JAX where double precision has them, and beyond."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
from jax import lax
from together import compiled_together, generator

import symgrad as sg
from symgrad.errors import NoExactValueError
from symgrad.exact import VALUES, context, evaluate, value_of
from symgrad.ops import calls, pointwise, special

BITWISE = {
    *(pointwise.nextafter, pointwise.mulhi, pointwise.clz),
    *(pointwise.population_count, pointwise.shift_right_logical),
}
"""What operations do to bits has no meaning for exact numbers."""

ROUNDED = {pointwise.reduce_precision, calls.opaque}
"""What rounds on purpose, and what only JAX knows."""


def rounded(array: Any) -> np.ndarray:
    """An array of mpmath numbers in double precision."""
    if array.dtype != object:
        return array
    complex_ = any(hasattr(v, "_mpc_") for v in array.flat)
    return array.astype(np.complex128 if complex_ else np.float64)


def test_every_elementwise_operation_has_a_value():
    families = (*vars(pointwise).values(), *vars(special).values())
    elementwise = {op for op in families if isinstance(op, sg.expr.Op) and op.elementwise}
    assert elementwise - set(VALUES) == BITWISE


def test_samples_have_the_values_of_jax(float64, subtests):
    apart = {*BITWISE, *ROUNDED, *(s.op for s in samples.BITS)}
    members = [s for s in samples.SAMPLES if s.op not in apart]
    args = [m.draw(generator((m, "exact")), np.float64) for m in members]
    wanted = compiled_together(
        lambda given: [m.fun(*a) for m, a in zip(members, given, strict=True)], args
    )
    for member, given, expected in zip(members, args, wanted, strict=True):
        with subtests.test(sample=str(member)):
            found = evaluate(sg.trace(member.fun, *given), jax.tree.leaves(given), 30)
            for got, want in zip(found, jax.tree.leaves(expected), strict=True):
                assert got.shape == want.shape
                np.testing.assert_allclose(rounded(got), want, rtol=1e-11, atol=1e-12)


def _positive(x: Any) -> Any:
    return x @ x.T + jnp.eye(len(x))


PROGRAMS = {
    "determinant": jnp.linalg.det,
    "log-determinant": lambda x: jnp.linalg.slogdet(_positive(x))[1],
    "solution": lambda x: jnp.linalg.solve(x, x[0]),
    "inverse": jnp.linalg.inv,
    "cholesky": lambda x: jnp.linalg.cholesky(_positive(x)),
    "eigenvalues": lambda x: jnp.linalg.eigh(_positive(x))[0],
    "singular values": lambda x: jnp.linalg.svd(x[:2], full_matrices=False)[1],
    "projector": lambda x: (lambda q: q @ q.T)(jnp.linalg.qr(x[:, :2])[0]),
    "indexed": lambda x: x[jnp.array([2, 0]), jnp.array([-1, 1])],
    "taken": lambda x: jnp.take(x, jnp.array([0, 7]), axis=0, fill_value=3.0),
    "taken along": lambda x: jnp.take_along_axis(x, jnp.argsort(x, 1), 1),
    "clipped": lambda x: jnp.take(x, jnp.array([0, 7]), axis=1, mode="clip"),
    "set": lambda x: x.at[jnp.array([0, 2]), 1].set(7.0),
    "added": lambda x: x.at[jnp.array([0, 0])].add(x[:2]),
    "window": lambda x: lax.dynamic_slice(x, (jnp.int32(1), jnp.int32(2)), (2, 2)),
    "window written": lambda x: lax.dynamic_update_slice(x, x[:2, :2] * 2, (1, 1)),
    "running": lambda x: (lax.cummax(x), lax.cummin(x, 1), lax.cumlogsumexp(x, 1, reverse=True)),
    "recurrent": lambda x: lax.scan(lambda c, r: (jnp.tanh(c + r), c @ r), x[0], x, reverse=True),
    "iterated": lambda x: lax.while_loop(lambda c: c.sum() < 9, lambda c: 2 * c + 1, jnp.abs(x)),
    "branches": lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
    "branches under vmap": jax.vmap(lambda r: lax.cond(r[0] > 0, jnp.sin, jnp.cos, r)),
    "recomputed": jax.checkpoint(lambda x: jnp.sin(x) * x),
    "library": lambda x: (jax.nn.gelu(x), jax.nn.silu(x), jnp.sinc(x), jax.nn.logsumexp(x)),
}


def test_programs_have_the_values_of_jax(float64, subtests):
    x = np.random.default_rng(3).normal(size=(3, 3))
    wanted = compiled_together(lambda xs: {n: f(xs[0]) for n, f in PROGRAMS.items()}, [x])
    for name, program in PROGRAMS.items():
        with subtests.test(program=name):
            found = evaluate(sg.trace(program, x), [x], 30)
            for got, want in zip(found, jax.tree.leaves(wanted[name]), strict=True):
                assert got.shape == want.shape
                np.testing.assert_allclose(rounded(got), want, rtol=1e-10, atol=1e-12)


def test_digits_beyond_double_precision(float64):
    x = np.array([1e-30, -40.0, 800.0])
    graph = sg.trace(lambda x: jnp.log(1 + jnp.exp(x)) - jnp.log(1 + jnp.exp(-x)) - x, x)
    (found,) = evaluate(graph, [x], 400)
    assert all(abs(v) < v.context.mpf(10) ** -380 for v in found)
    (third,) = evaluate(sg.trace(lambda x: x / 3, 1.0), [1.0], 60)
    assert abs(3 * third[()] - 1) < 1e-59


def test_the_precision_of_others_stays(float64):
    mpmath = pytest.importorskip("mpmath")
    before = mpmath.mp.dps
    evaluate(sg.trace(jnp.exp, 1.0), [1.0], 99)
    assert mpmath.mp.dps == before


@pytest.mark.parametrize(
    ("op", "operands", "wanted"),
    [
        (pointwise.log, (0.0,), "-inf"),
        (pointwise.log, (-1.0,), "nan"),
        (pointwise.sqrt, (-1.0,), "nan"),
        (pointwise.arccos, (2.0,), "nan"),
        (sg.expr.div, (0.0, 0.0), "nan"),
        (sg.expr.div, (2.0, 0.0), "+inf"),
        (pointwise.power, (0.0, -1.0), "+inf"),
        (pointwise.power, (-2.0, 0.5), "nan"),
        (pointwise.maximum, (1.0, np.nan), "nan"),
        (pointwise.logistic, (-np.inf,), "0.0"),
        (pointwise.tanh, (np.inf,), "1.0"),
        (special.lgamma, (-2.0,), "+inf"),
    ],
)
def test_edges_of_domains(op, operands, wanted):
    mp = context(20)
    assert str(value_of(mp, op, *map(mp.mpf, operands))) == wanted


def test_towers_of_exponentials_end():
    mp = context(20)
    x = mp.mpf(10)
    for _ in range(9):
        x = value_of(mp, pointwise.exp, x)
    assert x == mp.inf
    assert value_of(mp, pointwise.exp, -x) == 0


def test_what_has_no_exact_value_says_so():
    with pytest.raises(NoExactValueError, match="`nextafter` has no value"):
        evaluate(sg.trace(jnp.nextafter, 1.0, 2.0), [1.0, 2.0])
