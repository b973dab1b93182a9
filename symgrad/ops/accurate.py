"""Functions of arrays that keep every digit where the textbook's formula rounds them away.

Programs that need one print it with them, so each is plain JAX and stands alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


def sech_squared(x):
    """1 - tanh(x)**2, also where tanh(x) rounds to 1."""
    return jnp.exp(-2 * jnp.abs(x)) * jnp.square(1 + jnp.abs(jnp.tanh(x)))


def sech(x):
    """1 / cosh(x), from one exponential: XLA's cosh rounds before it takes that."""
    grown = jnp.exp(jnp.abs(x))
    return 2 / (grown + 1 / grown)


def logistic_slope(x):
    """sigmoid(x) * sigmoid(-x)"""
    t = jnp.exp(-jnp.abs(x))
    return t / jnp.square(1 + t)


def softmax_slope(x, weights, axis):
    """weights * (x - mean(x)), also where one weight has rounded to 1.

    There the mean cancels, and what is left of x is too small to be rounded away a second time.
    """
    x = x - jnp.sum(weights * x, axis, keepdims=True)
    return weights * (x - jnp.sum(weights * x, axis, keepdims=True))


def log_softmax_slope(x, weights, axis):
    """x - weights * sum(x), also where one weight has rounded to 1.

    The differences add up to zero, so that their sum is what rounding took from that one.
    """
    x = x - weights * jnp.sum(x, axis, keepdims=True)
    return x - weights * jnp.sum(x, axis, keepdims=True)


def difference_of_squares(x, y):
    """x**2 - y**2, also where both are nearly equal."""
    return (x - y) * (x + y)


def difference_of_powers(x, y, exponent):
    """x**exponent - y**exponent, also where both are nearly equal."""
    apart = x - y
    while exponent % 2 == 0:
        apart, x, y, exponent = apart * (x + y), x * x, y * y, exponent // 2
    return apart * sum(x ** (exponent - 1 - i) * y**i for i in range(exponent))


def exact_sum(*terms):
    """A sum whose rounding errors are added up too."""
    total, lost = terms[0], 0
    for term in terms[1:]:
        grown = total + term
        part = grown - total
        lost = lost + ((total - (grown - part)) + (term - part))
        total = grown
    return total + lost


def reciprocal_hypotenuse(x):
    """1 / sqrt(1 + x**2), also where x**2 overflows."""
    size = jnp.abs(x)
    large, small = jnp.maximum(size, 1), jnp.minimum(size, 1)
    return lax.rsqrt(1 + jnp.square(small / large)) / large


def gaussian(x):
    """exp(-x**2), as exact in the tails: the square is split so that no digit of it is lost."""
    if jnp.finfo(x.dtype).bits < 32:
        return jnp.exp(-jnp.square(x.astype(jnp.float32))).astype(x.dtype)
    exponent, digits = jnp.finfo(x.dtype).nexp, (jnp.finfo(x.dtype).nmant - 1) // 2
    # Far beyond where the result is 0: no digits are lost, and no infinity meets another.
    x = jnp.clip(x, -64, 64)
    short = lax.reduce_precision(x, exponent, digits)
    rest = (x - short) * (x + short)
    return jnp.exp(-jnp.square(short)) * (1 - rest * (1 - rest / 2 * (1 - rest / 3)))


def gaussian_derivative(x, order):
    """A derivative of exp(-x**2): a Hermite polynomial times it, 0 far out."""
    x = jnp.clip(x, -64, 64)
    before, now = 0, gaussian(x)
    for n in range(order):
        before, now = now, -2 * (x * now + n * before)
    return now


def over_squared_length(x, y):
    """y / (x**2 + y**2), also where a square leaves the range of numbers."""
    swapped = jnp.abs(x) > jnp.abs(y)
    ratio = jnp.where(swapped, y, x) / jnp.where(swapped, x, y)
    return jnp.where(swapped, ratio, 1) / (jnp.where(swapped, x, y) * (1 + jnp.square(ratio)))


def centered(x, axes):
    """x less its mean; the first entry is taken off before, exactly where all are alike."""
    first = tuple(slice(1) if axis in axes else slice(None) for axis in range(x.ndim))
    rest = x - x[first]
    return rest - jnp.mean(rest, axes, keepdims=True)


def squared_deviations(x, axes):
    """The sum of (x - mean(x))**2; the first entry is taken off before."""
    return jnp.sum(jnp.square(centered(x, axes)), axes)


def common_point(x, y):
    """The mean of the rows of both where it is nearer to each of them than 0 is, else 0."""
    total = jnp.sum(x, -2, keepdims=True) + jnp.sum(y, -2, keepdims=True)
    mean = total / (x.shape[-2] + y.shape[-2])

    def is_nearer(x):
        nearer = jnp.sum(jnp.square(x - mean), -1) <= jnp.sum(jnp.square(x), -1)
        return jnp.all(nearer, -1)[..., None]

    near = is_nearer(x) & is_nearer(y)
    return lax.stop_gradient(jnp.where(near, jnp.squeeze(mean, -2), 0))


def squared_distances(x, y, precision=None):
    """Of all rows of x and y, by their product."""
    of_x, of_y = (jnp.sum(jnp.square(rows), -1) for rows in (x, y))
    product = jnp.matmul(2 * x, jnp.swapaxes(y, -1, -2), precision=precision)
    return jnp.maximum(of_x[..., :, None] - product + of_y[..., None, :], 0)


def over_one_plus_square(x):
    """x / (1 + x**2), also where the square overflows."""
    return 1 / (x + 1 / x)


def log1p_square(x):
    """log(1 + x**2), also where the square overflows."""
    size = jnp.abs(x)
    large = size > jnp.sqrt(jnp.finfo(x.dtype).max) / 2
    log = jnp.log1p(jnp.where(large, size, size * jnp.where(large, 1, size)))
    return jnp.where(large, 2 * log, log)


def log1p_tanh(x):
    """log(1 + tanh(x)), also where tanh(x) is small or rounds to -1."""
    return 2 * jnp.minimum(x, 0) - jnp.log1p(jnp.expm1(-2 * jnp.abs(x)) / 2)


def saturation(x, c, top, exponent):
    """x**top / (c + x**exponent), also where a power overflows."""
    large = jnp.abs(x**exponent) > 4 * c
    near, inverse = jnp.where(large, 1, x), 1 / jnp.where(large, x, 1)
    far = inverse ** (exponent - top) / (1 + c * inverse**exponent)
    return jnp.where(large, far, near**top / (c + near**exponent))


def sin_of_sum(x, y):
    """sin(x + y), whatever x + y rounds to."""
    return jnp.sin(x) * jnp.cos(y) + jnp.cos(x) * jnp.sin(y)


def cos_of_sum(x, y):
    """cos(x + y), whatever x + y rounds to."""
    return jnp.cos(x) * jnp.cos(y) - jnp.sin(x) * jnp.sin(y)


def difference_of_tangents(x, d):
    """tan(x + d) - tan(x), also for small d."""
    return jnp.sin(d) / (jnp.cos(x) * cos_of_sum(x, d))


def root_of_square_plus(x, y):
    """sqrt(x**2 + y), also where the square leaves the range of numbers."""
    size = jnp.maximum(jnp.abs(x), jnp.sqrt(jnp.abs(y)))
    size = jnp.where((size > 0) & (size < jnp.inf), size, 1)
    return size * jnp.sqrt(jnp.square(x / size) + y / size / size)


def root_minus(x, y):
    """sqrt(x**2 + y) - x, also where both are nearly equal."""
    far = jnp.abs(x) + root_of_square_plus(x, y)
    cancels = (x > 0) & (jnp.abs(y) < jnp.inf)
    return jnp.where(cancels, y / jnp.where(cancels, far, 1), far)


def relative_root_minus(x, y):
    """1 - x / sqrt(x**2 + y), also where both are nearly equal, and 1 for infinite y."""
    size = jnp.maximum(jnp.abs(x), jnp.sqrt(jnp.abs(y)))
    size = jnp.where((size > 0) & (size < jnp.inf), size, 1)
    x, y, infinite = x / size, y / size / size, y == jnp.inf
    root = jnp.sqrt(jnp.square(x) + y)
    far = jnp.abs(x) + root
    return jnp.where(infinite, 1, jnp.where(x > 0, y / far, far) / root)


def exponential_quotient(x, a, b, c, d, above, below):
    """(a * above(x) + b) / (c * below(x) + d) for exp or expm1, also where they overflow."""
    t = jnp.exp(-jnp.abs(x))
    one = jnp.where(x > 0, t, 1)

    def scaled(function):
        if function is jnp.exp:
            return jnp.where(x > 0, 1, t)
        return -jnp.sign(x) * jnp.expm1(-jnp.abs(x))

    return (a * scaled(above) + b * one) / (c * scaled(below) + d * one)


def over_expm1(x, y):
    """x / (exp(y) - 1), also where the exponential overflows."""
    half = jnp.exp(-jnp.maximum(y, 0) / 2)
    return x * half * half / (-jnp.sign(y) * jnp.expm1(-jnp.abs(y)))


def power_less_one(x, y):
    """(1 + x)**y - 1, also where the power is nearly 1."""
    exponent = y * jnp.log1p(jnp.where(x > -1, x, 0))
    size = jnp.abs(exponent)
    near = (x > -1) & (size < jnp.inf) & ((jnp.abs(x) < 0.5) | (size < 1))
    return jnp.where(near, jnp.expm1(jnp.where(near, exponent, 0)), (1 + x) ** y - 1)


def overflow_shift(x):
    """x where exp(x) is near an end of the range of numbers, 0 elsewhere."""
    far = jnp.abs(x) > jnp.log(jnp.finfo(x.dtype).max) / 2
    return jnp.where(far & jnp.isfinite(x), x, 0)


def exp_within_range(x):
    """exp(x), and the largest number where it overflows."""
    return jnp.minimum(jnp.exp(x), jnp.finfo(x.dtype).max)


def inverse_hypotenuse(x, c):
    """1 / sqrt(c + x**2), also where the square overflows."""
    scale = jnp.maximum(jnp.abs(x), 1)
    return lax.rsqrt(c / scale / scale + jnp.square(x / scale)) / scale


def over_hypotenuse(x, c):
    """x / sqrt(c + x**2), also where the square overflows."""
    return x * inverse_hypotenuse(x, c)


def geometric_mean(x, y):
    """sqrt(x * y), also where the product leaves the range of numbers."""
    root = jnp.sqrt(jnp.abs(x)) * jnp.sqrt(jnp.abs(y))
    return jnp.where((root > 0) & ((x < 0) != (y < 0)), jnp.nan, root)


def log_of_factors(*factors, above):
    """The logarithm of a product over a product, also where these leave the range of numbers."""
    dtype = jnp.result_type(*factors)
    limits, product, mantissa, exponent, usual = jnp.finfo(dtype), 1, 1, 0, True
    for i, factor in enumerate(factors):
        part, power = jnp.frexp(jnp.asarray(factor, dtype))
        product = product * factor if i < above else product / factor
        mantissa = mantissa * part if i < above else mantissa / part
        exponent = exponent + power if i < above else exponent - power
        usual &= (limits.tiny <= jnp.abs(product)) & (jnp.abs(product) <= limits.max)
    rest = 0.6931471805599453 * jnp.asarray(exponent, dtype)
    return jnp.log(jnp.where(usual, product, mantissa)) + jnp.where(usual, 0, rest)


def power_of_product(x, exponent, axis):
    """The power of a product of numbers, which may itself leave the range of floats."""

    def by_logarithms(x):
        wide = jnp.abs(x).astype(jnp.promote_types(x.dtype, jnp.float32))
        found = jnp.exp(exponent * jnp.sum(jnp.log(wide), axis)).astype(x.dtype)
        return jnp.where(jnp.prod(jnp.sign(x), axis) < 0, jnp.nan, found)

    total, limits = jnp.prod(x, axis), jnp.finfo(x.dtype)
    usual = (limits.tiny <= jnp.abs(total)) & (jnp.abs(total) <= limits.max)
    if x.size <= 16 * total.size:
        return jnp.where(usual, total**exponent, by_logarithms(x))
    return lax.cond(jnp.all(usual), lambda _: total**exponent, by_logarithms, x)


def log_softplus(x):
    """log(log(1 + exp(x))), also where exp(x) underflows."""
    t = jnp.exp(jnp.minimum(x, 0))
    below = x + jnp.log(jnp.where(t > 0, jnp.log1p(t) / jnp.where(t > 0, t, 1), 1))
    return jnp.where(x < 0, below, jnp.log(jax.nn.softplus(jnp.maximum(x, 0))))


def softplus_hazard(x):
    """sigmoid(x) / softplus(x), also where both underflow."""
    t = jnp.exp(jnp.minimum(x, 0))
    below = jnp.where(t > 0, t, 1) / jnp.where(t > 0, (1 + t) * jnp.log1p(t), 1)
    return jnp.where(x < 0, below, jax.nn.sigmoid(x) / jax.nn.softplus(jnp.maximum(x, 0)))


def sigmoid(x):
    """By exp(-|x|), which the other functions of it share."""
    t = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, 1, t) / (1 + t)


def sigmoid_of_minus(x):
    """sigmoid(-x)"""
    t = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, t, 1) / (1 + t)


def softplus(x):
    """By exp(-|x|), which the other functions of it share."""
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def softplus_of_minus(x):
    """softplus(-x)"""
    return jnp.maximum(-x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def logsumexp(x, axis):
    """By the exponentials that jax.nn.softmax takes of x."""
    largest = jnp.max(x, axis, keepdims=True, initial=-jnp.inf)
    total = jnp.log(jnp.sum(jnp.exp(x - largest), axis, keepdims=True))
    found = jnp.where(jnp.isfinite(largest), largest + total, largest)
    return jnp.squeeze(found, axis)


def product_of_others_by_logs(x, axes):
    """For every entry the product of all others over axes, by their logarithms."""
    is_zero = x == 0
    logs = jnp.log(jnp.where(is_zero, 1, x))
    total = jnp.sum(logs, axes, keepdims=True)
    others_are_zero = jnp.sum(is_zero, axes, keepdims=True) > is_zero
    # Zero times infinity is nan here as it is in the sum of the logarithms.
    return jnp.where(others_are_zero, 0 * total, jnp.exp(total - logs))


def product_of_others(x, axis):
    """For every entry the product of all others along the axis, by the products of pairs."""
    n = x.shape[axis]
    if n < 2:
        return jnp.ones_like(x)
    even = lax.slice_in_dim(x, 0, n, 2, axis)
    odd = lax.slice_in_dim(x, 1, n, 2, axis)
    if n % 2:
        odd = jnp.concatenate([odd, jnp.ones_like(lax.slice_in_dim(x, 0, 1, 1, axis))], axis)
    above = product_of_others(even * odd, axis)
    pairs = jnp.stack([above * odd, above * even], axis + 1)
    shape = (*x.shape[:axis], n + n % 2, *x.shape[axis + 1 :])
    return lax.slice_in_dim(pairs.reshape(shape), 0, n, 1, axis)
