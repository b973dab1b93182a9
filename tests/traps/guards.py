"""What is right in JAX and must stay so."""

import jax
import jax.numpy as jnp

from traps import Trap

TRAPS = (
    Trap("softplus", lambda x: jax.nn.softplus(x), 200.0),
    Trap("log softmax", lambda x: jax.nn.log_softmax(x)[1], (-300.0, 0.0, 2.0)),
    Trap("product with a zero", jnp.prod, (3.0, 0.0, 5.0)),
    Trap(
        "determinant of a singular matrix",
        jnp.linalg.det,
        ((1.0, 3.0), (2.0, 6.0)),
        precisions=("float32", "float64"),
    ),
    Trap("powers at zero", lambda x: jnp.sum(x**3.5), (0.0, 2.0)),
    Trap("sinc", jnp.sinc, 0.0, order="hvp", tangent=1.0),
    Trap("logsumexp", lambda x: jax.nn.logsumexp(x), (1000.0, 1001.0)),
    Trap(
        "masked softmax",
        lambda x: jax.nn.softmax(x, where=jnp.array([True, False, True]))[0],
        (1.0, 800.0, 2.0),
    ),
    Trap("log of a product of negatives", lambda x: jnp.log(x[0] * x[1]), (-2.0, -3.0)),
    Trap("log of an even power", lambda x, y: jnp.log(x**y), -3.0, 2.0),
    Trap("root of a product of negatives", lambda x: jnp.sqrt(x[0] * x[1]), (-2.0, -8.0)),
    Trap("share with a negative rest", lambda x, y: x / (x + y), 2.0, -0.5),
    Trap("inverse square of a negative", lambda x: 3.0 / x**2, -2.0, order="hvp"),
    Trap("projection", lambda x: x[0] * x[1] / (x @ x), (3.0, -4.0)),
    Trap("quotient by a hypotenuse", lambda x: x / jnp.sqrt(0.25 + x**2), 0.0, order="hvp"),
)
