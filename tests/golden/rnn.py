"""value_and_grad of `rnn`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:rnn --transform value_and_grad --arg "{'U': f32[5,3], 'V': f32[5,2], 'W': f32[5,5], 'b': f32[5]}" --arg 'f32[5]' --arg 'f32[7,3]' --arg 'f32[7,2]' -o rnn.py
"""

import jax.numpy as jnp
from jax import lax


def sech_squared(x):
    """1 - tanh(x)**2, also where tanh(x) rounds to 1."""
    return jnp.exp(-2 * jnp.abs(x)) * jnp.square(1 + jnp.abs(jnp.tanh(x)))


def value_and_grad_rnn(U, V, W, b, start, inputs, targets):
    """value_and_grad of `rnn` with respect to U, V, W, b.

    Args:
        U: float32[5,3]
        V: float32[5,2]
        W: float32[5,5]
        b: float32[5]
        start: float32[5]
        inputs: float32[7,3]
        targets: float32[7,2]
    """
    # _, states = lax.scan(step, start, inputs)

    def step(h, x):
        # h = jnp.tanh(params["W"] @ h + params["U"] @ x + params["b"])
        pre_h = W @ h + U @ x + b
        h_2 = jnp.tanh(pre_h)
        return h_2, (h_2, sech_squared(pre_h), h)

    _, (states, all_sech_squared, all_h) = lax.scan(step, start, inputs)
    # error = states @ params["V"] - targets
    error = states @ V - targets

    # backward: _, states = lax.scan(step, start, inputs)
    zeros_1 = jnp.zeros((5,), jnp.float32)
    d_states = error @ V.T

    def body(carry, inputs_2):
        d_h, total, total_2, total_3 = carry
        sech_squared_2, h, x, d_h_2 = inputs_2
        mul_1 = (d_h + d_h_2) * sech_squared_2
        return (
            (
                mul_1 @ W,
                total + jnp.outer(mul_1, h),
                total_2 + jnp.outer(mul_1, x),
                total_3 + mul_1,
            ),
            None,
        )

    (_, d_W, d_U, d_b), _ = lax.scan(
        body,
        (zeros_1, jnp.zeros((5, 5), jnp.float32), jnp.zeros((5, 3), jnp.float32), zeros_1),
        (all_sech_squared, all_h, inputs, d_states),
        reverse=True,
    )
    d_V = states.T @ error
    return jnp.sum(jnp.square(error)) / 2.0, d_U, d_V, d_W, d_b
