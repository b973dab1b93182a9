"""Products of a Hessian and a vector, without the Hessian: the MLP of the demo."""

from __future__ import annotations

from typing import Any

import jax

import symgrad as sg
from benchmarks import first_path
from benchmarks.harness import SYMGRAD, Case
from symgrad.demo.models import mlp_loss

ABOUT = "Hessian-vector product of the MLP's loss; JAX: forward over reverse, reverse over forward."


def jvp_of_grad(v: Any, params: Any, *data: Any) -> Any:
    return jax.jvp(lambda p: jax.grad(mlp_loss)(p, *data), (params,), (v,))[1]


def grad_of_jvp(v: Any, params: Any, *data: Any) -> Any:
    return jax.grad(lambda p: jax.jvp(lambda q: mlp_loss(q, *data), (p,), (v,))[1])(params)


def mlp(images: int = 64) -> Case:
    case = first_path.mlp(images)
    params, *data = case.args
    keys = iter(jax.random.split(jax.random.key(1), len(params)))
    v = {name: jax.random.normal(next(keys), x.shape) for name, x in params.items()}
    return Case(
        case.name,
        (v, params, *data),
        {
            SYMGRAD: lambda: sg.hvp(mlp_loss),
            # A function of its own each time: JAX remembers what it has compiled.
            "jvp of grad": lambda: jax.jit(lambda *args: jvp_of_grad(*args)),
            "grad of jvp": lambda: jax.jit(lambda *args: grad_of_jvp(*args)),
        },
    )


def cases() -> list[Case]:
    return [mlp()]
