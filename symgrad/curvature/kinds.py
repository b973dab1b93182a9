"""The kinds of curvature: of a loss, of a model under a loss, of a likelihood."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp

from symgrad.api import hvp, jit, jvp, vjp
from symgrad.curvature.batches import Batches
from symgrad.curvature.operators import CurvatureOperator
from symgrad.curvature.products import Product
from symgrad.curvature.remembered import remembered
from symgrad.curvature.vectors import Space
from symgrad.errors import OutputError
from symgrad.tracing import definition
from symgrad.transform import Transformed


def hessian_operator(
    loss: Callable[..., Any],
    params: Any,
    *data: Any,
    batches: Iterable[Any] | None = None,
    reduction: str = "mean",
    progress: bool = False,
) -> CurvatureOperator:
    """The Hessian of a scalar loss in its parameters, as a linear operator.

    Args:
        loss: `loss(params, *data)` returns a scalar.
        params: where; a pytree of real floating-point arrays.
        data: the other arguments of the loss. Sharded arrays stay sharded.
        batches: the data in parts, in place of `data`: a list of tuples of the other arguments, or
            whatever may be iterated over again and again. Each product goes over all of them and
            adds up, in one compiled step.
        reduction: what the loss does with the observations of a batch: "mean", for which batches
            are weighed by their numbers of observations (the first axis of the first array), or
            "sum".
        progress: whether to show a bar while going over batches, if rich is installed.

    Raises:
        ArgumentError: a parameter is not real, data is empty, or there are no batches.
        OutputError: the loss is not a real scalar.
        NoDerivativeError: an operation of the loss has no derivative.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> loss = lambda w, x, y: jnp.mean((x @ w - y) ** 2)
        >>> H = sg.hessian_operator(loss, jnp.zeros(2), jnp.eye(2), jnp.ones(2))
        >>> H @ jnp.array([1.0, 2.0])
        Array([1., 2.], dtype=float32)
        >>> H.constant
        True
    """
    return _operator(
        hessian_product(loss),
        loss,
        params,
        data,
        _batches(batches, reduction, progress),
        hessian=True,
    )


def gauss_newton_operator(
    model: Callable[..., Any],
    loss: Callable[..., Any],
    params: Any,
    *data: Any,
    batches: Iterable[Any] | None = None,
    reduction: str = "mean",
    progress: bool = False,
    convex: bool = True,
) -> CurvatureOperator:
    """The generalised Gauss-Newton matrix Jᵀ H J, as a linear operator.

    J is the Jacobian of the model's outputs in the parameters, H the Hessian of the loss in the
    outputs: the Hessian of the loss in the parameters without the second derivatives of the model.
    It is positive semidefinite if the loss is convex in the outputs. For the negative
    log-likelihood of an exponential family whose natural parameters are the outputs it is the
    Fisher information.

    Args:
        model: `model(params, data[0])` returns outputs, in any pytree of real arrays;
            `model(params)` if there is no data.
        loss: `loss(outputs, *data[1:])` returns a scalar.
        params: where; a pytree of real floating-point arrays.
        data: the inputs of the model, and what the loss compares its outputs with. Several inputs
            are one pytree.
        batches: as for `hessian_operator`, and so are `reduction` and `progress`.
        convex: whether the loss is convex in the outputs.

    Raises:
        ArgumentError: a parameter is not real, data is empty, or there are no batches.
        OutputError: the loss is not a real scalar.
        NoDerivativeError: an operation has no derivative.

    Source:
        Schraudolph, Fast curvature matrix-vector products for second-order gradient descent,
        Neural Computation 14 (2002).

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> model = lambda w, x: jnp.exp(x @ w)
        >>> loss = lambda outputs, y: jnp.sum((outputs - y) ** 2)
        >>> G = sg.gauss_newton_operator(model, loss, jnp.zeros(2), jnp.eye(2), jnp.zeros(2))
        >>> G @ jnp.array([1.0, 2.0])
        Array([2., 4.], dtype=float32)
    """
    return _operator(
        _gauss_newton_product(model, loss),
        _composed(model, loss),
        params,
        data,
        _batches(batches, reduction, progress),
        positive=convex,
    )


def fisher_operator(
    log_likelihood: Callable[..., Any],
    params: Any,
    *data: Any,
    batches: Iterable[Any] | None = None,
    progress: bool = False,
) -> CurvatureOperator:
    """The empirical Fisher information: the sum of the outer products of the scores.

    The score of an observation is the gradient of its log-likelihood. With observations drawn from
    the model the expectation of this matrix is the Fisher information; at other observations it is
    not, and `gauss_newton_operator` of the negative log-likelihood is what is wanted for models
    whose outputs are natural parameters.

    Args:
        log_likelihood: `log_likelihood(params, *data)` returns one number for each observation,
            shape (observations,).
        params: where; a pytree of real floating-point arrays.
        data: the other arguments.
        batches: as for `hessian_operator`, and so is `progress`. Batches are added up.

    Raises:
        ArgumentError: a parameter is not real, data is empty, or there are no batches.
        OutputError: the log-likelihoods are not a vector.

    Source:
        Kunstner, Balles and Hennig, Limitations of the empirical Fisher approximation for natural
        gradient descent, NeurIPS (2019).

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> gaussian = lambda mean, x: -0.5 * (x - mean) ** 2
        >>> F = sg.fisher_operator(gaussian, jnp.zeros(()), jnp.array([1.0, -2.0]))
        >>> F.dense()
        Array([[5.]], dtype=float32)
    """
    return _operator(
        _fisher_product(log_likelihood),
        log_likelihood,
        params,
        data,
        _batches(batches, "sum", progress),
        positive=True,
    )


def _operator(
    along: Transformed,
    loss: Callable[..., Any],
    params: Any,
    data: tuple[Any, ...],
    batches: Batches | None,
    *,
    hessian: bool = False,
    positive: bool = False,
) -> CurvatureOperator:
    space = Space.of(params)
    # Python numbers become arrays, whose type does not depend on what they are multiplied with.
    product = Product(along, loss, space.cast(params), space, data, batches, hessian, positive)
    return CurvatureOperator(((1.0, product),), space)


def _batches(items: Iterable[Any] | None, reduction: str, progress: bool) -> Batches | None:
    return None if items is None else Batches(items, reduction, progress)


@remembered
def hessian_product(loss: Callable[..., Any]) -> Transformed:
    """`(v, params, *data)` to the product of the loss's Hessian in the parameters with v."""
    return hvp(loss)


@remembered
def _gauss_newton_product(model: Callable[..., Any], loss: Callable[..., Any]) -> Transformed:
    curvature = hvp(loss)

    def gauss_newton_product(v: Any, params: Any, *data: Any) -> Any:
        def outputs(moved: Any) -> Any:
            return model(moved, *data[:1])

        found, tangents = jvp(outputs, (params,), (v,))
        _, pull = vjp(outputs, params)
        return pull(curvature(tangents, found, *data[1:]))[0]

    return jit(gauss_newton_product)


@remembered
def _composed(model: Callable[..., Any], loss: Callable[..., Any]) -> Callable[..., Any]:
    def composed(params: Any, *data: Any) -> Any:
        return loss(model(params, *data[:1]), *data[1:])

    return composed


@remembered
def _fisher_product(log_likelihood: Callable[..., Any]) -> Transformed:
    def fisher_product(v: Any, params: Any, *data: Any) -> Any:
        def each(moved: Any) -> Any:
            return log_likelihood(moved, *data)

        found, tangents = jvp(each, (params,), (v,))
        if jnp.ndim(found) != 1:
            raise OutputError(
                "the Fisher information needs the log-likelihood of each observation, shape "
                f"(observations,); these have shape {jnp.shape(found)}",
                frame=definition(log_likelihood),
                fix="return a vector, and leave the sum over observations to the operator",
            )
        _, pull = vjp(each, params)
        return pull(tangents)[0]

    return jit(fisher_product)
