"""Products of a Hessian and vectors, without the Hessian: one, many at once, with the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import symgrad as sg
from benchmarks import first_path
from benchmarks.harness import SYMGRAD, Case
from symgrad.demo.models import mlp_loss

ABOUT = """\
Hessian-vector products. JAX: forward over reverse, reverse over forward; batched by `jax.vmap`;
with the value and the gradient as `jax.jvp` of `jax.value_and_grad`."""

Loss = Callable[..., Any]


def jvp_of_grad(loss: Loss) -> Any:
    def product(v: Any, params: Any, *data: Any) -> Any:
        return jax.jvp(lambda p: jax.grad(loss)(p, *data), (params,), (v,))[1]

    return product


def grad_of_jvp(loss: Loss) -> Any:
    def product(v: Any, params: Any, *data: Any) -> Any:
        return jax.grad(lambda p: jax.jvp(lambda q: loss(q, *data), (p,), (v,))[1])(params)

    return product


def jvp_of_value_and_grad(loss: Loss) -> Any:
    def everything(v: Any, params: Any, *data: Any) -> Any:
        found, tangents = jax.jvp(lambda p: jax.value_and_grad(loss)(p, *data), (params,), (v,))
        return (*found, tangents[1])

    return everything


def direction(params: Any, *leading: int) -> Any:
    """Random vectors like `params`, with leading axes."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [jax.random.normal(k, (*leading, *x.shape)) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)


def logistic_loss(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return jnp.mean(jnp.logaddexp(0.0, z) - y * z)


def mlp(images: int = 64) -> Case:
    case = first_path.mlp(images)
    params, *data = case.args
    return Case(
        case.name,
        (direction(params), params, *data),
        {
            SYMGRAD: lambda: sg.hvp(mlp_loss),
            "jvp of grad": lambda: jax.jit(jvp_of_grad(mlp_loss)),
            "grad of jvp": lambda: jax.jit(grad_of_jvp(mlp_loss)),
        },
    )


def joint(images: int = 64) -> Case:
    case = first_path.mlp(images)
    params, *data = case.args
    return Case(
        f"{case.name}, with value and gradient",
        (direction(params), params, *data),
        {
            SYMGRAD: lambda: sg.value_grad_hvp(mlp_loss),
            "jvp of value_and_grad": lambda: jax.jit(jvp_of_value_and_grad(mlp_loss)),
        },
    )


def many(name: str, loss: Loss, count: int, params: Any, *data: Any) -> Case:
    """Products with several vectors at once."""
    axes = (0, *(None for _ in (params, *data)))
    return Case(
        f"{name}, {count} vectors",
        (direction(params, count), params, *data),
        {
            SYMGRAD: lambda: sg.jit(jax.vmap(sg.hvp(loss), in_axes=axes), rules="none"),
            "vmap of jvp of grad": lambda: jax.jit(jax.vmap(jvp_of_grad(loss), in_axes=axes)),
        },
    )


def many_mlp(images: int = 64, count: int = 64) -> Case:
    case = first_path.mlp(images)
    return many(case.name, mlp_loss, count, *case.args)


def many_logistic(points: int = 2000, features: int = 100, count: int = 64) -> Case:
    x = jax.random.normal(jax.random.key(0), (points, features))
    y = (x[:, 0] > 0).astype(x.dtype)
    return many(
        "logistic regression", logistic_loss, count, jnp.full(features, 0.1, jnp.float32), x, y
    )


def cases() -> list[Case]:
    return [mlp(), joint(), many_mlp(), many_logistic()]
