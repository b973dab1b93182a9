"""The transformations: from a traced function to the nodes of its derivative.

Each function takes a `Problem` and checks what its namesake in JAX checks before
it builds anything.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from symgrad.arguments import structure
from symgrad.derive import Slot, pullback, pushforward
from symgrad.errors import ArgumentError, Frame, NoDerivativeError, OutputError
from symgrad.expr import Expr, Type
from symgrad.jacobian import forward_jacobian, reverse_jacobian, second_derivative_sum
from symgrad.ops.pointwise import convert
from symgrad.ops.reduce import reduce_sum
from symgrad.ops.shape import full, zeros
from symgrad.tracing import definition
from symgrad.transform import Derived, Problem, Transformation
from symgrad.walk import UNKNOWN, Graph, Origin, Origins

OF_INTEGERS = ("grad", "value_and_grad", "jacrev")
"""Transformations that have the option `allow_int`."""


def value(problem: Problem, *, has_aux: bool = False) -> Derived:
    """The function itself."""
    _main_and_aux(problem, has_aux)
    traced = problem.traced

    def rebuild(results: list[Any]) -> Any:
        return jax.tree.unflatten(traced.out_tree, results)

    return Derived(problem.graph.outputs, traced.out_types, rebuild, {}, traced.out_homes)


def gradient(
    *, with_value: bool, has_aux: bool, holomorphic: bool, allow_int: bool
) -> Transformation:
    """The gradient of a scalar function, with its value and auxiliary output if wanted."""

    def build(problem: Problem) -> Derived:
        _check_inputs(problem, holomorphic=holomorphic, allow_int=allow_int)
        main, aux_tree = _main_and_aux(problem, has_aux)
        loss = _scalar_loss(problem, main, holomorphic)
        made: Origins = {}
        sources = problem.sources
        pulled = pullback([loss], [full(1, loss.type)], sources, problem.graph.origins, made)
        slots, types, put_back = _cotangent_results(pulled, sources)
        _name_after_inputs(made, slots, [s for s in sources if s.type.inexact], problem)
        aux_count = len(problem.graph.outputs) - 1
        head = list(problem.graph.outputs) if with_value else list(problem.graph.outputs[1:])
        head_types = list(problem.traced.out_types[0 if with_value else 1 :])
        head_homes = list(problem.traced.out_homes[0 if with_value else 1 :])

        def rebuild(results: list[Any]) -> Any:
            first, rest = results[: len(head)], put_back(results[len(head) :])
            aux = jax.tree.unflatten(aux_tree, first[len(first) - aux_count :]) if has_aux else None
            grads = _per_argument(problem, rest)
            if with_value:
                return ((first[0], aux) if has_aux else first[0]), grads
            return (grads, aux) if has_aux else grads

        homes = [*head_homes, *problem.cotangent_homes]
        return Derived([*head, *slots], [*head_types, *types], rebuild, made, homes)

    return build


def vector_jacobian_product(*, has_aux: bool) -> Transformation:
    """Cotangents of the arguments, given those of the outputs as the first argument."""

    def build(problem: Problem) -> Derived:
        main, _ = _main_and_aux(problem, has_aux)
        outputs = problem.graph.outputs[: main.num_leaves]
        given = problem.arguments.subtrees[0]
        if given != main:
            raise ArgumentError(
                f"the cotangent has the structure {structure(given)}, the output of "
                f"`{_fun_name(problem)}` the structure {structure(main)}",
                fix="pass a cotangent with the structure of the output",
            )
        _check_same_types(
            "cotangent", problem.extra_inputs, [o.type for o in outputs], problem.arguments.paths
        )
        strong = any(
            t.weak and not c.type.weak
            for c, t in zip(problem.extra_inputs, problem.traced.out_types, strict=False)
        )
        made: Origins = {}
        sources = problem.sources
        seeds = [
            s if o.type.inexact else None
            for s, o in zip(problem.extra_inputs, outputs, strict=True)
        ]
        pulled = pullback(outputs, seeds, sources, problem.graph.origins, made)
        slots, types, put_back = _cotangent_results(pulled, sources)
        if strong:
            types = [Type(t.shape, t.dtype) for t in types]
        _name_after_inputs(made, slots, [s for s in sources if s.type.inexact], problem)

        def rebuild(results: list[Any]) -> Any:
            return _split_arguments(problem, put_back(results))

        homes = problem.cotangent_homes
        return Derived(slots, types, rebuild, made, homes, effects=False)

    return build


def jacobian_vector_product(*, has_aux: bool) -> Transformation:
    """Outputs and their tangents, given the tangents of the arguments as the first argument."""

    def build(problem: Problem) -> Derived:
        main, aux_tree = _main_and_aux(problem, has_aux)
        outputs = problem.graph.outputs[: main.num_leaves]
        sources = problem.sources
        moving = [s for s in sources if s.type.inexact]
        _check_same_types(
            "tangent", problem.extra_inputs, [s.type for s in moving], problem.arguments.paths
        )
        made: Origins = {}
        pushed = pushforward(outputs, moving, problem.extra_inputs, problem.graph.origins, made)
        real = [(t, o) for t, o in zip(pushed, outputs, strict=True) if o.type.inexact]
        tangents = [zeros(o.type) if t is None else t for t, o in real]
        moved = [i for i, o in enumerate(outputs) if o.type.inexact]
        types = [problem.traced.out_types[i] for i in moved]
        homes = [problem.traced.out_homes[i] for i in moved]

        def rebuild(results: list[Any]) -> Any:
            count = len(problem.graph.outputs)
            primals = jax.tree.unflatten(main, results[: main.num_leaves])
            found = iter(results[count:])
            leaves = [next(found) if o.type.inexact else _float0(o.type) for o in outputs]
            dots = jax.tree.unflatten(main, leaves)
            if not has_aux:
                return primals, dots
            return primals, dots, jax.tree.unflatten(aux_tree, results[main.num_leaves : count])

        all_outputs = [*problem.graph.outputs, *tangents]
        all_types = [*problem.traced.out_types, *types]
        all_homes = [*problem.traced.out_homes, *homes]
        return Derived(all_outputs, all_types, rebuild, made, all_homes)

    return build


def jacobian_matrix(
    *, reverse: bool | None, has_aux: bool, holomorphic: bool, allow_int: bool = False
) -> Transformation:
    """Derivatives of all outputs in all inputs; `reverse=None` takes the mode with fewer passes."""

    def build(problem: Problem) -> Derived:
        _check_inputs(problem, holomorphic=holomorphic, allow_int=allow_int)
        main, aux_tree = _main_and_aux(problem, has_aux)
        outputs = problem.graph.outputs[: main.num_leaves]
        _check_outputs(problem, outputs, holomorphic)
        sources = [s for s in problem.sources if s.type.inexact]
        backwards = _shorter_backwards(outputs, sources) if reverse is None else reverse
        origins, made = dict(problem.graph.origins), {}
        like_input = reverse is None or reverse
        try:
            blocks = _jacobian_blocks(outputs, sources, backwards, origins, made)
        except NoDerivativeError:
            if backwards or reverse is not None:
                raise
            blocks = _jacobian_blocks(outputs, sources, True, origins, made)
        types = [_block_type(o, s, like_input) for o in outputs for s in sources]
        found = [
            zeros(t) if b is None else convert(b, dtype=t.dtype, weak=b.type.weak)
            for t, b in zip(types, itertools.chain(*blocks), strict=True)
        ]
        aux = problem.graph.outputs[main.num_leaves :]

        def rebuild(results: list[Any]) -> Any:
            blocks = iter(results[: len(found)])
            per_output = [
                _per_argument(problem, _with_float0(problem, blocks, o.shape)) for o in outputs
            ]
            matrix = jax.tree.unflatten(main, per_output)
            if not has_aux:
                return matrix
            return matrix, jax.tree.unflatten(aux_tree, results[len(found) :])

        aux_types = problem.traced.out_types[main.num_leaves :]
        rows = [o.ndim for o in outputs for _ in sources]
        return Derived([*found, *aux], [*types, *aux_types], rebuild, made, rows=rows)

    return build


def _jacobian_blocks(
    outputs: Sequence[Expr],
    sources: Sequence[Expr],
    backwards: bool,
    origins: Origins,
    made: Origins,
) -> list[Any]:
    """For each output, its derivatives in each source."""
    if backwards:
        return [reverse_jacobian(o, sources, origins, made) for o in outputs]
    columns = [forward_jacobian(outputs, s, origins, made) for s in sources]
    return [[c[i] for c in columns] for i in range(len(outputs))]


def hessian_matrix(*, has_aux: bool, holomorphic: bool) -> Transformation:
    """Second derivatives: the forward Jacobian of the reverse Jacobian."""

    def build(problem: Problem) -> Derived:
        _check_inputs(problem, holomorphic=holomorphic, allow_int=False)
        main, aux_tree = _main_and_aux(problem, has_aux)
        outputs = problem.graph.outputs[: main.num_leaves]
        _check_outputs(problem, outputs, holomorphic)
        sources = problem.sources
        found: list[Expr] = []
        types: list[Type] = []
        origins, made = dict(problem.graph.origins), {}
        for output in outputs:
            firsts = _lifted(problem, _first_derivatives(output, sources, origins, made), made)
            known = {**made, **origins}
            for first, row in zip(firsts, sources, strict=True):
                for column in sources:
                    type = row.type.with_shape((*output.shape, *row.shape, *column.shape))
                    second = (
                        None if first is None else forward_jacobian([first], column, known, made)[0]
                    )
                    found.append(zeros(type) if second is None else second)
                    types.append(type)
        aux = problem.graph.outputs[main.num_leaves :]

        def rebuild(results: list[Any]) -> Any:
            blocks = iter(results[: len(found)])
            per_output = []
            for _ in outputs:
                rows = [_per_argument(problem, [next(blocks) for _ in sources]) for _ in sources]
                per_output.append(_per_argument(problem, rows))
            matrix = jax.tree.unflatten(main, per_output)
            if not has_aux:
                return matrix
            return matrix, jax.tree.unflatten(aux_tree, results[len(found) :])

        aux_types = problem.traced.out_types[main.num_leaves :]
        rows = [o.ndim + r.ndim for o in outputs for r in sources for _ in sources]
        return Derived([*found, *aux], [*types, *aux_types], rebuild, made, rows=rows)

    return build


def laplacian_sum(problem: Problem) -> Derived:
    """The trace of the Hessian of every output, over all leaves of the arguments together."""
    _check_inputs(problem, holomorphic=False, allow_int=False)
    traced = problem.traced
    outputs = problem.graph.outputs
    _check_outputs(problem, outputs, False)
    made: Origins = {}
    totals: list[Slot] = [None for _ in outputs]
    for source in problem.sources:
        found = second_derivative_sum(outputs, source, dict(problem.graph.origins), made)
        totals = [
            a if b is None else b if a is None else a + b
            for a, b in zip(totals, found, strict=True)
        ]
    slots = [zeros(o.type) if t is None else t for t, o in zip(totals, outputs, strict=True)]

    def rebuild(results: list[Any]) -> Any:
        return jax.tree.unflatten(traced.out_tree, results)

    return Derived(slots, traced.out_types, rebuild, made, traced.out_homes)


def hessian_products(*, with_gradient: bool) -> Mapping[str, Transformation]:
    """The ways to a Hessian times `v`, the call's first argument, by their names.

    The first is the textbook's, and the only one for functions whose derivative rules are the
    user's: what such a rule says of a gradient holds in the order it was written for.

    Args:
        with_gradient: also return the value and the gradient, which the product shares work with.
    """

    def way(name: str) -> Transformation:
        def build(problem: Problem) -> Derived:
            return _hessian_product(problem, HESSIAN_ORDERS[name], with_gradient)

        return build

    return {name: way(name) for name in HESSIAN_ORDERS}


def _hessian_product(problem: Problem, order: _Order, with_gradient: bool) -> Derived:
    _check_inputs(problem, holomorphic=False, allow_int=False)
    main, _ = _main_and_aux(problem, False)
    loss = _scalar_loss(problem, main, False)
    sources = problem.sources
    _check_vector(problem)
    made: Origins = {}
    made_gradient: list[Slot] | None = None
    if with_gradient or order is not _reverse_over_forward:
        pulled = pullback([loss], [full(1, loss.type)], sources, problem.graph.origins, made)
        made_gradient = _lifted(problem, pulled, made)
    products = order(problem, loss, made_gradient or [], made)
    slots, types, _ = _cotangent_results(products, sources)
    for slot, source in zip(slots, sources, strict=True):
        name = problem.graph.origins.get(source, UNKNOWN).name
        made[slot] = Origin(made.get(slot, UNKNOWN).frame, f"Hv_{name}", True)
    if not with_gradient:
        return Derived(
            slots, types, functools.partial(_per_argument, problem), made, problem.cotangent_homes
        )
    gradient, gradient_types, _ = _cotangent_results(made_gradient or [], sources)
    _name_after_inputs(made, gradient, sources, problem)

    def rebuild(results: list[Any]) -> Any:
        first, rest = results[1 : 1 + len(sources)], results[1 + len(sources) :]
        return results[0], _per_argument(problem, first), _per_argument(problem, rest)

    return Derived(
        [loss, *gradient, *slots],
        [*problem.traced.out_types, *gradient_types, *types],
        rebuild,
        made,
        [*problem.traced.out_homes, *problem.cotangent_homes, *problem.cotangent_homes],
    )


def _forward_over_reverse(
    problem: Problem, loss: Expr, gradient: Sequence[Slot], made: Origins
) -> list[Slot]:
    """The tangent of the gradient along v."""
    present = [p for p in gradient if p is not None]
    known = {**made, **problem.graph.origins}
    pushed = iter(pushforward(present, problem.sources, problem.extra_inputs, known, made))
    return [None if p is None else next(pushed) for p in gradient]


def _reverse_over_forward(
    problem: Problem, loss: Expr, gradient: Sequence[Slot], made: Origins
) -> list[Slot]:
    """The gradient of the slope along v."""
    origins = problem.graph.origins
    pushed = pushforward([loss], problem.sources, problem.extra_inputs, origins, made)
    (slope,) = _lifted(problem, pushed, made)
    return _gradient_of(problem, slope, made)


def _reverse_over_reverse(
    problem: Problem, loss: Expr, gradient: Sequence[Slot], made: Origins
) -> list[Slot]:
    """The gradient of the gradient's product with v."""
    slope: Slot = None
    for g, v in zip(gradient, problem.extra_inputs, strict=True):
        if g is not None:
            term = reduce_sum(g * v, axes=tuple(range(g.ndim)))
            term = convert(term, dtype=loss.dtype, weak=loss.type.weak)
            slope = term if slope is None else slope + term
    return _gradient_of(problem, slope, made)


_Order = Callable[[Problem, Expr, Sequence[Slot], Origins], list[Slot]]

HESSIAN_ORDERS: Mapping[str, _Order] = {
    "forward over reverse": _forward_over_reverse,
    "reverse over forward": _reverse_over_forward,
    "reverse over reverse": _reverse_over_reverse,
}
"""Orders of the two passes that make a product with a Hessian."""


def _gradient_of(problem: Problem, slope: Slot, made: Origins) -> list[Slot]:
    if slope is None:
        return [None for _ in problem.sources]
    known = {**made, **problem.graph.origins}
    return pullback([slope], [full(1, slope.type)], problem.sources, known, made)


def _check_vector(problem: Problem) -> None:
    """Whether the first argument has the structure, shapes and dtypes of what it multiplies."""
    wanted, given = _argument_structure(problem), problem.arguments.subtrees[0]
    if given != wanted:
        leaves = [
            {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}
            for tree in (jax.tree.unflatten(t, [0] * t.num_leaves) for t in (wanted, given))
        ]
        missing, unknown = sorted(leaves[0] - leaves[1]), sorted(leaves[1] - leaves[0])
        which = [f"`v{m}` is missing" for m in missing] + [f"`v{u}` is none of it" for u in unknown]
        raise ArgumentError(
            f"the vector of {problem.name} has the structure {structure(given)}, the "
            f"differentiated argument the structure {structure(wanted)}"
            + (f": {which[0]}" if which else ""),
            fix="pass a vector with the structure of the argument it multiplies",
        )
    _check_same_types(
        "vector",
        problem.extra_inputs,
        [s.type for s in problem.sources],
        problem.arguments.paths,
    )


def _lifted(problem: Problem, slots: Sequence[Slot], made: Origins) -> list[Slot]:
    """First derivatives as the laws leave them, whose derivatives are taken next."""
    outputs = tuple(s for s in slots if s is not None)
    origins = {**made, **problem.graph.origins}
    inputs = problem.extra_inputs + problem.graph.inputs
    graph = problem.lift(Graph(inputs, outputs, origins=origins))
    made.update((n, o) for n, o in graph.origins.items() if n not in problem.graph.origins)
    found = iter(graph.outputs)
    return [None if s is None else next(found) for s in slots]


def _main_and_aux(problem: Problem, has_aux: bool) -> tuple[Any, Any]:
    """Structures of the differentiated output and of the auxiliary one."""
    tree = problem.traced.out_tree
    if not has_aux:
        return tree, None
    children = tree.children()
    if len(children) != 2 or not _is_sequence(tree):
        raise OutputError(
            f"has_aux=True needs a function that returns a pair (output, aux), "
            f"`{_fun_name(problem)}` returns {structure(tree)}",
            frame=definition(problem.fun),
            fix="return (output, aux), with everything that is not differentiated in aux",
        )
    return tuple(children)


def _is_sequence(tree: Any) -> bool:
    """Whether a structure is a tuple, a namedtuple or a list, as JAX takes them for a pair."""
    data = tree.node_data()
    return data is not None and issubclass(data[0], tuple | list)


def _scalar_loss(problem: Problem, main: Any, holomorphic: bool) -> Expr:
    """The one scalar output that is differentiated."""
    outputs = problem.graph.outputs[: main.num_leaves]
    if not jax.tree_util.treedef_is_leaf(main) or main.num_leaves != 1:
        raise OutputError(
            f"{problem.name} is only defined for functions with one scalar output; "
            f"`{_fun_name(problem)}` returns {structure(main)}",
            frame=definition(problem.fun),
            fix="return one number, or use has_aux=True for what is not differentiated",
        )
    (loss,) = outputs
    if loss.ndim:
        raise OutputError(
            f"{problem.name} is only defined for functions with a scalar output; "
            f"`{_fun_name(problem)}` returns {loss.type}",
            frame=_output_frame(problem, loss),
            fix="reduce the output with jnp.sum or jnp.mean, or use sg.jacobian",
        )
    _check_outputs(problem, [loss], holomorphic)
    return loss


def _output_frame(problem: Problem, output: Expr) -> Frame | None:
    return problem.graph.origins.get(output, UNKNOWN).frame or definition(problem.fun)


def _fun_name(problem: Problem) -> str:
    return getattr(problem.fun, "__name__", type(problem.fun).__name__)


def _check_inputs(problem: Problem, *, holomorphic: bool, allow_int: bool) -> None:
    for source, path in zip(problem.sources, problem.source_paths, strict=True):
        complex_input = jax.dtypes.issubdtype(source.dtype, np.complexfloating)
        if holomorphic and not complex_input:
            raise ArgumentError(
                f"{problem.name} with holomorphic=True needs complex inputs, "
                f"but `{path}` is {source.type}",
                fix=f"pass `{path}` as a complex number, or leave holomorphic=True out",
            )
        if not source.type.inexact and not allow_int:
            allowed = ", or pass allow_int=True" if problem.name in OF_INTEGERS else ""
            raise ArgumentError(
                f"{problem.name} differentiates in floating-point inputs, "
                f"but `{path}` is {source.type}",
                frame=definition(problem.fun),
                fix=f"pass `{path}` as a float (1.0, x.astype(jnp.float32)), or leave it out "
                f"of argnums{allowed}",
            )


def _check_outputs(problem: Problem, outputs: Sequence[Expr], holomorphic: bool) -> None:
    for output in outputs:
        complex_output = jax.dtypes.issubdtype(output.dtype, np.complexfloating)
        if holomorphic != complex_output or not output.type.inexact:
            wanted = "complex" if holomorphic else "real"
            raise OutputError(
                f"{problem.name} needs {wanted} floating-point outputs; `{_fun_name(problem)}` "
                f"returns {output.type}",
                frame=_output_frame(problem, output),
                fix="pass holomorphic=True for a holomorphic function"
                if complex_output
                else "return a floating-point value",
            )


def _check_same_types(
    what: str, given: Sequence[Expr], wanted: Sequence[Type], paths: Sequence[str]
) -> None:
    for g, w, path in zip(given, wanted, paths, strict=False):
        if g.shape != w.shape or (w.inexact and g.dtype != w.dtype):
            raise ArgumentError(
                f"the {what} `{path}` is {g.type}, what it belongs to is {w}",
                fix=f"give the {what} the shape and dtype of what it belongs to",
            )


def _cotangent_results(
    pulled: Sequence[Slot], sources: Sequence[Expr]
) -> tuple[list[Expr], list[Type], Callable[[list[Any]], list[Any]]]:
    """Nodes and types for the sources that have cotangents; integers get float0 afterwards."""
    real = [(p, s) for p, s in zip(pulled, sources, strict=True) if s.type.inexact]
    slots = [
        zeros(s.type) if p is None else convert(p, dtype=s.dtype, weak=p.type.weak) for p, s in real
    ]
    types = [s.type for _, s in real]

    def put_back(results: list[Any]) -> list[Any]:
        found = iter(results)
        return [next(found) if s.type.inexact else _float0(s.type) for s in sources]

    return slots, types, put_back


def _name_after_inputs(
    made: Origins, slots: Sequence[Expr], sources: Sequence[Expr], problem: Problem
) -> None:
    """A gradient is called `d_` and the name of its input, whatever line computed it."""
    for slot, source in zip(slots, sources, strict=True):
        name = problem.graph.origins.get(source, UNKNOWN).name
        if slot not in problem.graph.origins and slot.args:
            made[slot] = Origin(made.get(slot, UNKNOWN).frame, f"d_{name}", True)


def _float0(type: Type) -> np.ndarray:
    return np.zeros(type.shape, jax.dtypes.float0)


def _with_float0(problem: Problem, blocks: Any, shape: tuple[int, ...]) -> list[Any]:
    return [
        next(blocks) if s.type.inexact else np.zeros((*shape, *s.shape), jax.dtypes.float0)
        for s in problem.sources
    ]


def _split_arguments(problem: Problem, leaves: Sequence[Any]) -> tuple[Any, ...]:
    """One tree per differentiated argument."""
    found = iter(leaves)
    return tuple(
        jax.tree.unflatten(problem.subtree(n), [next(found) for _ in numbers])
        for n, numbers in zip(problem.argnums, problem.wrt, strict=True)
    )


def _per_argument(problem: Problem, leaves: Sequence[Any]) -> Any:
    """As the caller asked: a bare tree for an integer `argnums`, else a tuple of trees."""
    trees = _split_arguments(problem, leaves)
    return trees[0] if problem.single else trees


def _argument_structure(problem: Problem) -> Any:
    trees = [problem.subtree(n) for n in problem.argnums]
    if problem.single:
        return trees[0]
    return jax.tree.structure(tuple(jax.tree.unflatten(t, [0] * t.num_leaves) for t in trees))


def _shorter_backwards(outputs: Sequence[Expr], sources: Sequence[Expr]) -> bool:
    return sum(o.type.size for o in outputs) < sum(s.type.size for s in sources)


def _block_type(output: Expr, source: Expr, like_input: bool) -> Type:
    """Reverse mode returns cotangents of the input, forward mode tangents of the output."""
    return (source if like_input else output).type.with_shape((*output.shape, *source.shape))


def _first_derivatives(
    output: Expr, sources: Sequence[Expr], origins: Origins, made: Origins
) -> Sequence[Slot]:
    if output.ndim:
        return reverse_jacobian(output, sources, origins, made)
    return pullback([output], [full(1, output.type)], sources, origins, made)
