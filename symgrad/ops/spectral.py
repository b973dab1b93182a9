"""Functions of matrices, which are smooth where eigenvalues or singular values meet.

The derivative is that of Daleckii and Krein (1965), with divided differences of the function
at pairs of eigenvalues; see Higham, Functions of Matrices (2008), theorem 3.11.
"""

from __future__ import annotations

import jax.numpy as jnp

from symgrad.expr import Custom, Expr, LocalFunction, Op, Type
from symgrad.ops.limit import derivative, variable
from symgrad.ops.matrix import adjoint, identity, on_columns, on_rows, product
from symgrad.ops.pointwise import abs_, eq, le, or_, select
from symgrad.ops.shape import broadcast
from symgrad.walk import Graph, substitute


def _at(function: Expr, x: Expr) -> Expr:
    """A function of `variable` at every entry of `x`."""
    found = substitute([function], {variable(function.dtype): x})[0]
    return found if found.shape == x.shape else broadcast(found, shape=x.shape, axes=())


def divided_differences(function: Expr, w: Expr) -> Expr:
    """(f(wⱼ) - f(wᵢ)) / (wⱼ - wᵢ), the mean of f' between the two.

    Where the difference has no digits left, Simpson's rule for that mean has all of them.
    """
    shape, n = (*w.shape, w.shape[-1]), w.ndim
    rows, columns = tuple(range(n)), (*range(n - 1), n)

    def along(x: Expr, axes: tuple[int, ...]) -> Expr:
        return broadcast(x, shape=shape, axes=axes)

    value, slope = _at(function, w), derivative(function)
    first, last = along(value, rows), along(value, columns)
    gap = along(w, columns) - along(w, rows)
    quotient = (last - first) / select(eq(gap, 0), 1, gap)
    middle = _at(slope, (along(w, rows) + along(w, columns)) * 0.5)
    ends = _at(slope, w)
    mean = (along(ends, rows) + along(ends, columns) + 4 * middle) / 6
    noise = 8 * float(jnp.finfo(w.dtype).eps) * (abs_(first) + abs_(last))
    drowned = le(abs_(quotient - mean) * abs_(gap), noise)
    return select(or_(eq(gap, 0), drowned), mean, quotient)


def _push(tangents: tuple[Expr | None, ...], y: Expr, a: Expr, v: Expr, w: Expr) -> Expr | None:
    if tangents[0] is None:
        return None
    inner = product(adjoint(v), product(tangents[0], v))
    return product(product(v, divided_differences(y.params["function"], w) * inner), adjoint(v))


def _functions(e: Expr) -> tuple[LocalFunction, ...]:
    function = e.params["function"]
    body = Graph((variable(function.dtype),), (function,), ("w",))
    return (LocalFunction("body", body, (), (0,), (0,)),)


def _type(a: Type, v: Type, w: Type, *, function: Expr) -> Type:
    return a


matrix_function = Op(
    "matrix_function",
    _type,
    "(y * {body}(z)[..., None, :]) @ jnp.matrix_transpose(y)",
    Custom(pushforward=_push),
    params=("function",),
    functions=_functions,
    flops=lambda e: 2 * e.type.size * e.shape[-1],
)
"""f(A) = V f(w) Vᵀ of a symmetric A and its eigenvectors and eigenvalues, as a function of A."""


def _polar_push(
    tangents: tuple[Expr | None, ...], y: Expr, a: Expr, u: Expr, s: Expr, vh: Expr
) -> Expr | None:
    """U ((X - Xᵀ)ᵢⱼ / (sᵢ + sⱼ)) Vᵀ for X = Uᵀ A' V, and what A' does outside of U and V."""
    t, (m, n) = tangents[0], a.shape[-2:]
    if t is None:
        return None
    moved = product(t, adjoint(vh))
    inner = product(adjoint(u), moved)
    sums = on_rows(s, inner.shape) + on_columns(s, inner.shape)
    # On the diagonal, where there is nothing to divide, the sums may be zero.
    turned = (inner - adjoint(inner)) / (sums + identity(inner))
    found = product(product(u, turned), vh)
    if m > n:
        outside = moved - product(u, inner)
        found = found + product(outside / on_rows(s, outside.shape), vh)
    if n > m:
        back = product(adjoint(u), t)
        outside = back - product(product(back, adjoint(vh)), vh)
        found = found + product(u, outside / on_columns(s, outside.shape))
    return found


polar_factor = Op(
    "polar_factor",
    lambda a, u, s, vh: a,
    "xs[1] @ xs[3]",
    Custom(pushforward=_polar_push),
    flops=lambda e: 2 * e.type.size * min(e.shape[-2:]),
)
"""U Vᵀ, the nearest matrix to A = U diag(s) Vᵀ with orthonormal columns or rows."""
