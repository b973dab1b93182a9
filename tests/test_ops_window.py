"""Convolution and window reductions: types, values and derivatives are JAX's, ties included."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import Precision
from evaluate import check_against_jax, evaluate, nodes_of, source_of
from jax import lax

import symgrad as sg
from symgrad.derive import pullback, pushforward
from symgrad.expr import parameter
from symgrad.ops.conv import conv
from symgrad.ops.shape import pad, reverse
from symgrad.ops.window import (
    UNROLLED,
    gather_from_winner,
    scatter_to_winner,
    window_max,
    window_scatter_op,
    window_winner_op,
)

NHWC = ("NHWC", "HWIO", "NHWC")
NDHWC = ("NDHWC", "DHWIO", "NDHWC")

CONVOLUTIONS = {
    # name: (image, kernel, strides, padding, other parameters)
    "plain": ((2, 3, 6, 5), (4, 3, 3, 2), (1, 1), "VALID", {}),
    "same, layout of images": ((2, 7, 6, 3), (3, 2, 3, 4), (1, 1), "SAME", {"n": NHWC}),
    "strides that leave a rest": ((2, 8, 7, 3), (3, 2, 3, 4), (2, 3), "VALID", {"n": NHWC}),
    "uneven padding": ((2, 5, 6, 2), (3, 3, 2, 3), (2, 1), ((2, 0), (1, 3)), {"n": NHWC}),
    "negative padding": ((1, 8, 8, 2), (3, 3, 2, 3), (1, 2), ((-1, 2), (1, -2)), {"n": NHWC}),
    "dilated image": (
        (2, 4, 3, 2),
        (3, 2, 2, 3),
        (1, 2),
        ((1, 2), (0, 1)),
        {"n": NHWC} | {"a": (2, 3)},
    ),
    "dilated kernel": ((2, 9, 8, 2), (3, 2, 2, 3), (1, 2), "SAME", {"b": (2, 3), "n": NHWC}),
    "all of it": (
        (2, 5, 6, 2),
        (3, 2, 2, 3),
        (2, 3),
        ((2, 1), (-1, 4)),
        {"a": (2, 3), "b": (3, 2), "n": NHWC},
    ),
    "feature groups": ((2, 6, 5, 6), (3, 3, 2, 9), (2, 1), "SAME", {"n": NHWC, "f": 3}),
    "every feature by itself": ((2, 4, 6, 6), (8, 1, 3, 3), (1, 1), "SAME", {"f": 4}),
    "batch groups": ((6, 5, 5, 2), (3, 3, 2, 9), (1, 2), "SAME", {"n": NHWC, "g": 3}),
    "one axis": ((2, 3, 9), (4, 3, 3), (2,), ((1, 2),), {}),
    "three axes": ((1, 4, 5, 3, 2), (2, 3, 2, 2, 3), (1, 2, 1), "SAME", {"n": NDHWC}),
    "no axes": ((3, 4), (5, 4), (), (), {}),
    "other orders": ((5, 2, 6, 3), (3, 4, 2, 3), (1, 2), "SAME", {"n": ("HNWC", "IOHW", "WCHN")}),
    "empty batch": ((0, 5, 5, 2), (3, 3, 2, 3), (1, 1), "SAME", {"n": NHWC}),
    "kernel too large": ((1, 2, 2, 2), (3, 3, 2, 3), (1, 1), "VALID", {"n": NHWC}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_and_its_derivatives(name: str, float64: Precision, draw) -> None:
    _check_convolution(name, draw)


@pytest.mark.parametrize("name", ["plain", "all of it"])
def test_convolution_in_single_precision(name: str, float32: Precision, draw) -> None:
    _check_convolution(name, draw)


def _check_convolution(name: str, draw) -> None:
    image, kernel, strides, padding, other = CONVOLUTIONS[name]
    other = {"n": None, "a": None, "b": None, "f": 1, "g": 1} | other

    def convolve(x, w):
        return lax.conv_general_dilated(
            x,
            w,
            strides,
            padding,
            lhs_dilation=other["a"],
            rhs_dilation=other["b"],
            dimension_numbers=other["n"],
            feature_group_count=other["f"],
            batch_group_count=other["g"],
        )

    check_against_jax(convolve, draw(*image), draw(*kernel))


def test_convolution_that_accumulates_in_another_type(float32: Precision, draw) -> None:
    x, w = jnp.bfloat16(draw(2, 3, 6)), jnp.bfloat16(draw(4, 3, 2))
    convolve = partial(
        lax.conv_general_dilated,
        window_strides=(1,),
        padding="SAME",
        precision=("highest", "default"),
        preferred_element_type=jnp.float32,
    )
    check_against_jax(convolve, x, w, tolerance=2e-2)


def _source(fun, *args) -> str:
    return source_of(nodes_of(fun, *args)[1][0])


def test_convolutions_are_printed_without_what_is_usual() -> None:
    x, w = jnp.ones((1, 3, 8, 8)), jnp.ones((4, 3, 3, 3))
    plain = _source(lambda x, w: lax.conv(x, w, (1, 1), "SAME"), x, w)
    assert plain == (
        'lax.conv_general_dilated(x, y, window_strides=(1, 1), padding="SAME", '
        "precision=lax.Precision.HIGHEST)"
    )
    layout = _source(
        lambda x, w: lax.conv_general_dilated(
            x, w, (2, 2), "VALID", dimension_numbers=NHWC, precision=("highest", "default")
        ),
        *(jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 4))),
    )
    assert layout == (
        'lax.conv_general_dilated(x, y, window_strides=(2, 2), padding="VALID", '
        'dimension_numbers=("NHWC", "HWIO", "NHWC"), '
        "precision=(lax.Precision.HIGHEST, lax.Precision.DEFAULT))"
    )


def test_convolution_counts_two_operations_for_every_product() -> None:
    _, (y,) = nodes_of(
        lambda x, w: lax.conv(x, w, (1, 1), "VALID"), jnp.ones((2, 3, 5, 5)), jnp.ones((4, 3, 3, 3))
    )
    assert y.flops == 2 * (2 * 4 * 3 * 3) * (3 * 3 * 3)


def test_the_derivative_of_a_convolution_consists_of_convolutions() -> None:
    inputs, (y,) = nodes_of(
        lambda x, w: lax.conv(x, w, (2, 2), "SAME"), jnp.ones((2, 3, 6, 6)), jnp.ones((4, 3, 3, 3))
    )
    to_image, to_kernel = pullback([y], [parameter(2, y.type)], inputs)
    assert to_image.op is conv and to_image.args[1].op is reverse
    assert to_kernel.op is conv and to_kernel.args[0] is inputs[0]


WINDOWS = {
    # name: (shape, window, strides, padding, dilation of the array, dilation of the window)
    "tiles": ((2, 6, 4, 3), (1, 2, 2, 1), (1, 2, 2, 1), "VALID", None, None),
    "tiles that leave a rest": ((2, 7, 5, 3), (1, 2, 3, 1), (1, 2, 3, 1), "VALID", None, None),
    "overlap": ((2, 7, 6, 2), (1, 3, 3, 1), (1, 2, 2, 1), "SAME", None, None),
    "every place": ((2, 5, 4, 2), (1, 3, 2, 1), (1, 1, 1, 1), "SAME", None, None),
    "gaps": ((9, 8), (2, 1), (3, 2), "VALID", None, None),
    "uneven padding": ((2, 5, 6), (1, 3, 2), (1, 2, 1), ((0, 0), (2, 0), (1, 1)), None, None),
    "channels first": ((2, 3, 6, 6), (1, 1, 3, 2), (1, 1, 3, 1), "SAME", None, None),
    "one axis": ((9,), (4,), (2,), ((1, 2),), None, None),
    "three axes": ((3, 4, 5), (2, 2, 3), (1, 2, 2), "SAME", None, None),
    "dilated array": ((4, 5), (3, 2), (1, 2), ((1, 0), (0, 2)), (2, 3), None),
    "more than is unrolled": ((9, 10), (8, 9), (2, 3), ((2, 1), (3, 0)), None, None),
    "whole axis": ((3, 70), (1, 70), (1, 1), "VALID", None, None),
    "empty batch": ((0, 4, 4, 1), (1, 2, 2, 1), (1, 2, 2, 1), "VALID", None, None),
    "window too large": ((2, 3), (1, 4), (1, 1), "VALID", None, None),
}


def _reduce(name: str, monoid: str):
    _, window, strides, padding, base, holes = WINDOWS[name]
    init = {"add": 0.0, "max": -jnp.inf, "min": jnp.inf}[monoid]
    reducer = getattr(lax, monoid)
    return lambda x: lax.reduce_window(x, init, reducer, window, strides, padding, base, holes)


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("monoid", ["add", "max"])
def test_window_reductions_and_their_derivatives(name: str, monoid: str, float64, draw) -> None:
    check_against_jax(_reduce(name, monoid), draw(*WINDOWS[name][0]))


@pytest.mark.parametrize("monoid", ["add", "max", "min"])
def test_window_reductions_in_single_precision(monoid: str, float32: Precision, draw) -> None:
    check_against_jax(_reduce("overlap", monoid), draw(*WINDOWS["overlap"][0]))


@pytest.mark.parametrize("name", WINDOWS)
def test_the_first_of_equal_entries_takes_the_derivative(name: str, float64, draw) -> None:
    """As in JAX's pullback; JAX's pushforward is not its transpose here, symgrad's is."""
    reduce = _reduce(name, "min")
    x = np.round(draw(*WINDOWS[name][0]))
    (node,), (y,) = nodes_of(reduce, x)
    g, t = draw(*y.shape), draw(*x.shape)
    seed, step = parameter(1, y.type), parameter(2, node.type)
    derivatives = pullback([y], [seed], [node]) + pushforward([y], [node], [step])
    pulled, pushed = evaluate(derivatives, {node: x, seed: g, step: t})
    np.testing.assert_allclose(pulled, jax.jit(jax.vjp(reduce, x)[1])(g)[0], atol=1e-12)
    np.testing.assert_allclose(np.sum(pushed * g), np.sum(pulled * t), atol=1e-12)


def test_windows_with_negative_padding_and_holes(float64: Precision, draw) -> None:
    holes = lambda x: lax.reduce_window(  # noqa: E731
        x, 0.0, lax.add, (3, 2), (1, 2), ((-1, 3), (2, -1)), window_dilation=(2, 3)
    )
    check_against_jax(holes, draw(9, 8))


@pytest.mark.parametrize("window", [(3, 2), (7, 10)])
def test_extremum_in_windows_with_holes(window: tuple[int, int], float64: Precision, draw) -> None:
    """JAX does not pull back here, so the pullback is compared with the transposed pushforward."""
    x = draw(14, 30)
    reduce = lambda x: lax.reduce_window(  # noqa: E731
        x, -jnp.inf, lax.max, window, (2, 1), ((1, 2), (3, 0)), window_dilation=(2, 3)
    )
    jacobian = jax.jacfwd(reduce)(x)
    (node,), (y,) = nodes_of(reduce, x)
    g, t = draw(*y.shape), draw(*x.shape)
    seed, step = parameter(1, y.type), parameter(2, node.type)
    (pulled,) = pullback([y], [seed], [node])
    (pushed,) = pushforward([y], [node], [step])
    found = evaluate([pulled, pushed], {node: x, seed: g, step: t})
    np.testing.assert_allclose(found[0], np.tensordot(g, jacobian, 2), atol=1e-12)
    np.testing.assert_allclose(found[1], np.tensordot(jacobian, t, 2), atol=1e-12)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "bfloat16", "bool"])
def test_extrema_of_other_types(dtype: str, float32: Precision) -> None:
    x = jnp.arange(12).reshape(3, 4).astype(dtype)
    for reducer, init in ((lax.max, -jnp.inf), (lax.min, jnp.inf)):
        reduce = partial(
            lax.reduce_window,
            init_value=init,
            computation=reducer,
            window_dimensions=(2, 2),
            window_strides=(1, 2),
            padding="SAME",
        )
        (node,), (y,) = nodes_of(reduce, x)
        (found,) = evaluate([y], {node: x})
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, reduce(x))


def test_windows_are_printed_without_what_is_usual() -> None:
    assert _source(_reduce("one axis", "add"), jnp.ones(9)) == (
        "lax.reduce_window(x, 0.0, lax.add, window_dimensions=(4,), window_strides=(2,), "
        'padding="SAME")'
    )
    assert _source(_reduce("uneven padding", "max"), jnp.ones((2, 5, 6))) == (
        "lax.reduce_window(x, -jnp.inf, lax.max, window_dimensions=(1, 3, 2), "
        "window_strides=(1, 2, 1), padding=((0, 0), (2, 0), (1, 1)))"
    )


def test_an_infinity_is_found_in_padded_windows(float64: Precision) -> None:
    """Padding loses against every entry but its own kind, in both directions of the derivative."""
    x = np.array([[np.inf, -np.inf, 3.0, -np.inf]])
    reduce = lambda x: lax.reduce_window(  # noqa: E731
        x, -jnp.inf, lax.max, (1, 2), (1, 2), ((0, 0), (0, 2))
    )
    (node,), (y,) = nodes_of(reduce, x)
    seed = parameter(1, y.type)
    (found,) = evaluate(pullback([y], [seed], [node]), {node: x, seed: np.ones((1, 3))})
    np.testing.assert_array_equal(found, [[1, 0, 1, 0]])


@pytest.mark.parametrize("monoid", [(lax.max, -jnp.inf), (lax.min, jnp.inf)], ids=("max", "min"))
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize("size", [3, UNROLLED + 1])
def test_windows_with_entries_that_are_nan(monoid, padding, size, float64: Precision, draw) -> None:
    """Beside padding JAX's tangents are not the transposes of its cotangents; symgrad's are."""
    combine, init = monoid
    x, t = draw(2 * size), jnp.array(draw(2 * size))
    x = jnp.array(x).at[jnp.array([1, size, 2 * size - 1])].set(jnp.nan)

    def pooled(x):
        return lax.reduce_window(x, init, combine, (size,), (2,), padding)

    g = jnp.array(draw(*pooled(x).shape))
    moved, theirs = (by.jvp(pooled, (x,), (t,))[1] for by in (sg, jax))
    (pulled,), (expected,) = (by.vjp(pooled, x)[1](g) for by in (sg, jax))
    np.testing.assert_allclose(pulled, expected, atol=1e-12)
    np.testing.assert_allclose(moved @ g, t @ pulled)
    if padding == "VALID":
        np.testing.assert_allclose(moved, theirs)


def test_the_derivative_of_an_extremum_has_no_derivative_in_what_it_selects_by() -> None:
    (node,), (y,) = nodes_of(_reduce("overlap", "max"), jnp.ones((2, 7, 6, 2)))
    seed = parameter(1, y.type)
    (pulled,) = pullback([y], [seed], [node])
    assert pulled.op is pad or window_scatter_op in {a.op for a in (pulled, *pulled.args)}
    assert pullback([pulled], [parameter(2, pulled.type)], [node]) == [None]


def test_the_two_selecting_operations_are_those_that_jax_traces(float64: Precision, draw) -> None:
    """`select_and_scatter_add` and `select_and_gather_add`, from traces of JAX's derivatives."""
    x, g = np.round(draw(2, 6, 4, 3)), draw(2, 3, 2, 3)
    pool = _reduce("tiles", "min")
    pull = lambda x, g: jax.vjp(pool, x)[1](g)[0]  # noqa: E731
    push = lambda x, t: jax.jvp(pool, (x,), (t,))[1]  # noqa: E731
    for fun, args in ((pull, (x, g)), (push, (x, draw(2, 6, 4, 3)))):
        inputs, outputs = nodes_of(fun, *args)
        (found,) = evaluate(outputs, dict(zip(inputs, args, strict=True)))
        np.testing.assert_allclose(found, fun(*args), atol=1e-12)


def test_large_windows_are_searched_by_a_loop() -> None:
    x = parameter(0, nodes_of(lambda x: x, jnp.ones((100, 40)))[0][0].type)
    p = {
        "window_dimensions": (UNROLLED, 2),
        "window_strides": (1, 1),
        "padding": ((0, 0), (0, 0)),
        "base_dilation": (1, 1),
        "window_dilation": (1, 1),
    }
    y = window_max(x, **p)
    scattered = scatter_to_winner(x, parameter(1, y.type), largest=True, **p)
    gathered = gather_from_winner(x, parameter(2, x.type), largest=True, **p)
    assert scattered.args[0].args[2] is gathered.args[1]
    assert gathered.args[1].op is window_winner_op


PRODUCTS = {
    "overlap": ((4, 5), (2, 3), (1, 2), "SAME", None, None),
    "dilated": ((4, 5), (2, 2), (1, 2), ((1, 0), (0, 2)), (2, 1), (1, 3)),
    "cropped": ((6, 3), (3, 1), (1, 1), ((-1, 2), (0, -1)), None, None),
    "too large": ((2, 3), (1, 4), (1, 1), "VALID", None, None),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_windows_reduced_by_a_function(name: str, float64: Precision, draw) -> None:
    """JAX has the forward mode only; what it pushes forward is transposed to compare with."""
    shape, *windows = PRODUCTS[name]
    product = lambda x: lax.reduce_window(x, jnp.float64(1), lax.mul, *windows)  # noqa: E731
    x, t = draw(*shape), draw(*shape)
    value, tangent = jax.jvp(product, (x,), (t,))
    g = draw(*value.shape)
    basis = np.eye(x.size).reshape(x.size, *shape)
    rows = jnp.stack([jax.jvp(product, (x,), (e,))[1] for e in basis])
    jacobian = jnp.moveaxis(rows, 0, -1).reshape(*value.shape, *shape)
    (pulled,) = sg.vjp(product, x)[1](g)
    np.testing.assert_allclose(pulled, np.tensordot(g, jacobian, 2), atol=1e-12)
    for got, want in zip(sg.jvp(product, (x,), (t,)), (value, tangent), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
