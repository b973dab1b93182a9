"""Every rule: both sides agree, it fires where it should, and does not where it must not.

Values are computed one operation at a time, so that no compiler of XLA's brings two sides
together or apart; what a rule promises is tested of the rule alone.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import evaluate
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from samples import Operand, between, whole

import symgrad as sg
from symgrad import walk
from symgrad.exact import evaluate as evaluate_exactly
from symgrad.expr import Expr, Type, neg, parameter
from symgrad.laws import (
    algebra,
    angles,
    averages,
    blocks,
    cancel,
    cholesky,
    composed,
    dead,
    determinants,
    divided,
    entropy,
    factored,
    fractions,
    growth,
    guards,
    homogeneous,
    hyperbolic,
    kinks,
    lift,
    limits,
    logs,
    masked,
    matrix,
    moments,
    nearly_equal,
    norms,
    odds,
    others,
    parameters,
    powers,
    products,
    quotients,
    ranges,
    shape,
    spectral,
    tails,
    weights,
)
from symgrad.ops.pointwise import select
from symgrad.ops.shape import reshape, reshape_op
from symgrad.pattern import Pattern, Rule, Variable, fit, instantiate, rewrites

EQUATIONS = [r for r in sg.rules if r.sides is not None]
EXACT = [r for r in sg.rules if r.exact]


def generator(name: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(str(name).encode()))


def values_of(outputs: Sequence[Expr], inputs: Mapping[Expr, Any]) -> list[np.ndarray]:
    """The values of nodes, each operation run on its own."""
    known = {node: jnp.asarray(value) for node, value in inputs.items()}
    for node in walk.topological(outputs):
        if node not in known:
            known[node] = evaluate.apply(node, [known[a] for a in node.args])
    return [np.asarray(known[o]) for o in outputs]


def same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal in every bit; all nans count as one."""
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(actual, expected)
    if np.issubdtype(actual.dtype, np.floating):
        number = ~np.isnan(actual)
        np.testing.assert_array_equal(np.signbit(actual)[number], np.signbit(expected)[number])


def units_apart(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest distance in units in the last place of `actual`'s dtype."""
    spacing = np.spacing(np.abs(expected).astype(actual.dtype)).astype(np.float64)
    distance = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    return float(np.max(distance / spacing, initial=0.0))


# Equations: both sides


@dataclass(frozen=True)
class Instance:
    """An equation with nodes for its variables."""

    left: Expr
    right: Expr
    inputs: dict[str, Expr]


def variables(pattern: Any) -> Iterator[tuple[str, str]]:
    """The variables of a pattern, and what they stand for: an array, a mask or an axis."""
    if isinstance(pattern, Variable):
        yield pattern.name, "array"
    elif isinstance(pattern, Pattern):
        for name, value in pattern.params.items():
            assert name == "axis", f"no instances for the parameter {name}"
            yield value.name, "axis"
        for i, arg in enumerate(pattern.args):
            mask = pattern.op is select and i == 0 and isinstance(arg, Variable)
            yield from [(arg.name, "mask")] if mask else variables(arg)


def instances(rule: Rule, dtype: Any, shape: tuple[int, ...]) -> Iterator[Instance]:
    """The rule for arrays of one shape, and with each array in turn replaced by a scalar."""
    left, right = rule.sides
    kinds = dict(variables(left))
    arrays = [name for name, kind in kinds.items() if kind != "axis"]
    reduces = "axis" in kinds.values()
    scalars = [None, *arrays] if shape and len(arrays) > 1 and not reduces else [None]
    axes = range(len(shape)) if reduces else [None]
    for scalar, axis in itertools.product(scalars, axes):
        inputs = {}
        for i, name in enumerate(arrays):
            own = np.dtype(bool) if kinds[name] == "mask" else np.dtype(dtype)
            inputs[name] = parameter(i, Type(() if name == scalar else shape, own))
        axis_name = {name: axis for name, kind in kinds.items() if kind == "axis"}
        bound = {**inputs, **axis_name}
        whole_left = instantiate(left, bound)
        yield Instance(whole_left, fit(instantiate(right, bound), whole_left.type), inputs)


def draw(rule: Rule, inputs: Mapping[str, Expr]) -> dict[str, np.ndarray]:
    """Numbers of both signs with an absolute value around 1."""
    draws = generator(rule)
    found = {}
    for name, node in inputs.items():
        size = draws.uniform(0.4, 2.0, node.shape) * draws.choice([-1, 1], node.shape)
        found[name] = (size > 0 if node.dtype == bool else size).astype(node.dtype)
    return found


SHAPES = [(), (5,), (2, 3), (2, 0)]
UNITS = 16
"""How many units in the last place the two sides of an inexact equation may be apart."""


@pytest.mark.parametrize("rule", EQUATIONS, ids=str)
def test_equations_hold(rule, subtests):
    """To many digits; the right side is a few units off in double and in single precision."""
    with jax.enable_x64(True):
        for shape in SHAPES:
            if not shape and "axis" in dict(variables(rule.sides[0])).values():
                continue
            doubles = instances(rule, np.float64, shape)
            singles = instances(rule, np.float32, shape)
            for double, single in zip(doubles, singles, strict=True):
                values = draw(rule, single.inputs)
                wide = {node: values[n].astype(node.dtype) for n, node in double.inputs.items()}
                narrow = {single.inputs[n]: v for n, v in values.items()}
                with subtests.test(shape=shape, types=str(double.left)):
                    nodes = (*double.inputs.values(),)
                    exact = evaluate_exactly(
                        walk.Graph(nodes, (double.left,)), [wide[n] for n in nodes], 40
                    )
                    left = np.asarray(exact[0], np.float64)
                    (right,) = values_of([double.right], wide)
                    (short,) = values_of([single.right], narrow)
                    assert left.shape == right.shape == short.shape
                    assert units_apart(right, left) <= UNITS
                    assert units_apart(short, left) <= UNITS


SPECIAL = [0.0, -0.0, 1.0, -1.5, 3e-3, -2.5e7, np.inf, -np.inf, np.nan]


def special_instance(rule: Rule, dtype: Any, special: Sequence[Any]) -> tuple[Instance, Any]:
    """The rule for vectors that hold every combination of special values."""
    scalars = next(instances(rule, dtype, ())).inputs
    pools = [[True, False] if node.dtype == bool else special for node in scalars.values()]
    columns = [np.array(c) for c in zip(*itertools.product(*pools), strict=True)]
    instance = next(instances(rule, dtype, columns[0].shape))
    nodes = instance.inputs.values()
    return instance, {n: c.astype(n.dtype) for n, c in zip(nodes, columns, strict=True)}


EXACT_EQUATIONS = [r for r in EQUATIONS if r.exact]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", EXACT_EQUATIONS, ids=str)
def test_exact_equations_keep_every_bit(rule, dtype):
    with jax.enable_x64(True):
        instance, values = special_instance(rule, dtype, SPECIAL)
        same_bits(*values_of([instance.right, instance.left], values))


def numbers(pattern: Any) -> Iterator[float]:
    if isinstance(pattern, Pattern):
        for arg in pattern.args:
            yield from numbers(arg)
    elif not isinstance(pattern, Variable):
        yield pattern


def representable(number: float, dtype: Any) -> bool:
    info = np.iinfo(dtype)
    return float(number).is_integer() and info.min <= number <= info.max


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("rule", EXACT_EQUATIONS, ids=str)
def test_exact_equations_hold_for_integers(rule, dtype):
    """Also where those wrap around; a rule whose numbers the dtype does not have cannot fire."""
    info = np.iinfo(dtype)
    wanted = {info.min, info.min + 1, -7, -2, -1, 1, 2, 3, 100, info.max}
    pool = [n for n in sorted(wanted) if representable(n, dtype)]
    if all(representable(n, dtype) for n in numbers(rule.sides[0])):
        instance, values = special_instance(rule, dtype, pool)
        if rule.rewrite(instance.left) is None:
            return  # its guard knows better
        same_bits(*values_of([instance.right, instance.left], values))


EXTREME = [0.0, -0.0, 1e-30, -1e-30, 90.0, -90.0, 1e3, -1e3, 1e30, -1e30, np.inf, -np.inf]


@pytest.mark.parametrize("rule", EQUATIONS, ids=str)
def test_finite_values_stay_finite(rule):
    """Where the left side is finite the right side has its value; a nan in an input stays."""
    if "axis" in dict(variables(rule.sides[0])).values():
        return
    instance, values = special_instance(rule, np.float32, EXTREME)
    left, right = values_of([instance.left, instance.right], values)
    finite = np.isfinite(left)
    close = np.isclose(right, left, rtol=1e-6, atol=1e-7)
    if not close[finite].all():
        inputs = tuple(values)
        graph = walk.Graph(inputs, (instance.left,))
        (exact,) = evaluate_exactly(graph, [values[i] for i in inputs], 40)
        truth = np.array([float(e) for e in exact.flat]).reshape(exact.shape)
        with np.errstate(invalid="ignore"):
            close |= np.abs(right - truth) <= np.abs(left - truth)
    assert close[finite].all()
    assert not np.any(np.isnan(right) & ~np.isnan(left))
    instance, values = special_instance(rule, np.float32, [np.nan])
    (right,) = values_of([instance.right], values)
    assert np.isnan(right).all()


# Every rule: where it fires


@dataclass(frozen=True)
class Program:
    """A function in which a rule fires.

    Attributes:
        rule: the rule.
        fun: a function of arrays.
        operands: what to call it with.
        derivative: the rule fires in the gradient.
    """

    rule: Rule
    fun: Callable[..., Any]
    operands: tuple[Operand, ...]
    derivative: bool = False

    def __str__(self) -> str:
        return self.rule.name

    def args(self, real: Any = np.float64) -> tuple[np.ndarray, ...]:
        draws = generator(self)
        return tuple(o.draw(draws, real) for o in self.operands)

    def graph(self) -> sg.Graph:
        traced = sg.trace(self.fun, *self.args())
        if self.rule.derivatives_only:
            return as_derivative(traced)
        return traced.simplify().grad() if self.derivative else traced


def as_derivative(graph: sg.Graph) -> sg.Graph:
    """The same graph, as if differentiation had made its nodes."""
    made = {n: walk.Origin(backward=True) for n in graph.nodes if n.args}
    return sg.Graph(graph.inputs, graph.outputs, graph.names, made)


def fires(rule: Rule, fun: Callable[..., Any], *operands: Any, **facts: Any) -> Program:
    """A bare tuple is the shape of normal numbers; no operands: one array."""
    given = tuple(o if isinstance(o, Operand) else Operand(shape=o) for o in operands or ((3, 4),))
    return Program(rule, fun, given, **facts)


REGULAR = Operand(
    lambda generator, shape: generator.uniform(-0.5, 0.5, shape) + 2 * np.eye(shape[-1]), (3, 3)
)
_solved = jnp.linalg.solve


def _factor(a: Any) -> Any:
    return jnp.linalg.cholesky(a @ a.T)


def _whitened(a: Any, b: Any) -> Any:
    return jax.scipy.linalg.solve_triangular(_factor(a), b, lower=True)


def _integers(low: int, high: int, shape: Any) -> Operand:
    return Operand(whole(low, high), shape, np.int32)


def _expand(x: Any, axis: int) -> Any:
    return lax.expand_dims(x, (axis,))


def _guarded(x: Any) -> Any:
    """The maximum along the rows, as careful code subtracts it."""
    top = jnp.max(x, 1, keepdims=True)
    return lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))


def _naive_softmax(x: Any) -> Any:
    return jnp.exp(x) / jnp.exp(x).sum(1, keepdims=True)


def _naive_log_softmax(x: Any) -> Any:
    return x - jnp.log(jnp.exp(x).sum(1, keepdims=True))


def _cross_entropy(labels: Any, x: Any) -> Any:
    return -jnp.sum(jax.nn.one_hot(labels, 4, dtype=x.dtype) * jax.nn.log_softmax(x))


def _maybe_masked(x: Any) -> Any:
    """Large negative numbers are masked, of which there happen to be none."""
    return jnp.where(x > -100, x, -jnp.inf)


LABELS = _integers(-1, 4, (3,))
SMALL = Operand(between(-0.5, 0.5), (3, 4))


def variance_in_one_pass(x):
    return jnp.mean(x**2, 1) - jnp.mean(x, 1) ** 2


MIDDLE = Operand(between(0.3, 2.0), (3, 4))
HALF = Operand(between(0.1, 0.6), (3, 4))
LARGE = Operand(between(1.1, 3.0), (3, 4))
RATE = Operand(between(0.1, 2.0), ())
MIDDLE_VECTOR = Operand(between(0.3, 2.0), (4,))


def _rebuilt(a: Any, function: Any) -> Any:
    w, v = jnp.linalg.eigh(a)
    return (v * function(w)) @ v.T


def _by_diagonal(a: Any, function: Any) -> Any:
    w, v = jnp.linalg.eigh(a)
    return v @ jnp.diag(function(w)) @ v.T


def _from_singular_values(x: Any) -> Any:
    u, s, vh = jnp.linalg.svd(x, full_matrices=False)
    return (u * s) @ vh


def _nearest_rotation(x: Any) -> Any:
    u, _, vh = jnp.linalg.svd(x, full_matrices=False)
    return u @ vh


def _radius(x: Any, y: Any) -> Any:
    return jnp.sqrt(x**2 + y**2)


def _angle_by_lengths(x: Any, y: Any) -> Any:
    lengths = jnp.linalg.norm(x, axis=1) * jnp.sqrt(jnp.sum(y * y, 1))
    return jnp.arccos(jnp.clip(jnp.sum(x * y, 1) / lengths, -1, 1))


def _angle(x: Any, y: Any) -> Any:
    return jnp.arctan2(y, x)


PROGRAMS = [
    fires(
        angles.angle_between_unit_vectors,
        lambda x, y: jnp.arccos(jnp.sqrt(jax.nn.softmax(x)) @ jnp.sqrt(jax.nn.softmax(y))),
        (3,),
        (3,),
    ),
    fires(
        angles.angle_between_unit_vectors,
        lambda x, y: jnp.arccos(x / jnp.linalg.norm(x) @ (y / jnp.linalg.norm(y))),
        (3,),
        (3,),
    ),
    fires(
        blocks.comparison_of_bounded_integers, lambda x: jnp.where(jnp.arange(3) < 0, 1.0, x), (3,)
    ),
    fires(
        blocks.counting_in_another_type,
        lambda x: x * jnp.arange(3, dtype=np.int8).astype(np.int32).astype(x.dtype),
        (3,),
    ),
    fires(blocks.entries_of_the_diagonal, lambda x: x[jnp.arange(3), jnp.arange(3)], (3, 3)),
    fires(
        blocks.diagonal_from_entries,
        lambda x: jnp.zeros((3, 3), x.dtype).at[jnp.arange(3), jnp.arange(3)].add(x),
        (3,),
    ),
    fires(
        blocks.sum_of_blocks_side_by_side,
        lambda x, y: jnp.pad(x, (0, 4)) + jnp.pad(y, (5, 0)) + jnp.pad(y, (3, 2)),
        (3,),
        (2,),
    ),
    fires(
        blocks.blocks_of_zeros_around,
        lambda x: jnp.concatenate([jnp.zeros((2, 4), x.dtype), x, jnp.zeros((1, 4), x.dtype)]),
    ),
    fires(
        blocks.zeros_around_zeros,
        lambda x: jnp.pad(jnp.pad(x, ((1, 0), (0, 2))), ((0, 1), (3, 0))),
    ),
    fires(
        blocks.product_with_zeros_around,
        lambda x, y: jnp.pad(x, ((1, 0), (2, 1))) @ y,
        (3, 4),
        (7, 2),
    ),
    fires(
        blocks.product_with_stacked_blocks,
        lambda x, y: (
            jnp.concatenate([jnp.pad(x, ((0, 0), (0, 3))), jnp.pad(x, ((0, 0), (3, 0)))]) @ y
        ),
        (3, 4),
        (7, 2),
    ),
    fires(algebra.adding_zero, lambda x: x + 0.0),
    fires(algebra.adding_minus_zero, lambda x: x + -0.0),
    fires(algebra.subtracting_zero, lambda x: x - 0.0),
    fires(algebra.subtracting_from_zero, lambda x: 0.0 - x),
    fires(algebra.multiplying_by_one, lambda x: 1.0 * x),
    fires(algebra.multiplying_by_minus_one, lambda x: x * -1.0),
    fires(algebra.dividing_by_one, lambda x: x / 1.0),
    fires(algebra.double_negation, lambda x: jnp.negative(-x)),
    fires(algebra.adding_a_negative, lambda x, y: x + (-y), (3,), (3,)),
    fires(algebra.subtracting_a_negative, lambda x, y: x - (-y), (3,), (3,)),
    fires(algebra.subtracting_from_a_negative, lambda x, y: -x - y, (3,), (3,)),
    fires(algebra.negating_a_difference, lambda x, y: -(x - y), (3,), (3,)),
    fires(algebra.negative_factor, lambda x, y: y * (-x), (3,), (3,)),
    fires(algebra.negative_numerator, lambda x, y: -x / y, (3, 4), MIDDLE),
    fires(algebra.negative_denominator, lambda x, y: x / -y, (3, 4), MIDDLE),
    fires(algebra.selecting_between_equals, lambda x: jnp.where(x > 0, x, x)),
    fires(algebra.larger_of_equals, lambda x: jnp.maximum(x, x)),
    fires(algebra.smaller_of_equals, lambda x: jnp.minimum(x, x)),
    fires(algebra.at_least_minus_infinity, lambda x: jnp.maximum(-jnp.inf, x)),
    fires(algebra.fold_constants, lambda x: x * (jnp.asarray(2.0, x.dtype) + 1.0)),
    fires(algebra.logarithm_of_one, lambda x: x + jnp.log(jax.nn.softmax(x, 1).sum(1))[:, None]),
    fires(algebra.fold_conversion, lambda x: x * jnp.full((3, 4), 3, np.int32).astype(x.dtype)),
    fires(
        algebra.convert_to_same_type,
        lambda x: x * jnp.where(x > 0, 1.0, 0.0).astype(x.dtype),
    ),
    fires(
        algebra.multiplying_by_a_quotient_of_constants,
        lambda x: x * (jnp.asarray(1.0, x.dtype) / jnp.asarray(3.0, x.dtype)),
    ),
    fires(algebra.scale_out_of_product, lambda x, y: (0.3 * x) * y, (3,), (3,)),
    fires(algebra.scale_out_of_quotient, lambda x, y: (x / 3.0) / y, (3, 4), MIDDLE),
    fires(algebra.scale_out_of_linear, lambda x: jnp.sum(0.3 * x, 1)),
    fires(algebra.sign_out_of_linear, lambda x: (-x).T),
    fires(algebra.scale_of_scale, lambda x: 0.3 * (x * 0.7)),
    fires(algebra.common_scale, lambda x, y: x / 3.0 - y / 3.0, (3,), (3,)),
    fires(algebra.sum_of_equals, lambda x: x + x),
    fires(algebra.common_factor, lambda x, y, z: x * z - z * y, (3,), (3,), (3,)),
    fires(
        shape.broadcast_to_same_shape,
        lambda x: jnp.sum(jnp.broadcast_to(x, (5, 3, 4)), 0),
    ),
    fires(
        shape.broadcast_of_broadcast,
        lambda x: jnp.broadcast_to(jnp.broadcast_to(x, (2, 3, 4)), (5, 2, 3, 4)),
    ),
    fires(shape.broadcast_of_unit_axes, lambda x: jnp.broadcast_to(_expand(x, 1), (3, 5, 4))),
    fires(shape.reshape_of_reshape, lambda x: x.reshape(12).reshape(2, 6)),
    fires(
        shape.reshape_of_repeated_unit_axes,
        lambda x: lax.broadcast_in_dim(x, (1, 3, 4), (1, 2)).reshape(12),
    ),
    fires(shape.reshape_of_uniform, lambda x: x + jnp.full((2, 6), x[0, 0]).reshape(3, 4)),
    fires(shape.transpose_of_transpose, lambda x: x.T.T),
    fires(shape.transpose_of_product, lambda x, y: (x @ y).T, (2, 3), (3, 4)),
    fires(shape.product_of_transposes, lambda x, y: x.T @ y, (3, 2), (3, 4)),
    fires(shape.sum_over_no_entries_to_add, lambda x: jnp.sum(x, 1), (3, 1)),
    fires(shape.sum_of_sum, lambda x: jnp.sum(jnp.sum(x, 1), 0), (2, 3, 4)),
    fires(shape.sum_of_repeated, lambda x: jnp.sum(jnp.broadcast_to(x, (5, 3, 4)), (0, 2))),
    fires(shape.scalars_reach_every_entry, lambda x: x * jnp.full((3, 4), x[0, 0])),
    fires(
        shape.one_value_everywhere,
        lambda x: jnp.sin(jnp.full((3, 4), x[0, 0])) * jnp.full((3, 4), 2.0),
    ),
    fires(shape.compute_before_repeating, lambda x: jnp.exp(jnp.broadcast_to(x, (5, 3, 4)))),
    fires(shape.scale_before_repeating, lambda x: 0.3 * jnp.broadcast_to(jnp.sum(x, 0), (3, 4))),
    fires(
        shape.counting_is_one_dimensional, lambda x: x * lax.broadcasted_iota(x.dtype, (3, 4), 1)
    ),
    fires(
        shape.convert_of_convert,
        lambda x: x.astype(np.float16).astype(np.float32).astype(x.dtype),
        Operand(whole(-3, 3)),
    ),
    fires(
        shape.reduction_in_half_precision,
        lambda x: jnp.sum(x.astype(jnp.bfloat16), 1).astype(x.dtype),
        Operand(whole(-3, 3)),
    ),
    fires(
        shape.reduction_in_half_precision,
        lambda x: jnp.prod(x.astype(jnp.bfloat16), 1).astype(x.dtype),
        Operand(whole(-3, 3)),
    ),
    fires(shape.slice_of_everything, lambda x: lax.slice(x, (0, 0), (3, 4))),
    fires(shape.slice_of_slice, lambda x: x[1:, ::2][1:, 1:]),
    fires(shape.slice_of_concatenate, lambda x: jnp.concatenate([x, 2 * x])[4:6]),
    fires(shape.slice_before_computing, lambda x: jnp.sin(jnp.concatenate([x, 2 * x], 1))[:, 4:]),
    fires(shape.pad_by_nothing, lambda x: lax.pad(x, x[0, 0], ((0, 0, 0), (0, 0, 0)))),
    fires(shape.concatenate_one, lambda x: jnp.concatenate([x, x[:0]])),
    fires(shape.reverse_of_running, lambda x: jnp.cumsum(x[::-1])[::-1], (5,)),
    fires(shape.reverse_of_reverse, lambda x: lax.rev(lax.rev(x, (0, 1)), (0, 1))),
    fires(kinks.kinks_of_a_sum, lambda x, y: jnp.maximum(x, y) + jnp.minimum(y, x), (3,), (3,)),
    fires(
        kinks.kinks_of_a_sum,
        lambda x: jnp.exp(-jnp.maximum(x, 1.0)) + jnp.exp(-jnp.minimum(x, 1.0)),
        (3,),
    ),
    fires(kinks.kinks_of_a_product, lambda x, y: jnp.abs(x) * (y * jnp.sign(x)), (3,), (3,)),
    fires(kinks.kinks_of_a_product, lambda x: jnp.sign(x) * jnp.log1p(jnp.abs(x)), (3,)),
    fires(kinks.even_power_of_absolute_value, lambda x: jnp.abs(x) ** 4),
    fires(
        moments.moment_in_half_precision,
        lambda x: variance_in_one_pass(x.astype(jnp.bfloat16)).astype(x.dtype),
        Operand(whole(-3, 3), (3, 4)),
    ),
    fires(moments.sums_of_products, lambda x: jnp.mean(x**2, 1) - jnp.mean(x, 1) ** 2),
    fires(
        moments.sums_of_products,
        lambda x, y: jnp.sum(x**2, 1)[:, None] + jnp.sum(y**2, 1) - 2 * x @ y.T,
        (3, 4),
        (5, 4),
    ),
    fires(
        moments.sums_of_products,
        lambda x: x @ x.T / 4 - jnp.outer(jnp.mean(x, 1), jnp.mean(x, 1)),
    ),
    fires(cancel.difference_of_functions, lambda x: jnp.sqrt(x + 1) - jnp.sqrt(x), MIDDLE),
    fires(powers.difference_of_equal_powers, lambda x, y: x**4 - y**4, (3,), (3,)),
    fires(powers.squares_with_common_terms, lambda x, y: (x + y) ** 2 - (x - y) ** 2, (3,), (3,)),
    fires(
        powers.like_terms_of_opposite_sign,
        lambda x, y, z: (x + y + z) / 2 - x,
        (3,),
        (3,),
        (3,),
    ),
    fires(powers.powers_with_common_terms, lambda x, y: (x + y) ** 6 - x**6, (3,), (3,)),
    fires(fractions.sum_of_fractions, lambda x: 1 / (x + 1) - 2 / x + 1 / (x - 1), LARGE),
    fires(hyperbolic.opposite_exponentials, lambda x: (jnp.exp(x) - jnp.exp(-x)) / 2),
    fires(hyperbolic.arcsinh_from_logarithm, lambda x: jnp.log(x + jnp.sqrt(x**2 + 1))),
    fires(hyperbolic.arcsinh_of_minus_from_logarithm, lambda x: jnp.log(jnp.sqrt(x**2 + 1) - x)),
    fires(hyperbolic.arctanh_from_logarithm, lambda x: jnp.log((1 + x) / (1 - x)), SMALL),
    fires(cancel.difference_of_functions, lambda x: 1 - jax.nn.sigmoid(x)),
    fires(cancel.difference_of_functions, lambda x: x * (jnp.tanh(x) - 1)),
    fires(cancel.difference_of_functions, lambda x: 3 * (1 + jnp.tanh(x))),
    fires(cancel.difference_of_functions, lambda x: 2 * lax.erf(x) - 2),
    fires(cancel.difference_of_functions, lambda x: 1 - jax.scipy.stats.norm.cdf(x)),
    fires(cancel.difference_of_functions, lambda x: 2 * jax.scipy.stats.norm.cdf(x) - 1),
    fires(cancel.difference_of_functions, lambda x: 1 - 2 * jax.nn.sigmoid(x)),
    fires(cancel.exp_from_expm1, lambda x: jnp.expm1(x) + 1),
    fires(
        growth.quotient_of_exponentials,
        lambda x, c: (c * jnp.exp(x) - 1) / (c + 2 * jnp.exp(x)),
        (3, 4),
        MIDDLE,
    ),
    fires(
        growth.quotient_by_several_exponentials,
        lambda x: 1 / (jnp.exp(x) + jnp.exp(1 - x) + 2),
    ),
    fires(
        growth.quotient_of_exponentials,
        lambda x, c: 3 * c * jnp.exp(x) / (3 + c * (jnp.exp(x) - 1)),
        (3, 4),
        MIDDLE,
    ),
    fires(divided.divided_difference, lambda x, y: (jnp.exp(x) - jnp.exp(y)) / (x - y), (3,), (3,)),
    fires(
        divided.divided_difference,
        lambda a, b, t: a / (a - b) * (jnp.exp(-b * t) - jnp.exp(-a * t)),
        (),
        (),
        (3,),
    ),
    fires(
        divided.divided_difference,
        lambda x, y, p: (x**p - y**p) / (x - y),
        MIDDLE,
        MIDDLE,
        MIDDLE,
    ),
    fires(
        divided.divided_difference, lambda x, y: (jnp.sqrt(x) - jnp.sqrt(y)) / (x - y), (3,), (3,)
    ),
    fires(divided.divided_difference, lambda x, y: (x**3 - y**3) / (x - y), (3,), (3,)),
    fires(divided.divided_difference, lambda x, h: (1 / (x + h) - 1 / x) / h, (3,), (3,)),
    fires(
        divided.divided_difference,
        lambda x: (x - 1.5 * x[0]) / jnp.log(x / (1.5 * x[0])),
        MIDDLE,
    ),
    fires(
        averages.difference_of_averages,
        lambda k, x: (x**k - (2 * x) ** k) / k,
        MIDDLE,
        MIDDLE,
    ),
    fires(
        averages.difference_of_averages,
        lambda q, z: (1 - jnp.sum(jax.nn.softmax(z) ** q)) / (q - 1),
        (),
        (4,),
    ),
    fires(
        averages.logarithm_of_average,
        lambda k, x: jnp.log(jnp.mean(jnp.exp(k * x))) / k,
        (),
        (4,),
    ),
    fires(averages.power_of_average, lambda k, x: jnp.mean(x**k) ** (1 / k), (), MIDDLE),
    fires(divided.inverse_of_a_limit, lambda k, n: k / (1 - (1 + k) ** -n), MIDDLE, MIDDLE),
    fires(growth.quotient_of_exponentials, lambda x, c: c / (c + jnp.exp(x)) ** 2, (3, 4), MIDDLE),
    fires(growth.quotient_of_exponentials, lambda x: (jnp.exp(2 * x) + 1) / (jnp.exp(2 * x) - 1)),
    fires(growth.quotient_by_expm1, lambda x, y: x**3 / (y * (jnp.exp(x / y) - 1)), (3, 4), MIDDLE),
    fires(
        growth.quotient_by_expm1,
        lambda x, y: y * jnp.exp(x) / (jnp.exp(x) - 1) ** 2,
        MIDDLE,
        (3, 4),
    ),
    fires(growth.factor_of_quotient_by_expm1, lambda x, y: x * (2 / jnp.expm1(y)), (3, 4), MIDDLE),
    fires(growth.quotient_by_sinh, lambda x, y: 3 * y / jnp.sinh(x), (3,), (3,)),
    fires(growth.quotient_by_sinh, lambda x: 1 / jnp.sinh(x) ** 2),
    fires(
        growth.exponential_times_lorentzian,
        lambda x: jnp.sum(jnp.arctan(jnp.exp(3 * x))),
        derivative=True,
    ),
    fires(hyperbolic.coth_from_quotient, lambda x: jnp.cosh(x) / jnp.sinh(x)),
    fires(nearly_equal.power_of_nearly_one, lambda r, n: 3 * (1 + r) ** n - 3, MIDDLE, (3, 4)),
    fires(entropy.power_times_its_log, lambda x: x**2 * jnp.log(x), MIDDLE),
    fires(entropy.power_times_its_log, lambda x, c: c * x**3 * jnp.log(x**2), (3, 4), (3, 4)),
    fires(entropy.power_times_its_log, lambda x: jnp.sum(x**2) * jnp.log(jnp.sum(x**2)), (4,)),
    fires(growth.exponential_over_itself, lambda x, y: x / jnp.exp(y) * jnp.exp(y), (3,), (3,)),
    fires(growth.exponential_times_logistic, lambda x: 3 * jnp.exp(x) / (1 + jnp.exp(x))),
    fires(hyperbolic.tanh_from_quotient, lambda x: jnp.sinh(x) / jnp.cosh(x)),
    fires(ranges.tanh_from_expm1, lambda x: (jnp.exp(x) - 1) / (jnp.exp(x) + 1)),
    fires(
        ranges.tanh_from_hyperbolic_quotient,
        lambda x: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x)),
    ),
    fires(ranges.log_of_one_plus_square, lambda x: jnp.log1p(x**2)),
    fires(ranges.log_of_one_plus_square, lambda x: jnp.log1p(x * x / 3)),
    fires(ranges.quotient_by_one_plus_square, lambda x: x / (1 + x**2)),
    fires(ranges.quotient_by_one_plus_square, lambda x: 3 * x / (2 + 5 * x**2)),
    fires(ranges.square_of_a_root, lambda x: jnp.sqrt(x) ** 2, MIDDLE),
    fires(
        ranges.product_from_sum_of_logarithms,
        lambda x, y: jnp.exp(jnp.log(x) - jnp.log(y)),
        *(MIDDLE, MIDDLE),
    ),
    fires(others.product_of_the_other_factors, lambda x: jnp.prod(x) / x[1], MIDDLE_VECTOR),
    fires(others.product_of_the_other_factors, lambda x: jnp.prod(x, 1) / x[:, 2], MIDDLE),
    fires(
        others.product_of_others_from_logarithms,
        lambda x: jnp.exp(jnp.sum(jnp.log(x), 0) - jnp.log(x)),
        MIDDLE,
    ),
    fires(
        homogeneous.exponentials_relative_to_the_largest,
        lambda x, w: w * jnp.exp(x) / jnp.sum(w * jnp.exp(x), axis=-1, keepdims=True),
        (3, 4),
        (4,),
    ),
    fires(
        homogeneous.exponentials_relative_to_the_largest,
        lambda x: jnp.sum(jnp.where(x > 0, 0, jnp.exp(x))) ** 2 / jnp.sum(jnp.exp(x) ** 2),
    ),
    fires(weights.sech_from_reciprocal, lambda x: 2 / (3 * jnp.cosh(x))),
    fires(
        weights.logistic_from_weighted_exponentials,
        lambda x: 3 * jnp.exp(x) / (2 * jnp.exp(x) + 5),
    ),
    fires(
        weights.mean_weighted_by_exponentials,
        lambda x, y: jnp.exp(x) @ y / jnp.sum(jnp.exp(x), 1, keepdims=True),
        *((3, 4), (4, 2)),
    ),
    fires(
        weights.mean_weighted_by_exponentials,
        lambda x, y: jnp.sum(jnp.exp(x) * y) / jnp.sum(jnp.exp(x)),
        *((4,), (4,)),
    ),
    fires(quotients.division_by_a_power, lambda x, y: y / x**2, MIDDLE, MIDDLE),
    fires(quotients.division_by_a_power, lambda x: x[0] * x[1] / (x @ x), MIDDLE_VECTOR),
    fires(
        quotients.cosine_of_an_angle,
        lambda x, y: x @ y / (jnp.linalg.norm(x) * jnp.linalg.norm(y)),
        *(MIDDLE_VECTOR, MIDDLE_VECTOR),
    ),
    fires(
        quotients.cosine_of_an_angle,
        lambda x, y: jnp.sum(x * y, 1) / jnp.linalg.norm(y, axis=1),
        *(MIDDLE, MIDDLE),
    ),
    fires(angles.angle_between_unit_vectors, _angle_by_lengths, (3, 4), (3, 4)),
    fires(quotients.root_of_a_product, lambda x, y: jnp.sqrt(x * y), MIDDLE, MIDDLE),
    fires(quotients.root_of_a_difference, lambda x, y: jnp.sqrt(x**2 - y / 10), MIDDLE, SMALL),
    fires(quotients.share_of_a_sum, lambda x, y: x / (x + y), MIDDLE, MIDDLE),
    fires(quotients.product_over_a_sum, lambda x, y: x * y / (x + y), MIDDLE, MIDDLE),
    fires(quotients.softsign_from_quotient, lambda x: x / (1 + jnp.abs(x))),
    fires(quotients.quotient_by_hypotenuse, lambda x: x / jnp.sqrt(1 + x**2)),
    fires(ranges.saturating_quotient, lambda x: x**3 / (2.0 + x**3), MIDDLE),
    fires(ranges.product_from_logarithms, lambda x: jnp.exp(jnp.sum(jnp.log(x), 1)), MIDDLE),
    fires(others.product_of_the_other_factors, lambda x: jnp.prod(x, 1)[:, None] / x, MIDDLE),
    fires(lift.logistic_from_reciprocal, lambda x: 1 / (1 + jnp.exp(-x))),
    fires(lift.logistic_of_minus_from_reciprocal, lambda x: 1 / (jnp.exp(x) + 1)),
    fires(ranges.weighted_by_logistic, lambda x, y: y / (1 + jnp.exp(-x)), (3,), (3,)),
    fires(ranges.weighted_by_logistic_of_minus, lambda x, y: y / (1 + jnp.exp(x)), (3,), (3,)),
    fires(lift.logistic_from_ratio, lambda x: jnp.exp(x) / (1 + jnp.exp(x))),
    fires(lift.logistic_of_minus_from_ratio, lambda x: jnp.exp(-x) / (1 + jnp.exp(-x))),
    fires(lift.logistic_from_tanh, lambda x: 0.5 * (jnp.tanh(x * 0.5) + 1)),
    fires(lift.logistic_from_tanh_of_half, lambda x: (jnp.tanh(x / 2) + 1) / 2),
    fires(lift.softplus_from_log, lambda x: jnp.log(1 + jnp.exp(x))),
    fires(lift.softplus_from_log1p, lambda x: jnp.log1p(jnp.exp(x))),
    fires(lift.softplus_from_logaddexp, lambda x: jnp.logaddexp(0.0, x)),
    fires(lift.softplus_from_kinks, lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))),
    fires(lift.log_of_logistic, lambda x: jnp.log(jax.nn.sigmoid(x))),
    fires(lift.exp_minus_one, lambda x: jnp.exp(x) - 1),
    fires(lift.exp_of_minus_softplus, lambda x: jnp.exp(-jax.nn.softplus(x))),
    fires(lift.exp_of_log_softmax, lambda x: jnp.exp(jax.nn.log_softmax(x))),
    fires(
        odds.one_minus_weight_over_its_log,
        lambda x: (jax.nn.softmax(x, 0) - 1) / jax.nn.log_softmax(x, 0),
    ),
    fires(
        lift.log_softmax_of_log_softmax,
        lambda x: jax.nn.log_softmax(jax.nn.log_softmax(x, 1), 1),
    ),
    fires(lift.softmax_of_log_softmax, lambda x: jax.nn.softmax(jax.nn.log_softmax(x, 1), 1)),
    fires(lift.log_of_softmax, lambda x: jnp.log(jax.nn.softmax(x, 0))),
    fires(lift.softmax_from_ratio, _naive_softmax),
    fires(lift.softmax_from_ratio, lambda x: jnp.exp(x) / jnp.sum(jnp.exp(x))),
    fires(lift.softmax_is_shift_invariant, lambda x: _naive_softmax(x - _guarded(x))),
    fires(lift.logsumexp_from_log, lambda x: jnp.log(jnp.exp(x).sum(0))),
    fires(
        lift.logsumexp_of_shifted,
        lambda x: jnp.log(jnp.exp(x - _guarded(x)).sum(1)),
    ),
    fires(lift.shift_put_back, lambda x: jax.nn.logsumexp(x, 1)),
    fires(lift.log_softmax_from_difference, _naive_log_softmax),
    fires(
        lift.softmax_from_product,
        lambda x, y: (jnp.exp(x) * y) / jnp.exp(x).sum(1, keepdims=True),
        (3, 4),
        (3, 4),
    ),
    fires(
        lift.entry_of_each_row,
        lambda i, x: x[jnp.arange(3, dtype=i.dtype), i],
        _integers(0, 3, (3,)),
        (3, 4),
    ),
    fires(lift.row_of_identity, lambda i: jnp.eye(4)[i], _integers(0, 3, (3,))),
    fires(
        lift.log_of_picked_softmax,
        lambda i, x: jnp.log(jax.nn.softmax(x)[jnp.arange(3, dtype=i.dtype), i]),
        _integers(0, 3, (3,)),
        (3, 4),
    ),
    fires(lift.compute_before_reshaping, lambda x: jnp.log(x.reshape(12)), MIDDLE),
    fires(lift.sum_of_reshaped, lambda x: jnp.sum(x.reshape(12))),
    fires(
        lift.weighted_one_hot_sums_to_weight,
        lambda i, w: jnp.sum(jax.nn.one_hot(i, 4, dtype=w.dtype) * w[:, None], 1),
        LABELS,
        (3,),
    ),
    fires(
        lift.one_hot_from_comparison,
        lambda i: (i[:, None] == jnp.arange(4)).astype(np.float32),
        LABELS,
    ),
    fires(lift.softmax_sums_to_one, lambda x: jax.nn.softmax(x).sum(-1)),
    fires(lift.one_hot_sums_to_one, lambda i: jax.nn.one_hot(i, 4).sum(-1), LABELS),
    fires(
        lift.difference_to_one_hot,
        lambda x, i: _cross_entropy(i, x),
        (3, 4),
        LABELS,
        derivative=True,
    ),
    fires(logs.log_of_absolute_value, lambda x: jnp.log(jnp.abs(x))),
    fires(logs.log_of_absolute_value_of_absolute_value, lambda x: jnp.log(jnp.abs(jnp.abs(x)))),
    fires(logs.log_of_absolute_value_of_negative, lambda x: jnp.log(jnp.abs(-x))),
    fires(logs.log_of_positive, lambda x: jnp.log(jnp.square(1 + x**4))),
    fires(logs.log_of_function, lambda x: jnp.log(jnp.sqrt(jnp.cosh(x)))),
    fires(logs.log_of_function, lambda x: jnp.log(jnp.sinh(x)), MIDDLE),
    fires(logs.log_of_function, lambda x: jnp.log(x**-3 * x**2), MIDDLE),
    fires(logs.log_of_function, lambda x: jnp.log(x**2.5 * jnp.exp2(x)), MIDDLE),
    fires(logs.log_of_moved, lambda x: jnp.log(jnp.exp(x)[1:].T)),
    fires(logs.log_of_extremum, lambda x: jnp.log(jnp.max(jnp.exp(x), 1))),
    fires(logs.log_of_selected, lambda x: jnp.log(jnp.where(x > 0, jnp.exp(x), 0.0))),
    fires(logs.log_of_concatenated, lambda x: jnp.log(jnp.concatenate([jnp.exp(x), x * x]))),
    fires(logs.log_of_twice_logistic, lambda x: jnp.log(2 * jax.nn.sigmoid(x))),
    fires(logs.log_of_product, lambda x, y: jnp.log(jnp.exp(x) * y / jnp.exp(y)), (3, 4), MIDDLE),
    fires(logs.log_of_product, lambda x: jnp.log(x * x**3)),
    fires(logs.log_of_product_over_axes, lambda x: jnp.log(jnp.prod(x, 0) ** 2)),
    fires(logs.log_of_product_over_axes, lambda x: jnp.log(jnp.prod(x, 1)), MIDDLE),
    fires(logs.log_of_running_sum, lambda x: jnp.log(jnp.cumsum(jnp.exp(x), 1))),
    fires(logs.log_of_running_product, lambda x: jnp.log(jnp.cumprod(x, 0)), MIDDLE),
    fires(logs.log_of_sum, lambda x, y: jnp.log(jnp.exp(x) + 3 * jnp.exp(y)), (3, 4), (3, 4)),
    fires(logs.log_of_sum, lambda x: jnp.log(1 - jnp.exp(-x)), MIDDLE),
    fires(logs.log_of_twice_logistic, lambda x: jnp.log(1 - jnp.tanh(x))),
    fires(
        logs.log_of_sum,
        lambda x, w: jnp.log(w * jnp.exp(x) + (3 - w) * jnp.exp(-x)),
        (3, 4),
        MIDDLE,
    ),
    fires(logs.log1p_of_exponential, lambda x: jnp.log1p(jnp.tanh(x))),
    fires(logs.log1p_of_exponential, lambda x: jnp.log1p(-jax.nn.sigmoid(x))),
    fires(logs.log_of_expm1, lambda x: jnp.log(jnp.exp(x) - 1), MIDDLE),
    fires(logs.log_of_sum_over_axes, lambda x: jnp.log(jnp.sum(2 * jnp.exp(x), (0, 1)))),
    fires(logs.log_of_sum_over_axes, lambda x, w: jnp.log(jnp.exp(x) @ w), (3, 4), MIDDLE_VECTOR),
    fires(
        logs.log_of_sum_over_axes,
        lambda x, w: jnp.log(jnp.sum(w * jnp.exp(x), 0) ** 2),
        (3, 4),
        (3, 4),
    ),
    fires(odds.log_of_one_minus_weight, lambda x: jnp.log1p(-jax.nn.softmax(x)[..., :2])),
    fires(odds.one_minus_sum_of_squared_weights, lambda x: 1 - jnp.sum(jax.nn.softmax(x) ** 2, -1)),
    fires(odds.log_of_one_weight, lambda x: jnp.log(jax.nn.softmax(x)[:, 1])),
    fires(odds.entry_less_logsumexp, lambda x: x[:, 0] - jax.nn.logsumexp(x, -1)),
    fires(odds.log_of_largest_weight, lambda x: jnp.log(jnp.max(jax.nn.softmax(x), -1))),
    fires(logs.log_of_one_plus, lambda x: jnp.log(1 + x), MIDDLE),
    fires(logs.one_minus_tanh_squared, lambda x: 1 - jnp.tanh(x) ** 2),
    fires(logs.product_of_tanh_margins, lambda x: (1 - jnp.tanh(x)) * (1 + jnp.tanh(x))),
    fires(logs.sqrt_of_sech_squared, lambda x: jnp.sqrt(1 - jnp.tanh(x) ** 2)),
    fires(logs.odds_of_logistic, lambda x: jax.nn.sigmoid(x) / (1 - jax.nn.sigmoid(x))),
    fires(logs.odds_against_logistic, lambda x: jax.nn.sigmoid(-x) / jax.nn.sigmoid(x)),
    fires(logs.log_odds_of_logistic, lambda x: jax.nn.softplus(x) - jax.nn.softplus(-x)),
    fires(
        logs.logistic_of_two_classes,
        lambda x, y: jnp.exp(x) / (jnp.exp(x) + jnp.exp(y)),
        (3, 4),
        (3, 4),
    ),
    fires(entropy.weight_times_log, lambda x, y: x * jnp.log(y), (3, 4), MIDDLE),
    fires(entropy.weight_times_log, lambda x, y: x * (jnp.log1p(-y) / 3), (3, 4), HALF),
    fires(entropy.weight_times_log, lambda x, y: x * jnp.log(x / y), MIDDLE, MIDDLE),
    fires(entropy.weight_times_log, lambda x, y: x * jnp.log(y / x), MIDDLE, MIDDLE),
    fires(entropy.weight_of_weighted_log, lambda x, y: x * (x * jnp.log(y)), (3, 4), MIDDLE),
    fires(
        entropy.weight_times_difference_of_logs,
        lambda x, y: x * (jnp.log(x) - jnp.log(y)),
        MIDDLE,
        MIDDLE,
    ),
    fires(entropy.dot_with_log, lambda x, y: jnp.vdot(x, jnp.log(y)), (4,), MIDDLE_VECTOR),
    fires(entropy.log_of_entries, lambda x: jnp.log(x)[1:], MIDDLE),
    fires(masked.adding_nothing_in_the_log_domain, lambda x: jnp.logaddexp(x, -jnp.inf)),
    fires(
        masked.probability_times_its_log,
        lambda x: -jax.nn.softmax(_maybe_masked(x)) * jax.nn.log_softmax(_maybe_masked(x)),
    ),
    fires(
        masked.weight_times_masked_log,
        lambda x: jnp.eye(3, 4, 1) * jax.nn.log_softmax(_maybe_masked(x)),
    ),
    fires(
        masked.weight_times_difference_of_masked_logs,
        lambda x, y: y * (jax.nn.log_softmax(_maybe_masked(x)) - y),
        (3, 4),
        (3, 4),
    ),
    fires(dead.rows_without_weight, lambda x: jax.nn.softmax(_maybe_masked(x), 0)),
    fires(dead.rows_without_weight, lambda x: jax.nn.log_softmax(_maybe_masked(x)) ** 2),
    fires(dead.sums_without_weight, lambda x: jnp.logaddexp(_maybe_masked(x), x)),
    fires(factored.log_of_number_and_square, lambda x: jnp.log((2 + x**2) * jnp.exp(x))),
    fires(factored.log_of_squared_length, lambda x: jnp.log(jnp.sum(x**2, 1))),
    fires(
        factored.log_of_difference_of_logistics,
        lambda x: jnp.log(jax.nn.sigmoid(2 * x) - jax.nn.sigmoid(x)),
        MIDDLE,
    ),
    fires(products.log_of_plain_product, lambda x, y: jnp.log(x * y), MIDDLE, MIDDLE),
    fires(
        products.power_of_a_product_over_axes,
        lambda x: jnp.prod(x, 1) ** (1.0 / 3.0),
        MIDDLE,
    ),
    fires(quotients.power_times_a_number_far_from_one, lambda x: x**2 / 1e12),
    fires(
        quotients.ratio_of_power_sums,
        lambda x: jnp.sum(x**2, 1) ** 2 / jnp.sum(x**4, 1),
    ),
    fires(
        products.weighted_log_of_plain_product,
        lambda w, x, y: w * jnp.log(x * y),
        (3, 4),
        MIDDLE,
        MIDDLE,
    ),
    fires(products.log_of_plain_product, lambda x, y: jnp.log(jnp.sqrt(x * y)), MIDDLE, MIDDLE),
    fires(logs.log_of_function, lambda x, y: jnp.log(x**y), MIDDLE, MIDDLE),
    fires(logs.log_of_function, lambda x: jnp.log(jax.nn.softplus(x))),
    fires(tails.hazard_from_quotient, lambda x: 3 * jnp.exp(-(x**2)) / lax.erfc(x), HALF),
    fires(tails.hazard_from_quotient, lambda x: jnp.exp(x**2) * lax.erfc(x), HALF),
    fires(tails.two_minus_erfc, lambda x: 2 - lax.erfc(x)),
    fires(tails.erfc_from_branches, jax.scipy.special.ndtr),
    fires(tails.normal_distribution_from_erfc, lambda x: 0.5 * lax.erfc(x / math.sqrt(2))),
    fires(algebra.selecting_by_a_constant, lambda x: jnp.where(np.True_, x, -x)),
    fires(norms.root_of_sum_of_squares, lambda x: jnp.linalg.norm(x, axis=1)),
    fires(norms.reciprocal_root_of_sum_of_squares, lambda x: lax.rsqrt(jnp.sum(x * x, 1))),
    fires(norms.hypotenuse_by_the_larger, jnp.hypot, (3,), (3,)),
    fires(norms.guarded_hypotenuse, jnp.hypot, (3,), (3,)),
    fires(norms.direction_from_quotient, lambda x, y: y / jnp.sqrt(x * x + y * y), (3,), (3,)),
    fires(norms.root_of_square, lambda x: jnp.sqrt(x**2)),
    fires(norms.root_of_even_power, lambda x: jnp.sqrt(x**4)),
    fires(norms.power_of_one_half, lambda x: jnp.sum(x**2, 1) ** 0.5),
    fires(norms.even_power_of_length, lambda x: jnp.linalg.norm(x, axis=1) ** 2),
    fires(
        norms.coordinates_from_polar,
        lambda x, y: _radius(x, y) * jnp.cos(_angle(x, y)),
        (3,),
        (3,),
    ),
    fires(
        norms.coordinates_from_polar,
        lambda x, y: 2 * _radius(x, y) * y * jnp.sin(_angle(x, y)),
        (3,),
        (3,),
    ),
    fires(spectral.function_of_a_matrix, lambda x: _rebuilt(x @ x.T, jnp.exp), (3, 4)),
    fires(spectral.function_of_a_matrix, lambda x: _by_diagonal(x @ x.T, jnp.sqrt), (3, 4)),
    fires(
        spectral.function_of_a_matrix,
        lambda x: jax.vmap(lambda y: _rebuilt(y + y.T, jnp.tanh))(x),
        (2, 3, 3),
    ),
    fires(spectral.product_of_singular_factors, _from_singular_values),
    fires(
        spectral.function_of_a_matrix,
        lambda x: _rebuilt(x @ x.T + jnp.eye(3, dtype=x.dtype), jnp.log),
        (3, 4),
    ),
    fires(spectral.polar_factor_of_singular_vectors, _nearest_rotation),
    fires(limits.removable_singularity, lambda x: jnp.sin(x) / x),
    fires(guards.guarded_limit, lambda x: jnp.where(x == 0, 1.0, jnp.sin(x) / x)),
    fires(
        guards.guarded_limit_of_several,
        lambda a, b: jnp.where(a == b, a, (a - b) / jnp.log(a / b)),
        MIDDLE,
        MIDDLE,
    ),
    fires(
        guards.guarded_limit_of_several,
        lambda c, g: jnp.where(
            g == 1.0, jnp.log(c), (c ** (1.0 - g) - 1.0) / jnp.where(g == 1.0, 1.0, 1.0 - g)
        ),
        MIDDLE,
        RATE,
    ),
    fires(
        guards.guarded_limit_of_several,
        lambda k, x: jnp.where(
            k == 0.0, jnp.exp(jnp.mean(jnp.log(x))), jnp.mean(x**k) ** (1.0 / k)
        ),
        RATE,
        MIDDLE,
    ),
    fires(nearly_equal.cancelling_functions, lambda x: jnp.sin(x) - x),
    fires(
        parameters.limit_in_a_parameter,
        lambda k, x: jnp.sum((1.0 - jnp.exp(-k * x)) / k),
        RATE,
        (3,),
    ),
    fires(
        parameters.power_in_a_parameter,
        lambda k, x: (1.0 + k * x**2) ** (1.0 / k),
        RATE,
        (3,),
    ),
    fires(
        parameters.sum_over_a_parameter,
        lambda k, x: jnp.sum(jnp.sin(k * x)) / k,
        RATE,
        (3,),
    ),
    fires(limits.simplified_function, lambda x: jnp.sum(jnp.sin(x) / x), derivative=True),
    fires(matrix.triangle_from_comparison, lambda x: jnp.tril(x, -1) + jnp.triu(x, 1)),
    fires(
        matrix.triangle_of_a_factor,
        lambda x: jnp.linalg.cholesky(x @ x.T + 3.0 * jnp.eye(3)),
        (3, 4),
    ),
    fires(matrix.product_with_inverse, lambda a, b: jnp.linalg.inv(a) @ b, REGULAR, (3,)),
    fires(matrix.solution_for_identity, jnp.linalg.inv, REGULAR),
    fires(matrix.transposed_matrix, lambda a, b: jnp.linalg.solve(a.T, b), REGULAR, (3,)),
    fires(
        matrix.symmetric_equations,
        lambda a, b: jnp.linalg.solve((a + a.T).T, b) @ b,
        REGULAR,
        (3,),
        derivative=True,
    ),
    fires(matrix.transpose_of_symmetric, lambda a: (a @ a.T).T),
    fires(
        matrix.solution_for_multiple,
        lambda a, b: jnp.linalg.solve(a, 2 * b),
        REGULAR,
        (3,),
    ),
    fires(matrix.solution_for_one_column, lambda a, b: _solved(a, b[:, None]), REGULAR, (3,)),
    fires(matrix.inverse_of_inverse, lambda a: jnp.linalg.inv(jnp.linalg.inv(a)), REGULAR),
    fires(
        matrix.definite_matrix,
        lambda a, b: jnp.linalg.solve(sg.assume(a @ a.T, "positive_definite"), b),
        REGULAR,
        (3,),
    ),
    fires(
        matrix.determinant_of_definite,
        lambda a: jnp.linalg.slogdet(sg.assume(a @ a.T, "positive_definite"))[1],
        REGULAR,
    ),
    fires(matrix.determinant_of_transpose, lambda a: jnp.linalg.slogdet(a.T)[1], REGULAR),
    fires(matrix.determinant_by_entries, lambda a: jnp.linalg.slogdet(jnp.tril(a))[1], REGULAR),
    fires(matrix.diagonal_matrix, lambda a, b: _solved(jnp.diag(b), b), REGULAR, (3,)),
    fires(matrix.triangular_matrix, lambda a, b: _solved(jnp.tril(a), b), REGULAR, (3,)),
    fires(
        matrix.orthogonal_matrix,
        lambda a, b: _solved(sg.assume(jnp.linalg.qr(a)[0], "orthogonal"), b),
        REGULAR,
        (3,),
    ),
    fires(
        composed.inverse_by_blocks,
        lambda a, b: _solved(jax.scipy.linalg.block_diag(a, a), jnp.tile(b, 2)),
        REGULAR,
        (3,),
    ),
    fires(
        composed.determinant_by_blocks,
        lambda a: jnp.linalg.slogdet(jax.scipy.linalg.block_diag(a, -a))[1],
        REGULAR,
    ),
    fires(
        composed.product_with_kronecker,
        lambda a, b: jnp.kron(a, a.T) @ jnp.outer(b, b).ravel(),
        REGULAR,
        (3,),
    ),
    fires(
        composed.inverse_of_kronecker,
        lambda a, b: _solved(jnp.kron(a, a.T), jnp.outer(b, b).ravel()),
        REGULAR,
        (3,),
    ),
    fires(
        composed.determinant_of_kronecker,
        lambda a: jnp.linalg.slogdet(jnp.kron(a, 2 * a.T))[1],
        REGULAR,
    ),
    fires(
        composed.inverse_of_low_rank,
        lambda d, u: _solved(jnp.diag(jnp.exp(d)) + u[:, None] @ u[None], d + 1),
        *((5,), (5,)),
    ),
    fires(
        composed.length_by_low_rank,
        lambda d, u: jnp.sum(
            jax.scipy.linalg.solve_triangular(
                jnp.linalg.cholesky(jnp.diag(jnp.exp(d)) + u @ u.T), d + 1, lower=True
            )
            ** 2
        ),
        *((5,), (5, 1)),
    ),
    fires(
        composed.determinant_of_low_rank,
        lambda d, u: jnp.linalg.slogdet(jnp.diag(jnp.exp(d)) + u[:, None] @ u[None])[1],
        *((5,), (5,)),
    ),
    fires(
        determinants.log_of_determinant,
        lambda a: (lambda sign, logs: jnp.log(sign * jnp.exp(logs)))(*jnp.linalg.slogdet(a)),
        REGULAR,
    ),
    fires(cholesky.symmetric_part, lambda a: (a @ a.T + (a @ a.T).T) / 2),
    fires(
        cholesky.equations_of_a_transpose,
        lambda a, b: lax.linalg.triangular_solve(jnp.tril(a).T, b, left_side=True),
        REGULAR,
        (3, 2),
    ),
    fires(
        cholesky.solution_by_cholesky,
        lambda a, b: jax.scipy.linalg.cho_solve((_factor(a), True), b),
        REGULAR,
        (3,),
    ),
    fires(
        cholesky.quadratic_form_by_cholesky,
        lambda a, b: (lambda z: z @ z)(_whitened(a, b)),
        REGULAR,
        (3,),
    ),
    fires(
        cholesky.sum_of_squares_by_cholesky,
        lambda a, b: jnp.sum(_whitened(a, b) ** 2, 0),
        REGULAR,
        (3, 2),
    ),
    fires(
        cholesky.determinant_by_cholesky,
        lambda a: jnp.sum(jnp.log(jnp.diagonal(_factor(a)))),
        REGULAR,
    ),
    fires(
        lift.cross_entropy_of_logistic,
        lambda y, z: (1 - y) * jax.nn.sigmoid(z) - y * jax.nn.sigmoid(-z),
        (3,),
        (3,),
    ),
    fires(
        lift.likelihood_of_logistic,
        lambda y, z: y * jax.nn.sigmoid(-z) - (1 - y) * jax.nn.sigmoid(z),
        (3,),
        (3,),
    ),
]


def test_every_rule_has_a_program():
    assert {p.rule for p in PROGRAMS} == set(sg.rules)


def simplified(program: Program) -> Iterator[sg.Graph]:
    """Simplified by all rules, and by the one alone."""
    graph = program.graph()
    yield graph.simplify()
    yield graph.simplify([program.rule])


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_rule_fires_and_keeps_the_value(program, float64):
    graph = program.graph()
    versions = list(simplified(program))
    assert program.rule in {step.rule for v in versions for step in v.log.steps}
    args = program.args()
    expected = values_of(graph.outputs, dict(zip(graph.inputs, args, strict=True)))
    for version in versions:
        assert not version.log.exhausted
        assert walk.types_of(version.outputs) == walk.types_of(graph.outputs)
        found = values_of(version.outputs, dict(zip(version.inputs, args, strict=True)))
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_simplifying_again_changes_nothing(program, float64):
    together, alone = simplified(program)
    assert same_nodes(together.simplify(), together)
    assert same_nodes(alone.simplify([program.rule]), alone)


def same_nodes(first: sg.Graph, second: sg.Graph) -> bool:
    return all(a is b for a, b in zip(first.outputs, second.outputs, strict=True))


GRADIENTS = {
    "softmax regression": lambda w, x, i: _cross_entropy(i, x @ w),
    "squares": lambda w, x, i: jnp.mean((x @ w - 1.0) ** 2),
    "two layers": lambda w, x, i: jnp.sum(jnp.tanh(jnp.tanh(x @ w) @ w.T)) / 7,
    "naive": lambda w, x, i: jnp.mean(_naive_softmax(x @ w) * jnp.log(1 + jnp.exp(x @ w))),
    "normalised": lambda w, x, i: jnp.sum(jax.nn.standardize(x @ w) ** 3),
    "sign of reshaped": lambda w, x, i: jnp.sum(jnp.exp(-(x @ w).reshape(12))),
    "loop": lambda w, x, i: lax.fori_loop(0, 3, lambda _, y: jnp.sin(y @ w @ w.T), x).sum(),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_simplifying_a_gradient_again_changes_nothing(name, float64):
    draws = generator(name)
    w, x = draws.normal(size=(5, 4)), draws.normal(size=(3, 5))
    graph = sg.trace(GRADIENTS[name], w, x, np.array([0, 3, 1], np.int32)).grad((0, 1))
    once = graph.simplify()
    assert same_nodes(once.simplify(), once)
    assert not once.log.exhausted


@rewrites(neg, exact=True)
def _sign_inward(e: Expr) -> Expr | None:
    """-reshape(x) = reshape(-x)"""
    (x,) = e.args
    return reshape(-x.args[0], shape=e.shape) if x.op is reshape_op else None


@rewrites(reshape_op, exact=True)
def _sign_outward(e: Expr) -> Expr | None:
    """reshape(-x) = -reshape(x)"""
    (x,) = e.args
    return -reshape(x.args[0], shape=e.shape) if x.op is neg else None


def test_laws_that_undo_each_other_in_a_branch_come_to_an_end(float64):
    fun = lambda p, x: lax.cond(p, lambda x: -x.reshape(6), lambda x: x.reshape(6), x)  # noqa: E731
    x = np.arange(6.0).reshape(2, 3)
    found = sg.jit(fun, rules=[_sign_inward, _sign_outward])
    np.testing.assert_array_equal(found(True, x), -x.reshape(6))


EXACT_PROGRAMS = [p for p in PROGRAMS if p.rule.exact]


def with_special_values(array: np.ndarray) -> np.ndarray:
    """Half of the numbers become minus zero, zero, infinities and nan."""
    if not np.issubdtype(array.dtype, np.floating):
        return array
    special = np.resize([-0.0, np.inf, 0.0, -np.inf, np.nan, 1e-3], array.size)
    draws = generator(array.shape)
    return np.where(draws.random(array.shape) < 0.5, special.reshape(array.shape), array)


@pytest.mark.parametrize("special", [False, True], ids=["numbers", "special values"])
@pytest.mark.parametrize("program", EXACT_PROGRAMS, ids=str)
def test_exact_rules_keep_every_bit(program, special, float64):
    graph = program.graph()
    args = [with_special_values(a) if special else a for a in program.args()]
    values = dict(zip(graph.inputs, args, strict=True))
    changed = graph.simplify([r for r in sg.rules if r.exact])
    alone = graph.simplify([program.rule])
    for version in (changed, alone):
        pairs = zip(
            values_of(version.outputs, values), values_of(graph.outputs, values), strict=True
        )
        for got, want in pairs:
            same_bits(got, want)


def test_products_keep_their_bits_when_transposed(float32):
    """Rules about transposes and products say that they are exact: also for products of a size."""
    draws = generator("transposed")
    a, b = (draws.normal(size=s).astype(np.float32) for s in ((70, 130), (130, 50)))
    for fun in (lambda a, b: (a @ b).T, lambda a, b: (b.T @ a.T).T):
        graph = sg.trace(fun, a, b)
        changed = graph.simplify("exact")
        assert changed.log.steps
        values = dict(zip(graph.inputs, (a, b), strict=True))
        same_bits(*values_of([*changed.outputs, *graph.outputs], values))


# Where rules must not fire


INF, NAN = np.inf, np.nan


@dataclass(frozen=True)
class Trap:
    """A function whose value a careless rule would change, at a point where it would."""

    fun: Callable[..., Any]
    args: tuple[Any, ...]


def trap(fun: Callable[..., Any], *args: Any) -> Trap:
    return Trap(fun, args)


def _floats(*numbers: float, dtype: Any = np.float32) -> np.ndarray:
    return np.array(numbers, dtype)


EDGES = _floats(0.0, -0.0, 1.0, INF, -INF, NAN)
ROWS = np.arange(9, dtype=np.float32).reshape(3, 3) / 4
BIG = np.full((4,), 3e38, np.float32)

TRAPS = {
    "zero times x": trap(lambda x: 0.0 * x, EDGES),
    "x minus x": trap(lambda x: x - x, EDGES),
    "x over x": trap(lambda x: x / x, EDGES),
    "zero over x": trap(lambda x: 0.0 / x, EDGES),
    "root of square": trap(lambda x: jnp.sqrt(x * x), _floats(-2.0, 3.0, -0.0)),
    "square of root": trap(lambda x: jnp.sqrt(x) ** 2, _floats(-2.0, 3.0)),
    "exp of log": trap(lambda x: jnp.exp(jnp.log(x)), _floats(-2.0, 3.0)),
    "x over y times y": trap(lambda x: x / (1.0 - x) * (1.0 - x), _floats(1.0, 2.0)),
    "larger of nan": trap(lambda x: jnp.maximum(x, -jnp.inf), EDGES),
    "larger than nan": trap(lambda x: jnp.maximum(x, jnp.nan), EDGES),
    "x equals x": trap(lambda x: jnp.where(x == x, 1.0, 2.0), EDGES),
    "not less": trap(lambda x: ~(x < 0.0), EDGES),
    "select by nan": trap(lambda x: jnp.where(x > 0, x, -x), EDGES),
    "power to zero": trap(lambda x: x**0, EDGES),
    "reciprocal of minus zero": trap(lambda x: 1 / (x + -0.0), _floats(-0.0, 0.0)),
    "minus zero minus": trap(lambda x: 1 / (x - -0.0), _floats(-0.0, 1.0)),
    "softmax, shift along the axis": trap(lambda x: jax.nn.softmax(x - jnp.arange(3.0)), ROWS),
    "softmax, shift of rows": trap(lambda x: jax.nn.softmax(x - x[:, :1] * x[:1], 1), ROWS),
    "softmax, shift along the other axis": trap(
        lambda x: jax.nn.softmax(x - jnp.max(x, 0, keepdims=True), 1), ROWS
    ),
    "exp over sum of another axis": trap(lambda x: jnp.exp(x) / jnp.exp(x).sum(1)[None, :], ROWS),
    "exp over sum of all": trap(lambda x: jnp.exp(x) / jnp.exp(x).sum(), ROWS),
    "exp over sum of another": trap(
        lambda x: jnp.exp(x) / jnp.exp(2 * x).sum(1, keepdims=True), ROWS
    ),
    "difference to logsumexp of another axis": trap(
        lambda x: x - jax.nn.logsumexp(x, 1)[None, :], ROWS
    ),
    "difference to logsumexp of all": trap(lambda x: x - jax.nn.logsumexp(x), ROWS),
    "log of a product's sum": trap(lambda x: jnp.log((jnp.exp(x) * x).sum(1)), ROWS),
    "log of a mean": trap(lambda x: jnp.log(jnp.exp(x).mean(1)), ROWS),
    "log of a sum over two axes": trap(lambda x: jnp.log(jnp.exp(x).sum((0, 1))), ROWS),
    "softmax summed over the other axis": trap(lambda x: jax.nn.softmax(x, 1).sum(0), ROWS),
    "softmax of no entries": trap(_naive_softmax, np.zeros((2, 0), np.float32)),
    "softmax summed over no entries": trap(
        lambda x: _naive_softmax(x).sum(1), np.zeros((2, 0), np.float32)
    ),
    "logsumexp of no entries": trap(
        lambda x: jnp.log(jnp.exp(x).sum(1)), np.zeros((2, 0), np.float32)
    ),
    "one-hot of labels out of range": trap(
        lambda i: jax.nn.one_hot(i, 3).sum(1), np.array([-1, 0, 2, 3, 100])
    ),
    "one-hot summed over labels": trap(lambda i: jax.nn.one_hot(i, 3).sum(0), np.array([0, 0, 5])),
    "one-hot of fractions": trap(
        lambda x: (x[:, None] == jnp.arange(3.0)).astype(np.float32).sum(1), _floats(0.5, 1.0, 7.0)
    ),
    "one-hot by a counter from 1": trap(
        lambda i: (i[:, None] == jnp.arange(1, 4)).astype(np.float32), np.array([0, 1, 3])
    ),
    "one-hot along the other axis": trap(
        lambda i: (i[None, :] == jnp.arange(3)[:, None]).astype(np.float32), np.array([0, 1, 4])
    ),
    "one-hot of a counter against itself": trap(
        lambda x: (jnp.arange(3)[:, None] == jnp.arange(3)).astype(x.dtype) @ x, ROWS
    ),
    "scale that guards a square": trap(lambda x: jnp.sqrt(jnp.sum((x * 1e-30) ** 2)) * 1e30, BIG),
    "scale beyond 2**32": trap(lambda x, y: (x * 1e-12) * y, BIG, _floats(10, 20, 30, 1e6)),
    "scale of a sum": trap(lambda x: jnp.sum(x * 1e-12), BIG),
    "scale up and down": trap(lambda x: (x * 1e30) * 1e-30, _floats(1e-30, 1.0, 1e-8)),
    "small scale": trap(lambda x, y: (x * 0.25) * y, _floats(3e38), _floats(2.0)),
    "small scale of a sum": trap(lambda x: jnp.sum(x * 0.25), BIG),
    "positions of labels among long integers": trap(
        lambda i, x: x[jnp.arange(3), i], np.array([-1, 0, 2], np.int32), ROWS
    ),
    "mean written as sum of quotients": trap(lambda x: jnp.sum(x / 4), BIG),
    "difference of scaled": trap(lambda x, y: x / 4 + y / 4, BIG, BIG),
    "common factor": trap(lambda x, y, c: x * c + y * c, BIG, BIG, _floats(1e-3, 1, 0.25, 0.1)),
    "half precision: scale before product": trap(
        lambda x, y: (x * np.float16(1e-3)) * y,
        _floats(1000, dtype=np.float16),
        _floats(100, dtype=np.float16),
    ),
    "half precision: mean": trap(
        lambda x: jnp.sum(x / np.float16(1000)), np.full(1000, 100, np.float16)
    ),
    "half precision: sum of repeated": trap(
        lambda x: jnp.sum(jnp.broadcast_to(x, (70000,))), np.float16(1e-3)
    ),
    "sum of no entries": trap(lambda x: jnp.sum(jnp.broadcast_to(x, (0, 6)), 0), EDGES),
    "repeated infinities": trap(lambda x: jnp.sum(jnp.broadcast_to(x, (3, 6)), 0), EDGES),
    "sum of one entry": trap(lambda x: 1 / jnp.sum(x, 1), EDGES[:, None]),
    "twice": trap(lambda x: x + x, _floats(3e38, -0.0, INF)),
    "convert through a narrow type": trap(
        lambda x: x.astype(np.float16).astype(np.float32), _floats(1e5, 0.1, NAN)
    ),
    "convert through an integer": trap(
        lambda x: x.astype(np.int32).astype(np.float32), _floats(1.5, -2.5, 1e20, NAN)
    ),
    "convert through a float": trap(
        lambda i: i.astype(np.float32).astype(np.uint8), np.array([-1, 300, 7], np.int16)
    ),
    "convert through bool": trap(lambda x: x.astype(bool).astype(np.float32), EDGES),
    "literal out of range": trap(
        lambda x: x * jnp.full((2,), 3e9).astype(np.int32), np.ones(2, np.int32)
    ),
    "negative literal to unsigned": trap(
        lambda x: x + jnp.full((2,), -1.5).astype(np.uint8), np.ones(2, np.uint8)
    ),
    "nan literal to integer": trap(
        lambda x: x + jnp.full((2,), jnp.nan).astype(np.int32), np.ones(2, np.int32)
    ),
    "quotient of negated unsigned": trap(
        lambda x, y: -x // y, np.array([4, 0, 9], np.uint8), np.array([2, 3, 5], np.uint8)
    ),
    "quotient by negated unsigned": trap(
        lambda x, y: x // -y, np.array([4, 0, 200], np.uint8), np.array([2, 3, 100], np.uint8)
    ),
    "integers scaled and summed": trap(
        lambda x: jnp.sum(x * 3) // 2 * 2, np.arange(5, dtype=np.int32)
    ),
    "integers divided and multiplied": trap(lambda x: x // 3 * 3, np.arange(9, dtype=np.int32)),
    "wrap around": trap(lambda x: (x * 2) // 2, np.array([100, -100], np.int8)),
    "booleans added": trap(lambda m: m + m, np.array([True, False])),
    "empty slice of strides": trap(lambda x: x[::2][3:], np.arange(5.0, dtype=np.float32)),
    "empty slice at the end": trap(lambda x: x[1:][4:], np.arange(5.0, dtype=np.float32)),
    "slice across parts": trap(
        lambda x: jnp.concatenate([x, x * x])[2:7:2], np.arange(5.0, dtype=np.float32)
    ),
    "clamp of one value": trap(
        lambda a, b: lax.clamp(a, jnp.full((3,), 2.0, np.float32), b).sum(0),
        _floats(0, 3, 0),
        _floats(1, 4, 5),
    ),
    "reverse along other axes": trap(lambda x: jnp.flip(jnp.flip(x, 0), 1), ROWS),
    "reshape of transpose": trap(lambda x: x.T.reshape(9), ROWS),
    "reshape of repeated": trap(lambda x: jnp.broadcast_to(x[:, :1], (3, 3)).reshape(9), ROWS),
    "pad that crops": trap(lambda x: lax.pad(x, np.float32(0), ((1, -1, 0), (0, 0, 0))), ROWS),
    "pad with holes in one entry": trap(
        lambda x: lax.pad(x, np.float32(7), ((0, 0, 2),)), _floats(1.0)
    ),
    "max shift of another array": trap(
        lambda x, y: (x - jnp.max(y, 1, keepdims=True)) + jnp.max(y, 1, keepdims=True), ROWS, ROWS
    ),
    "logistic of two variables": trap(lambda x, y: jnp.exp(x) / (1 + jnp.exp(y)), ROWS, ROWS.T),
    "tanh of a third": trap(lambda x: 0.5 * (jnp.tanh(x * 0.25) + 1), ROWS),
    "cross entropy of two logits": trap(
        lambda y, z, t: (1 - y) * jax.nn.sigmoid(z) - y * jax.nn.sigmoid(-t),
        ROWS,
        ROWS.T,
        ROWS + 1,
    ),
}
"""Values that JAX has and that simplification must not change."""


REASSOCIATED = {
    "small scale",
    "small scale of a sum",
    "mean written as sum of quotients",
    "difference of scaled",
    "common factor",
    "half precision: scale before product",
}
"""Products near the largest number: in derivatives, literal factors are moved all the same."""

CASES = [(rules, name) for rules in ("default", "exact") for name in TRAPS]
CASES += [("in derivatives", name) for name in TRAPS if name not in REASSOCIATED]


@pytest.mark.parametrize(("rules", "name"), CASES)
def test_rules_do_not_fire_where_they_would_be_wrong(name, rules):
    """Where JAX's value is finite it is ours; an infinity stays one, a nan stays or gets better.

    The same holds of nodes that differentiation made, for which there are more rules.
    """
    fun, args = TRAPS[name].fun, TRAPS[name].args
    with jax.enable_x64(False):
        graph = sg.trace(fun, *args)
        derived = as_derivative(graph) if rules == "in derivatives" else graph
        changed = derived.simplify("exact" if rules == "exact" else "default")
        values = dict(zip(graph.inputs, args, strict=True))
        (want,), (got,) = (values_of(g.outputs, values) for g in (graph, changed))
        np.testing.assert_allclose(want, fun(*map(jnp.asarray, args)), rtol=1e-6)
    if rules == "exact":
        same_bits(got, want)
        return
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    known = ~np.isnan(want)
    np.testing.assert_allclose(got[known], want[known], rtol=1e-6)


WIDE_TRAPS = {
    "long integers through floats": trap(
        lambda i: i.astype(np.float64).astype(np.int64), np.array([2**53 + 1, -(2**62) - 1])
    ),
    "rounded twice": trap(
        lambda i: i.astype(np.float64).astype(np.float32), np.array([2**54 + 2**30 + 1])
    ),
}


@pytest.mark.parametrize("name", WIDE_TRAPS)
def test_conversions_round_where_they_did(name, float64):
    fun, args = WIDE_TRAPS[name].fun, WIDE_TRAPS[name].args
    graph = sg.trace(fun, *args)
    values = dict(zip(graph.inputs, args, strict=True))
    same_bits(*values_of([*graph.simplify().outputs, *graph.outputs], values))


NAN_REACHES = {
    "scaled": lambda x, y: (x * 0.5) * y,
    "softmax": lambda x, y: jax.nn.softmax(x) + 0.0 * y,
    "negated": lambda x, y: -(x - y),
    "added": lambda x, y: (x + y) - 0.0,
    "selected": lambda x, y: jnp.where(y == y, x, y),
    "largest": lambda x, y: jnp.maximum(jnp.maximum(x, -jnp.inf), y),
    "mean": lambda x, y: jnp.mean(x) * y,
}


@pytest.mark.parametrize("name", NAN_REACHES)
def test_nan_reaches_what_depends_on_it(name):
    fun = NAN_REACHES[name]
    clean = _floats(1.0, 2.0, 3.0)
    for x, y in ((_floats(1.0, NAN, 3.0), clean), (clean, _floats(NAN, 2.0, 3.0))):
        graph = sg.trace(fun, x, y)
        values = dict(zip(graph.inputs, (x, y), strict=True))
        want, got = values_of([*graph.outputs, *graph.simplify().outputs], values)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
