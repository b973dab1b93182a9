"""The transformations people call, with the signatures and results of their namesakes in JAX."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from symgrad import derivatives
from symgrad.arguments import (
    check_call,
    check_callable,
    describe,
    parameter_names,
    resolve_names,
    resolve_positions,
    structure,
)
from symgrad.errors import ArgumentError
from symgrad.graph import Graph
from symgrad.rewrite import Log
from symgrad.tracing import trace as trace_types
from symgrad.transform import Rules, Transformed

Argnums = int | Sequence[int]


def jit(
    fun: Callable[..., Any],
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate_argnums: int | Sequence[int] = (),
    rules: Rules = "default",
) -> Transformed:
    """`fun`, traced, simplified and compiled; no derivative.

    Args:
        fun: a function that JAX can trace.
        static_argnums: positions of arguments that are part of the program, hashable.
        static_argnames: the same by name.
        donate_argnums: positions of arguments whose memory may be reused.
        rules: "default"; "exact" keeps every floating-point bit; "none"; or rules.

    Returns:
        A function with the results of `fun`, and `.graph`, `.source`, `.explain`, `.lower`.

    Raises:
        ArgumentError: `fun` is not callable, or has no such static or donated arguments.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> softplus = sg.jit(lambda x: jnp.log(1 + jnp.exp(x)))
        >>> float(softplus(1000.0))
        1000.0
    """
    return Transformed(
        fun,
        derivatives.value,
        "jit",
        rules=rules,
        static_argnums=resolve_positions(fun, "static_argnums", static_argnums),
        static_argnames=resolve_names(fun, "static_argnames", static_argnames),
        donate_argnums=resolve_positions(fun, "donate_argnums", donate_argnums),
    )


def grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    rules: Rules = "default",
) -> Transformed:
    """The gradient of a scalar function, as `jax.grad`.

    Args:
        fun: returns a scalar, or `(scalar, aux)` with `has_aux`.
        argnums: position or positions of the arguments to differentiate in; pytrees of
            floating-point arrays.
        has_aux: `fun` returns a pair of which only the first is differentiated.
        holomorphic: `fun` is holomorphic, with complex input and output.
        allow_int: integer leaves are allowed; their gradient has dtype `float0`.
        rules: "default"; "exact" keeps every floating-point bit; "none"; or rules.

    Returns:
        A function of the same arguments that returns the gradient, in the structure,
        shapes and dtypes of the differentiated argument (a tuple for several), paired
        with the auxiliary output if there is one. It has `.graph`, `.source`,
        `.explain` and `.lower`.

    Raises:
        OutputError: when called, if the output is not a real scalar.
        ArgumentError: when called, if an argument is not a floating-point array, or
            `argnums` is out of range.
        NoDerivativeError: when called, if an operation has no derivative.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.grad(lambda x: jnp.sum(x**3))(jnp.array([1.0, 2.0]))
        Array([ 3., 12.], dtype=float32)
    """
    build = derivatives.gradient(
        with_value=False, has_aux=has_aux, holomorphic=holomorphic, allow_int=allow_int
    )
    return Transformed(fun, build, "grad", argnums=argnums, rules=rules, has_aux=has_aux)


def value_and_grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    rules: Rules = "default",
) -> Transformed:
    """The value and the gradient of a scalar function in one program, as `jax.value_and_grad`.

    Arguments and errors are those of `grad`.

    Returns:
        A function that returns `(value, gradient)`, or `((value, aux), gradient)`.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> value, slope = sg.value_and_grad(jnp.sin)(0.0)
        >>> float(value), float(slope)
        (0.0, 1.0)
    """
    build = derivatives.gradient(
        with_value=True, has_aux=has_aux, holomorphic=holomorphic, allow_int=allow_int
    )
    return Transformed(fun, build, "value_and_grad", argnums=argnums, rules=rules, has_aux=has_aux)


def jacfwd(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    rules: Rules = "default",
) -> Transformed:
    """The Jacobian, column by column in forward mode, as `jax.jacfwd`.

    Returns:
        A function that returns, for every output of shape `s` and input of shape `t`, an
        array of shape `s + t`, in the output's structure with the input's inside.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.jacfwd(lambda x: x**2)(jnp.array([1.0, 2.0]))
        Array([[2., 0.],
               [0., 4.]], dtype=float32)
    """
    build = derivatives.jacobian_matrix(reverse=False, has_aux=has_aux, holomorphic=holomorphic)
    return Transformed(fun, build, "jacfwd", argnums=argnums, rules=rules, has_aux=has_aux)


def jacrev(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    rules: Rules = "default",
) -> Transformed:
    """The Jacobian, row by row in reverse mode, as `jax.jacrev`; results as `jacfwd`.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.jacrev(lambda x: jnp.stack([x.sum(), x.prod()]))(jnp.array([2.0, 3.0]))
        Array([[1., 1.],
               [3., 2.]], dtype=float32)
    """
    build = derivatives.jacobian_matrix(
        reverse=True, has_aux=has_aux, holomorphic=holomorphic, allow_int=allow_int
    )
    return Transformed(fun, build, "jacrev", argnums=argnums, rules=rules, has_aux=has_aux)


def jacobian(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    rules: Rules = "default",
    structured: bool = False,
    max_bytes: int | None = None,
) -> Transformed:
    """The Jacobian; results as `jacfwd`.

    The products of partial derivatives that it is made of are multiplied in the order that costs
    least, which need be neither forward nor backward.

    Args:
        fun: returns arrays, in any pytree.
        argnums: the argument, or arguments, that it is differentiated in.
        has_aux: whether `fun` returns a pair of the output and what is not differentiated.
        holomorphic: as for `jax.jacfwd`.
        rules: as for `grad`.
        structured: return a `StructuredArray` in place of each dense array: the same matrix as a
            sum of products of smaller arrays, some on diagonals, never written out.
        max_bytes: the most bytes that the dense results may have together.

    Raises:
        OutputError: when called, if the results have more than `max_bytes` bytes; nothing is
            allocated.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.jacobian(lambda x: x[:1] * x[1:])(jnp.array([2.0, 3.0]))
        Array([[3., 2.]], dtype=float32)
    """
    build = derivatives.jacobian_matrix(reverse=None, has_aux=has_aux, holomorphic=holomorphic)
    return Transformed(
        fun,
        build,
        "jacobian",
        argnums=argnums,
        rules=rules,
        has_aux=has_aux,
        structured=structured,
        max_bytes=max_bytes,
    )


def hessian(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    rules: Rules = "default",
    structured: bool = False,
    max_bytes: int | None = None,
) -> Transformed:
    """The matrix of second derivatives, as `jax.hessian`.

    Args:
        fun: returns arrays, in any pytree.
        argnums: the argument, or arguments, that it is differentiated in.
        has_aux: whether `fun` returns a pair of the output and what is not differentiated.
        holomorphic: as for `jax.hessian`.
        rules: as for `grad`.
        structured: return a `StructuredArray` in place of each dense array: the same matrix as a
            sum of products of smaller arrays, some on diagonals, never written out.
        max_bytes: the most bytes that the dense results may have together.

    Returns:
        A function that returns, for every output of shape `s` and inputs of shapes `t`
        and `u`, an array of shape `s + t + u`, in nested structures.

    Raises:
        OutputError: when called, if the results have more than `max_bytes` bytes; nothing is
            allocated.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.hessian(lambda x: x[0] ** 2 * x[1])(jnp.array([1.0, 2.0]))
        Array([[4., 2.],
               [2., 0.]], dtype=float32)
    """
    build = derivatives.hessian_matrix(has_aux=has_aux, holomorphic=holomorphic)
    return Transformed(
        fun,
        build,
        "hessian",
        argnums=argnums,
        rules=rules,
        has_aux=has_aux,
        structured=structured,
        max_bytes=max_bytes,
    )


def laplacian(
    fun: Callable[..., Any], argnums: Argnums = 0, *, rules: Rules = "default"
) -> Transformed:
    """The sum of the second derivatives in every entry of an argument: the Hessian's trace.

    The second derivatives are summed as they are propagated, so that neither the Hessian nor its
    diagonal is formed.

    Args:
        fun: returns real numbers or arrays of them.
        argnums: the argument, or arguments, whose leaves the sum runs over.
        rules: as for `grad`.

    Returns:
        `l(*args)`: for every output of `fun` an array of its shape.

    Raises:
        ArgumentError: when called, if the argument is not real.
        OutputError: when called, if an output is not real.

    Source:
        R. Li et al., A computational framework for neural network-based variational Monte Carlo
        with forward Laplacian, Nature Machine Intelligence 6 (2024).

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.laplacian(lambda x: jnp.sum(x**3))(jnp.array([1.0, 2.0]))
        Array(18., dtype=float32)
    """
    return Transformed(fun, derivatives.laplacian_sum, "laplacian", argnums=argnums, rules=rules)


def hvp(fun: Callable[..., Any], argnums: Argnums = 0, *, rules: Rules = "default") -> Transformed:
    """The Hessian of a scalar function times a vector, without the Hessian.

    Of forward over reverse, reverse over forward and reverse over reverse, the order runs whose
    simplified graph costs least; `.explain` says which and why.

    Args:
        fun: returns a scalar.
        argnums: the argument, or arguments, in which the Hessian is taken.
        rules: as for `grad`.

    Returns:
        `h(v, *args)`: H v at `args`; `v` and the result have the structure, shapes and
        dtypes of `args[argnums]`, of a tuple of them for several. Many vectors at once are
        `jax.vmap(sg.hvp(fun), in_axes=(0, None))`, one batched program.

    Raises:
        ArgumentError: when called, if `v` does not match the argument it multiplies.
        OutputError: when called, if the output is not a real scalar.

    Source:
        Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994):
        the derivative of the gradient along v.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> cubes = lambda x: jnp.sum(x**3)
        >>> sg.hvp(cubes)(jnp.array([1.0, 0.0]), jnp.array([2.0, 3.0]))
        Array([12.,  0.], dtype=float32)
    """
    ways = derivatives.hessian_products(with_gradient=False)
    return Transformed(fun, ways, "hvp", argnums=argnums, extra=1, rules=rules)


def value_grad_hvp(
    fun: Callable[..., Any], argnums: Argnums = 0, *, rules: Rules = "default"
) -> Transformed:
    """The value, the gradient and a product with the Hessian, in one program.

    What the three have in common, the forward pass and most of the backward pass, is computed
    once. Arguments and errors are those of `hvp`.

    Returns:
        `f(v, *args)`, which returns `(value, gradient, product)`.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> cubes = lambda x: jnp.sum(x**3)
        >>> value, slope, product = sg.value_grad_hvp(cubes)(jnp.ones(2), jnp.array([1.0, 2.0]))
        >>> float(value), slope.tolist(), product.tolist()
        (9.0, [3.0, 12.0], [6.0, 12.0])
    """
    ways = derivatives.hessian_products(with_gradient=True)
    return Transformed(fun, ways, "value_grad_hvp", argnums=argnums, extra=1, rules=rules)


class Pullback:
    """What `vjp` returns: from the outputs' cotangents to a tuple of the primals'.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> y, pull = sg.vjp(jnp.sin, 0.0)
        >>> float(pull(2.0)[0])
        2.0
    """

    def __init__(self, transformed: Transformed, primals: tuple[Any, ...]):
        self._transformed, self._primals = transformed, primals

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        return self._transformed(_without_float0(cotangent), *self._primals)

    def graph(self, cotangent: Any) -> Graph:
        """The simplified graph that runs.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> len(sg.vjp(jnp.sin, 0.0)[1].graph(2.0))
            2
        """
        return self._transformed.graph(cotangent, *self._primals)

    def source(self, cotangent: Any) -> str:
        """The program that runs; its first arguments are the cotangents.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> "jnp.cos" in sg.vjp(jnp.sin, 0.0)[1].source(2.0)
            True
        """
        return self._transformed.source(cotangent, *self._primals)

    def explain(self, cotangent: Any) -> Any:
        """The report of its compilation.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> sg.vjp(jnp.sin, 0.0)[1].explain(2.0).exhausted
            False
        """
        return self._transformed.explain(cotangent, *self._primals)

    def lower(self, cotangent: Any) -> Any:
        """As `jax.jit(f).lower`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> "module" in sg.vjp(jnp.sin, 0.0)[1].lower(2.0).as_text()
            True
        """
        return self._transformed.lower(cotangent, *self._primals)


def vjp(
    fun: Callable[..., Any], *primals: Any, has_aux: bool = False, rules: Rules = "default"
) -> Any:
    """The value of a function and the pullback of cotangents through it, as `jax.vjp`.

    Args:
        fun: returns any pytree of arrays, or `(outputs, aux)` with `has_aux`.
        primals: where to differentiate; pytrees of arrays.

    Returns:
        `(outputs, pullback)`, or `(outputs, pullback, aux)`. `pullback` takes cotangents
        in the structure of the outputs and returns one tree per primal.

    Raises:
        ArgumentError: the pullback is given a cotangent of another structure, shape or dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> y, pull = sg.vjp(jnp.multiply, 2.0, 3.0)
        >>> tuple(map(float, pull(1.0)))
        (3.0, 2.0)
    """
    outputs = _remembered(fun, "jit", rules, has_aux)(*primals)
    pull = Pullback(_remembered(fun, "vjp", rules, has_aux, len(primals)), primals)
    return (outputs[0], pull, outputs[1]) if has_aux else (outputs, pull)


def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
    *,
    rules: Rules = "default",
) -> Any:
    """The value of a function and its derivative along a direction, as `jax.jvp`.

    Args:
        primals: one tree per argument.
        tangents: likewise, with the same structures, shapes and dtypes (`float0` for
            integers).

    Returns:
        `(outputs, tangents of the outputs)`, and `aux` with `has_aux`.

    Raises:
        ArgumentError: primals and tangents do not match.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> value, slope = sg.jvp(jnp.sin, (0.0,), (2.0,))
        >>> float(slope)
        2.0
    """
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple | list):
            raise ArgumentError(
                f"the {what} of jvp are a tuple or list, one entry per argument, "
                f"got {type(given).__name__}",
                fix="sg.jvp(f, (x,), (x_dot,)) for a function of one argument",
            )
    trees = [jax.tree.structure(tuple(p)) for p in (primals, tangents)]
    if trees[0] != trees[1]:
        raise ArgumentError(
            f"primals and tangents of jvp differ in structure: {structure(trees[0])} and "
            f"{structure(trees[1])}",
            fix="pass a tangent for every leaf of the primals",
        )
    moving = _moving(fun, primals, tangents)
    return _remembered(fun, "jvp", rules, has_aux, len(primals))(moving, *primals)


def trace(fun: Callable[..., Any], *args: Any) -> Graph:
    """The expression graph of a function.

    Args:
        fun: any function that JAX can trace.
        args: arrays, pytrees of them, or `jax.ShapeDtypeStruct`.

    Returns:
        A `Graph` whose inputs are the leaves of `args`, named after them.

    Raises:
        TracingError: the function needs the value of a traced array.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> graph = sg.trace(lambda x: jnp.sin(x) * jnp.sin(x), 1.0)
        >>> [node.op.name for node in graph.nodes]
        ['argument', 'sin', 'mul']
    """
    check_callable(fun, "trace")
    check_call(fun, args, {})
    arguments = describe(args, {}, parameter_names(fun, len(args)))
    return Graph.of(trace_types(fun, arguments.tree, arguments.types, arguments.names).graph, Log())


_transformed: weakref.WeakKeyDictionary[Any, dict[Any, Transformed]] = weakref.WeakKeyDictionary()


def _remembered(
    fun: Callable[..., Any], name: str, rules: Rules, has_aux: bool, count: int = 0
) -> Transformed:
    """`vjp` and `jvp` are called anew each time; what they compile is kept with the function."""
    everything = tuple(range(count))
    key = (name, rules if isinstance(rules, str) else tuple(rules), has_aux, count)
    try:
        known = _transformed.setdefault(fun, {})
    except TypeError:
        known = {}
    if key not in known:
        build = {
            "jit": functools.partial(derivatives.value, has_aux=has_aux),
            "vjp": derivatives.vector_jacobian_product(has_aux=has_aux),
            "jvp": derivatives.jacobian_vector_product(has_aux=has_aux),
        }[name]
        extra = 0 if name == "jit" else 1
        argnums = () if name == "jit" else everything
        known[key] = Transformed(
            fun,
            build,
            name,
            argnums=argnums,
            extra=extra,
            rules=rules,
            has_aux=has_aux,
            retrace=True,
        )
    return known[key]


def _moving(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """The tangents of the floating-point leaves; those of integers are `float0` and say nothing."""
    known = describe(primals, {}, parameter_names(fun, len(primals)))
    moving = []
    for tangent, type, path in zip(
        jax.tree.leaves(tuple(tangents)), known.types, known.paths, strict=True
    ):
        if type.inexact:
            moving.append(tangent)
        elif not _is_float0(tangent):
            raise ArgumentError(
                f"`{path}` is {type}, so its tangent in jvp has dtype float0",
                fix="np.zeros(np.shape(x), jax.dtypes.float0) is the tangent of integers",
            )
    return moving


def _is_float0(leaf: Any) -> bool:
    return getattr(leaf, "dtype", None) == jax.dtypes.float0


def _without_float0(tree: Any) -> Any:
    """Cotangents of integer outputs say nothing; booleans stand in for them."""
    return jax.tree.map(lambda x: np.zeros(x.shape, bool) if _is_float0(x) else x, tree)
