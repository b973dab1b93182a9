"""Elementwise operations.

A partial `lambda g, y, x: ...` takes the incoming tangent or cotangent `g`, the
result `y` and the operands, and returns `g` times the derivative. Where an
operation chooses between operands the partial chooses too instead of
multiplying by a mask, so an infinity on the side not taken stays there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from symgrad.errors import ShapeError
from symgrad.expr import (
    CONSTANT,
    Constant,
    Custom,
    Derivative,
    Expr,
    Linear,
    Op,
    Pointwise,
    Type,
    add,
    broadcast_types,
    div,
    elementwise_type,
    literal_value,
    mul,
    neg,
    no_flops,
    sub,
)
from symgrad.ops import accurate
from symgrad.ops.shape import dtype_source, full, reduce_sum

__all__ = ["add", "div", "mul", "neg", "sub"]

TRANSCENDENTAL = 10
"""What an exponential costs, in additions."""


def _unary(name: str, source: str, partial: Callable[..., Expr] | Constant, cost: int = 1) -> Op:
    return Op(
        name,
        elementwise_type,
        source,
        partial if isinstance(partial, Constant) else Pointwise(partial),
        elementwise=True,
        flops=lambda e: cost * e.type.size,
    )


def _function(name: str, partial: Callable[..., Expr], source: str = "") -> Op:
    return _unary(name, source or f"jnp.{name}(x)", partial, TRANSCENDENTAL)


def _accurate(source: str, *partials: Callable[..., Expr], helpers: Any) -> Op:
    """An operation whose program is printed with those that use it."""
    return Op(
        helpers[-1].__name__,
        elementwise_type,
        source,
        Pointwise(*partials),
        elementwise=True,
        flops=lambda e: TRANSCENDENTAL * e.type.size,
        helpers=helpers,
    )


def _of_real(accurate: Callable[..., Expr], textbook: Callable[..., Expr]) -> Callable[..., Expr]:
    """A partial with an accurate form for real numbers; of complex ones it is the textbook's."""

    def partial(g: Expr, y: Expr, x: Expr) -> Expr:
        is_complex = jax.dtypes.issubdtype(x.dtype, np.complexfloating)
        return textbook(g, y, x) if is_complex else accurate(g, y, x)

    return partial


def _binary(name: str, source: str, derivative: Derivative | None, **traits: Any) -> Op:
    return Op(name, elementwise_type, source, derivative, elementwise=True, **traits)


def _comparison_type(x: Type, y: Type) -> Type:
    return Type(elementwise_type(x, y).shape, np.dtype(bool))


def _comparison(name: str, source: str, commutative: bool = False) -> Op:
    return Op(
        name,
        _comparison_type,
        source,
        CONSTANT,
        elementwise=True,
        commutative=commutative,
        foldable=True,
    )


eq = _comparison("eq", "x == y", commutative=True)
ne = _comparison("ne", "x != y", commutative=True)
lt = _comparison("lt", "x < y")
le = _comparison("le", "x <= y")
gt = _comparison("gt", "x > y")
ge = _comparison("ge", "x >= y")
eq_to = _comparison("eq_to", "lax.eq_to_p.bind(x, y)", commutative=True)
lt_to = _comparison("lt_to", "lax.lt_to_p.bind(x, y)")
le_to = _comparison("le_to", "lax.le_to_p.bind(x, y)")
"""Comparisons in the total order of floats, where -0.0 < 0.0 and every nan has its place."""


def _select_type(which: Type, on_true: Type, on_false: Type) -> Type:
    if which.dtype != bool:
        raise ShapeError(f"the condition has dtype {which.dtype}, not bool")
    chosen = elementwise_type(on_true, on_false)
    return chosen.with_shape(broadcast_types(which, on_true, on_false))


select = Op(
    "select",
    _select_type,
    "jnp.where(x, y, z)",
    Pointwise(
        None,
        lambda g, y, which, a, b: select(which, g, 0),
        lambda g, y, which, a, b: select(which, 0, g),
    ),
    elementwise=True,
)


def _larger_gets_it(g: Expr, x: Expr, y: Expr) -> Expr:
    """`g` where x > y, half of it at a tie, as in JAX; zero outside of one select."""
    return select(ge(x, y), select(eq(x, y), g * 0.5, g), 0)


maximum = _binary(
    "max",
    "jnp.maximum(x, y)",
    Pointwise(
        lambda g, z, x, y: _larger_gets_it(g, x, y),
        lambda g, z, x, y: _larger_gets_it(g, y, x),
    ),
    commutative=True,
    foldable=True,
)
minimum = _binary(
    "min",
    "jnp.minimum(x, y)",
    Pointwise(
        lambda g, z, x, y: _larger_gets_it(g, y, x),
        lambda g, z, x, y: _larger_gets_it(g, x, y),
    ),
    commutative=True,
    foldable=True,
)


def _clamp_type(low: Type, x: Type, high: Type) -> Type:
    return Type(broadcast_types(low, x, high), elementwise_type(low, x, high).dtype, x.weak)


clamp = Op(
    "clamp",
    _clamp_type,
    "jnp.clip(y, x, z)",
    Pointwise(
        lambda g, y, low, x, high: select(gt(low, x), select(lt(low, high), g, 0), 0),
        lambda g, y, low, x, high: select(gt(x, low), select(lt(x, high), g, 0), 0),
        lambda g, y, low, x, high: select(gt(x, high), g, 0),
    ),
    elementwise=True,
)

exp = _function("exp", lambda g, y, x: g * y)
exp2 = _function("exp2", lambda g, y, x: g * y * math.log(2))
expm1 = _function("expm1", lambda g, y, x: g * exp(x))
log = _function("log", lambda g, y, x: g / x)
log1p = _function("log1p", lambda g, y, x: g / (x + 1))
sqrt = _function("sqrt", lambda g, y, x: g / (2 * y))
rsqrt = _function("rsqrt", lambda g, y, x: g * (-0.5) * (y / x), source="lax.rsqrt(x)")
cbrt = _function("cbrt", lambda g, y, x: g * (integer_power(y, -2) / 3))
sin = _function("sin", lambda g, y, x: g * cos(x))
cos = _function("cos", lambda g, y, x: -(g * sin(x)))
tan = _function("tan", lambda g, y, x: g * (1 + square(y)))
arcsin = _function("arcsin", lambda g, y, x: g * rsqrt(difference_of_squares(1, x)))
arccos = _function("arccos", lambda g, y, x: -(g * rsqrt(difference_of_squares(1, x))))
arctan = _function("arctan", lambda g, y, x: g * lorentzian(x))
sinh = _function("sinh", lambda g, y, x: g * cosh(x))
cosh = _function("cosh", lambda g, y, x: g * sinh(x))
tanh = _function(
    "tanh",
    _of_real(lambda g, y, x: g * sech_squared(x), lambda g, y, x: g * (1 - square(y))),
)
arcsinh = _function(
    "arcsinh",
    _of_real(
        lambda g, y, x: g * reciprocal_hypotenuse(x),
        lambda g, y, x: g * rsqrt(square(x) + 1),
    ),
)
arccosh = _function("arccosh", lambda g, y, x: g * rsqrt(x - 1) * rsqrt(x + 1))
arctanh = _function("arctanh", lambda g, y, x: g / difference_of_squares(1, x))
logistic = _function(
    "logistic",
    _of_real(lambda g, y, x: g * logistic_slope(x), lambda g, y, x: g * y * (1 - y)),
    source="jax.nn.sigmoid(x)",
)
softplus = _function("softplus", lambda g, y, x: g * logistic(x), source="jax.nn.softplus(x)")
"""log(1 + exp(x)), without overflow."""
relu = _unary("relu", "jax.nn.relu(x)", lambda g, y, x: select(gt(x, 0), g, 0))
"""max(x, 0) with derivative 0 at 0, which is JAX's rule for `jax.nn.relu`."""
erf = _function(
    "erf",
    lambda g, y, x: g * (2 / math.sqrt(math.pi)) * gaussian(x),
    source="jax.scipy.special.erf(x)",
)
erfc = _function(
    "erfc",
    lambda g, y, x: g * (-2 / math.sqrt(math.pi)) * gaussian(x),
    source="jax.scipy.special.erfc(x)",
)
erf_inv = _function(
    "erf_inv",
    lambda g, y, x: g * (math.sqrt(math.pi) / 2) * exp(square(y)),
    source="jax.scipy.special.erfinv(x)",
)
sech_squared = _accurate(
    "sech_squared(x)",
    lambda g, y, x: g * (-2 * tanh(x)) * y,
    helpers=(accurate.sech_squared,),
)
"""The slope of tanh."""
logistic_slope = _accurate(
    "logistic_slope(x)",
    lambda g, y, x: -(g * tanh(x * 0.5)) * y,
    helpers=(accurate.logistic_slope,),
)
difference_of_squares = _accurate(
    "difference_of_squares(x, y)",
    lambda g, z, x, y: g * (2 * x),
    lambda g, z, x, y: g * (-2 * y),
    helpers=(accurate.difference_of_squares,),
)
difference_of_powers = Op(
    "difference_of_powers",
    lambda x, y, *, exponent: elementwise_type(x, y),
    "difference_of_powers(x, y, {exponent})",
    Pointwise(
        lambda g, z, x, y: g * (z.params["exponent"] * integer_power(x, z.params["exponent"] - 1)),
        lambda g, z, x, y: g * (-z.params["exponent"] * integer_power(y, z.params["exponent"] - 1)),
    ),
    params=("exponent",),
    elementwise=True,
    helpers=(accurate.difference_of_powers,),
)
exact_sum = Op(
    "exact_sum",
    elementwise_type,
    "exact_sum(*xs)",
    Linear(lambda g, y, *xs: tuple(_summed(g, x) for x in xs), operands=()),
    elementwise=True,
    helpers=(accurate.exact_sum,),
)
lorentzian = _unary(
    "lorentzian", "1 / (1 + jnp.square(x))", lambda g, y, x: g * (-2 * (x * y)) * y, cost=3
)
"""The slope of arctan."""
reciprocal_hypotenuse = _accurate(
    "reciprocal_hypotenuse(x)",
    lambda g, y, x: -(g * (x * y)) * y * y,
    helpers=(accurate.reciprocal_hypotenuse,),
)
"""The slope of arcsinh."""
gaussian = _accurate(
    "gaussian(x)",
    lambda g, y, x: g * gaussian_derivative(x, order=1),
    helpers=(accurate.gaussian,),
)
gaussian_derivative = Op(
    "gaussian_derivative",
    lambda x, *, order: x,
    "gaussian_derivative(x, {order})",
    Pointwise(lambda g, y, x: g * gaussian_derivative(x, order=y.params["order"] + 1)),
    params=("order",),
    elementwise=True,
    flops=lambda e: 2 * TRANSCENDENTAL * e.type.size,
    helpers=(accurate.gaussian, accurate.gaussian_derivative),
)
over_squared_length = _accurate(
    "over_squared_length(x, y)",
    lambda g, z, x, y: g * (-2 * z) * over_squared_length(y, x),
    lambda g, z, x, y: g * difference_of_squares(over_squared_length(y, x), z),
    helpers=(accurate.over_squared_length,),
)
"""y / (x² + y²), by which arctan2 grows with x."""
abs_ = _unary("abs", "jnp.abs(x)", lambda g, y, x: select(ge(x, 0), g, -g))
"""The derivative at 0 is 1, as in JAX."""
square = replace(_unary("square", "jnp.square(x)", lambda g, y, x: g * (2 * x)), foldable=True)
sign = _unary("sign", "jnp.sign(x)", CONSTANT)
floor = _unary("floor", "jnp.floor(x)", CONSTANT)
ceil = _unary("ceil", "jnp.ceil(x)", CONSTANT)
stop_gradient = Op(
    "stop_gradient",
    lambda x: x,
    "lax.stop_gradient(x)",
    CONSTANT,
    elementwise=True,
    flops=no_flops,
)


def _round_source(e: Expr) -> str:
    return "jnp.round(x)" if e.params["to_even"] else "lax.round(x)"


round_ = Op(
    "round", lambda x, *, to_even: x, _round_source, CONSTANT, ("to_even",), elementwise=True
)


def _predicate(name: str, source: str) -> Op:
    return Op(
        name,
        lambda x: Type(x.shape, np.dtype(bool)),
        source,
        CONSTANT,
        elementwise=True,
    )


is_finite = _predicate("is_finite", "jnp.isfinite(x)")
nextafter = _binary("nextafter", "jnp.nextafter(x, y)", None)
"""The next float after x in the direction of y; JAX has no derivative of it either."""
name = Op(
    "name",
    lambda x, *, name: x,
    "checkpoint_name(x, {name!r})",
    Pointwise(lambda g, y, x: g),
    params=("name",),
    elementwise=True,
    flops=no_flops,
)
"""Its operand under a name, which policies of `jax.checkpoint` may ask for."""


def _rounded(x: Expr, y: Expr) -> Expr:
    """`x` with the precision of the result `y`."""
    return reduce_precision(x, **y.params)


reduce_precision = Op(
    "reduce_precision",
    lambda x, *, exponent_bits, mantissa_bits: x,
    "lax.reduce_precision(x, {exponent_bits}, {mantissa_bits})",
    Linear(lambda g, y, x: _rounded(g, y)),
    params=("exponent_bits", "mantissa_bits"),
    elementwise=True,
)
"""Rounds as a shorter float would; derivatives are rounded likewise, as in JAX."""


def _power_source(e: Expr) -> str:
    n = e.params["exponent"]
    return f"x**{n}" if n >= 0 else f"lax.integer_pow(x, {n})"


def _integer_power_partial(g: Expr, y: Expr, x: Expr) -> Expr:
    n = y.params["exponent"]
    return g * (n * integer_power(x, n - 1))


integer_power_op = Op(
    "integer_pow",
    lambda x, *, exponent: x,
    _power_source,
    Pointwise(_integer_power_partial),
    params=("exponent",),
    elementwise=True,
    flops=lambda e: max(1, abs(e.params["exponent"]).bit_length()) * e.type.size,
)


def integer_power(x: Expr, exponent: int) -> Expr:
    """`x**exponent` for a Python integer, in its simplest form."""
    match exponent:
        case 0:
            return full(1, x.type)
        case 1:
            return x
        case 2:
            return square(x)
        case _:
            return integer_power_op(x, exponent=exponent)


def _power_type(x: Type, y: Type) -> Type:
    return Type(broadcast_types(x, y), x.dtype, x.weak and y.weak)


def power_in_base(g: Expr, z: Expr, x: Expr, y: Expr) -> Expr:
    """0 at 0 to the power of 0, where `y * x**(y - 1)` is not defined."""
    if y.type.inexact:
        base = x if literal_value(y) else select(eq(y, 0), select(eq(x, 0), 1, x), x)
        return g * (y * power(base, y - 1))
    slope = convert(y, dtype=x.dtype) * power(x, y - 1)
    return g * select(eq(y, 0), 0, slope)


def _power_in_exponent(g: Expr, z: Expr, x: Expr, y: Expr) -> Expr:
    return g * (log(select(eq(x, 0), 1, x)) * z)


power = Op(
    "pow",
    _power_type,
    "x**y",
    Pointwise(power_in_base, _power_in_exponent),
    elementwise=True,
    flops=lambda e: 2 * TRANSCENDENTAL * e.type.size,
)

arctan2 = _binary(
    "atan2",
    "jnp.arctan2(x, y)",
    Pointwise(
        lambda g, z, x, y: g * over_squared_length(x, y),
        lambda g, z, x, y: -(g * over_squared_length(y, x)),
    ),
)
logaddexp = _binary(
    "logaddexp",
    "jnp.logaddexp(x, y)",
    Pointwise(
        lambda g, z, x, y: g * logistic(x - y),
        lambda g, z, x, y: g * logistic(y - x),
    ),
    commutative=True,
)


def _truncated_quotient(x: Expr, y: Expr) -> Expr:
    quotient = x / y
    return sign(quotient) * floor(abs_(quotient))


rem = _binary(
    "rem",
    "lax.rem(x, y)",
    Pointwise(
        lambda g, z, x, y: g,
        lambda g, z, x, y: -(g * _truncated_quotient(x, y)),
    ),
)
and_ = _binary("and", "x & y", CONSTANT, commutative=True)
or_ = _binary("or", "x | y", CONSTANT, commutative=True)
xor = _binary("xor", "x ^ y", CONSTANT, commutative=True)
not_ = _unary("not", "~x", CONSTANT)
shift_left = _binary("shift_left", "lax.shift_left(x, y)", CONSTANT)
shift_right_logical = _binary("shift_right_logical", "lax.shift_right_logical(x, y)", CONSTANT)
shift_right_arithmetic = _binary(
    "shift_right_arithmetic", "lax.shift_right_arithmetic(x, y)", CONSTANT
)
mulhi = _binary("mulhi", "lax.mulhi(x, y)", CONSTANT, commutative=True)
clz = _unary("clz", "lax.clz(x)", CONSTANT)
population_count = _unary("population_count", "lax.population_count(x)", CONSTANT)


def _convert_type(x: Type, *, dtype: Any, weak: bool) -> Type:
    return Type(x.shape, dtype, weak)


convert_op = Op(
    "convert",
    _convert_type,
    lambda e: f"x.astype({dtype_source(e.dtype)})",
    Linear(lambda g, y, x: convert(g, dtype=x.dtype, weak=x.type.weak)),
    params=("dtype", "weak"),
    elementwise=True,
    flops=no_flops,
)


def convert(x: Expr, *, dtype: Any, weak: bool = False) -> Expr:
    """`x` in another dtype; integer and boolean values carry no derivative."""
    dtype = dtype if jax.dtypes.issubdtype(dtype, jax.dtypes.extended) else np.dtype(dtype)
    return x if x.type == Type(x.shape, dtype, weak) else convert_op(x, dtype=dtype, weak=weak)


def _bitcast_type(x: Type, *, dtype: Any) -> Type:
    old, new = np.dtype(x.dtype).itemsize, np.dtype(dtype).itemsize
    if old == new:
        return Type(x.shape, dtype)
    if old > new:
        return Type((*x.shape, old // new), dtype)
    return Type(x.shape[:-1], dtype)


bitcast = Op(
    "bitcast",
    _bitcast_type,
    lambda e: f"lax.bitcast_convert_type(x, {dtype_source(e.dtype)})",
    CONSTANT,
    params=("dtype",),
    flops=no_flops,
)


KINDS = (np.integer, np.floating, np.complexfloating)


def _real_type(z: Type) -> Type:
    return Type(z.shape, np.finfo(z.dtype).dtype, z.weak)


def _complex_type(x: Type, y: Type) -> Type:
    both = elementwise_type(x, y)
    return Type(both.shape, np.result_type(both.dtype, np.complex64), both.weak)


def _complex_op(name: str, type_rule: Callable[..., Type], source: str, derivative: Any) -> Op:
    return Op(name, type_rule, source, derivative, elementwise=True)


def _summed(g: Expr, x: Expr) -> Expr:
    """An operand of rank 0 was broadcast, so its cotangent is summed."""
    return g if g.ndim == x.ndim else reduce_sum(g, axes=tuple(range(g.ndim)))


real = _complex_op("real", _real_type, "jnp.real(x)", Linear(lambda g, y, z: complex_(g, g * 0)))
imag = _complex_op("imag", _real_type, "jnp.imag(x)", Linear(lambda g, y, z: complex_(g * 0, -g)))
complex_ = _complex_op(
    "complex",
    _complex_type,
    "lax.complex(x, y)",
    Linear(lambda g, z, x, y: (_summed(real(g), x), _summed(-imag(g), y)), operands=(0, 1)),
)
conj = _complex_op("conj", lambda z: z, "jnp.conj(x)", Linear(lambda g, y, z: conj(g)))


def _magnitude_push(tangents: tuple[Expr, ...], y: Expr, z: Expr) -> Expr:
    """The component of the tangent along z; 0 at z = 0."""
    length = select(eq(y, 0), 1, y)
    return real(tangents[0] * (conj(z) / convert(length, dtype=z.dtype)))


magnitude = _complex_op("abs", _real_type, "jnp.abs(x)", Custom(pushforward=_magnitude_push))
"""The absolute value of a complex number."""


def is_widening(old: Any, new: Any) -> bool:
    """Whether every value of the old dtype is one of the new, and converts on as it did before.

    From integers to floats is none: int64 does not fit into float64, and a float that is out of
    range for an integer becomes the nearest one, where another integer would wrap around.
    """
    if old in (new, np.dtype(bool)):
        return True
    kinds = [next((k for k in KINDS if jax.dtypes.issubdtype(d, k)), None) for d in (old, new)]
    return kinds[0] is kinds[1] is not None and np.can_cast(old, new, "safe")


ELEMENTWISE = tuple(
    value for value in list(globals().values()) if isinstance(value, Op) and value.elementwise
)
"""All operations of this family."""
