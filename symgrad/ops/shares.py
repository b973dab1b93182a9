"""Parts of a whole, whose slopes are small differences: x / (x + c) near 1; and roots."""

from __future__ import annotations

from symgrad.expr import CONSTANT, Expr, Op, Pointwise, constant, elementwise_type
from symgrad.ops import accurate
from symgrad.ops.pointwise import TRANSCENDENTAL, abs_


def _share_in_part(g: Expr, y: Expr, x: Expr, c: Expr) -> Expr:
    return g * share(c, x) / (x + c)


share = Op(
    "share",
    elementwise_type,
    "x / (x + y)",
    Pointwise(_share_in_part, lambda g, y, x, c: -(g * y) / (x + c)),
    elementwise=True,
    flops=lambda e: 2 * e.type.size,
)
"""x / (x + c), whose slope c / (x + c)² is not the difference of 1 / (x + c) and that of x."""
softsign = Op(
    "softsign",
    elementwise_type,
    "x / (y + jnp.abs(x))",
    Pointwise(
        lambda g, y, x, c: g * share(c, abs_(x)) / (c + abs_(x)),
        lambda g, y, x, c: -(g * y) / (c + abs_(x)),
    ),
    elementwise=True,
    flops=lambda e: 3 * e.type.size,
)
"""x / (c + |x|), which has a slope at 0."""
over_hypotenuse = Op(
    "over_hypotenuse",
    elementwise_type,
    "over_hypotenuse(x, y)",
    Pointwise(
        lambda g, y, x, c: g * c * _cubed(x, c),
        lambda g, y, x, c: -(g * y) * _squared(x, c) / 2,
    ),
    elementwise=True,
    flops=lambda e: 8 * e.type.size,
    helpers=(accurate.inverse_hypotenuse, accurate.over_hypotenuse),
)
"""x / √(c + x²)"""
inverse_hypotenuse = Op(
    "inverse_hypotenuse",
    elementwise_type,
    "inverse_hypotenuse(x, y)",
    Pointwise(
        lambda g, y, x, c: -(g * over_hypotenuse(x, c)) * y * y,
        lambda g, y, x, c: -g * _cubed(x, c) / 2,
    ),
    elementwise=True,
    flops=lambda e: 8 * e.type.size,
    helpers=(accurate.inverse_hypotenuse,),
)
"""1 / √(c + x²)"""


def _squared(x: Expr, c: Expr) -> Expr:
    r = inverse_hypotenuse(x, c)
    return r * r


def _cubed(x: Expr, c: Expr) -> Expr:
    return _squared(x, c) * inverse_hypotenuse(x, c)


def _with_top(q: Expr, a: float, b: float, less: bool) -> Expr:
    """The quotient with another numerator."""
    x, _, _, c, d = q.args
    top = (constant(v, q.dtype) for v in (a, b))
    return exponential_quotient(x, *top, c, d, less_above=less, less_below=q.params["less_below"])


def _inverse(q: Expr) -> Expr:
    return _with_top(q, 0, 1, False)


def _quotient_slope(g: Expr, q: Expr, x: Expr, a: Expr, b: Expr, c: Expr, d: Expr) -> Expr:
    less_above, less_below = (q.params[k] for k in ("less_above", "less_below"))
    determinant = a * d - b * c
    if less_above != less_below:
        determinant = determinant + a * c if less_above else determinant - a * c
    return g * determinant * _with_top(q, 1, 0, False) * _inverse(q)


def _quotient_source(e: Expr) -> str:
    functions = ("jnp.expm1" if e.params[k] else "jnp.exp" for k in ("less_above", "less_below"))
    return f"exponential_quotient(*xs, {', '.join(functions)})"


exponential_quotient = Op(
    "exponential_quotient",
    lambda *operands, less_above, less_below: elementwise_type(*operands),
    _quotient_source,
    Pointwise(
        _quotient_slope,
        lambda g, q, x, a, b, c, d: g * _with_top(q, 1, 0, q.params["less_above"]),
        lambda g, q, x, a, b, c, d: g * _inverse(q),
        lambda g, q, x, a, b, c, d: -(g * q) * _with_top(q, 1, 0, q.params["less_below"]),
        lambda g, q, x, a, b, c, d: -(g * q) * _inverse(q),
    ),
    params=("less_above", "less_below"),
    elementwise=True,
    flops=lambda e: (TRANSCENDENTAL + 8) * e.type.size,
    helpers=(accurate.exponential_quotient,),
)
"""(a exp(x) + b) / (c exp(x) + d), whose slope is no difference of quotients.

With `less_above` or `less_below` there is exp(x) - 1 in the place of exp(x).
"""


overflow_shift = Op(
    "overflow_shift",
    elementwise_type,
    "overflow_shift(x)",
    CONSTANT,
    elementwise=True,
    flops=lambda e: 2 * e.type.size,
    helpers=(accurate.overflow_shift,),
)
"""How much is taken off exponents above and below a fraction; it cancels, so it is no variable."""


exp_within_range = Op(
    "exp_within_range",
    elementwise_type,
    "exp_within_range(x)",
    Pointwise(lambda g, y, x: g * y),
    elementwise=True,
    flops=lambda e: TRANSCENDENTAL * e.type.size,
    helpers=(accurate.exp_within_range,),
)
"""exp(x), and no infinity where it has no weight: 0 times infinity is nan."""


geometric_mean = Op(
    "geometric_mean",
    elementwise_type,
    "geometric_mean(x, y)",
    Pointwise(lambda g, z, x, y: g * (y / z) / 2, lambda g, z, x, y: g * (x / z) / 2),
    elementwise=True,
    commutative=True,
    flops=lambda e: 8 * e.type.size,
    helpers=(accurate.geometric_mean,),
)
"""√(x y)"""
