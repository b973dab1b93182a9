"""What every transformation shares: trace, lift, differentiate, simplify, emit, compile, cache.

A transformation is a function from a `Problem` (the traced function and what is
differentiated) to `Derived` (outputs of a graph, and how to rebuild the result).
`Transformed` does the rest.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from symgrad import cost, progress, report, walk
from symgrad.account import Stage
from symgrad.arguments import (
    Arguments,
    check_call,
    check_callable,
    check_values,
    describe,
    parameter_names,
    resolve_argnums,
)
from symgrad.compile import Executable, compile_program
from symgrad.derive import refuse_effects
from symgrad.emit.names import identifier
from symgrad.emit.source import emit
from symgrad.errors import (
    ArgumentError,
    NoDerivativeError,
    OutputError,
    SymgradError,
    TracingError,
    TracingIndexError,
    TracingValueError,
)
from symgrad.expr import Expr, Type, fresh
from symgrad.graph import Graph
from symgrad.kept import keep, release
from symgrad.laws.book import phases, prepared
from symgrad.laws.sharing import shared
from symgrad.laws.totals import lean_loops
from symgrad.ops.calls import has_custom
from symgrad.ops.varying import with_casts
from symgrad.pattern import Rule
from symgrad.plan.companions import with_companions
from symgrad.plan.planner import plan, total_price, work
from symgrad.plan.solvers import factorised
from symgrad.rewrite import Log, simplify
from symgrad.saved.module import recipe, write_module
from symgrad.structured import assembled, compressed
from symgrad.tracing import Home, Homes, Traced, context, home_of, is_constant, trace, type_of
from symgrad.walk import Origin, Origins

Rules = str | Sequence[Rule]


@dataclass(frozen=True, slots=True)
class Problem:
    """What a transformation starts from.

    Attributes:
        name: of the transformation, for messages.
        arguments: of the call; those before `extra` are not the function's own.
        traced: the function, lifted.
        graph: its graph; inputs are the leaves of the function's own arguments.
        extra_inputs: leaves of the arguments that are not the function's own.
        extra: number of arguments that are not the function's own; they come first.
        argnums: which of the function's arguments are differentiated.
        wrt: numbers of the differentiated leaves among the graph's inputs.
        single: whether `argnums` was one integer, so that results are not wrapped in a tuple.
        fun: the user's function.
        lift: applies the laws that come before differentiation, also between two of them.
    """

    name: str
    arguments: Arguments
    traced: Traced
    graph: walk.Graph
    extra_inputs: tuple[Expr, ...]
    extra: int
    argnums: tuple[int, ...]
    wrt: tuple[tuple[int, ...], ...]
    single: bool
    fun: Callable[..., Any]
    lift: Callable[[walk.Graph], walk.Graph]

    @property
    def sources(self) -> list[Expr]:
        """The differentiated inputs."""
        return [self.graph.inputs[i] for leaves in self.wrt for i in leaves]

    @property
    def source_paths(self) -> list[str]:
        offset = len(self.extra_inputs)
        return [self.arguments.paths[offset + i] for leaves in self.wrt for i in leaves]

    @property
    def cotangent_homes(self) -> list[Home | None]:
        """Where the cotangents of the differentiated inputs live: where these do."""
        offset = len(self.extra_inputs)
        numbers = [i for leaves in self.wrt for i in leaves if self.graph.inputs[i].type.inexact]
        return [self.arguments.homes[offset + i] for i in numbers]

    def subtree(self, argnum: int) -> Any:
        """Structure of one of the function's own arguments."""
        return self.arguments.subtrees[argnum + self.extra]


@dataclass(frozen=True, slots=True)
class Derived:
    """What a transformation makes.

    Attributes:
        outputs: nodes over the inputs of the problem.
        types: of the results, weak-type flags included.
        rebuild: from the list of results to what the caller gets.
        origins: of the nodes that were made.
        homes: where the results live; none are given if that is nowhere special.
        effects: whether the effects of the function are part of it.
        rows: of each output that is a matrix of derivatives, how many of its axes are those of
            what is differentiated; such outputs come first.
    """

    outputs: Sequence[Expr]
    types: Sequence[Type]
    rebuild: Callable[[list[Any]], Any]
    origins: Origins
    homes: Sequence[Home | None] = ()
    effects: bool = True
    rows: Sequence[int] = ()


Transformation = Callable[[Problem], Derived]

Ways = Mapping[str, Transformation]
"""Transformations with the same results, of which the cheapest runs; the first where in doubt."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One compiled signature."""

    graph: Graph
    executable: Executable
    rebuild: Callable[[list[Any]], Any]
    report: report.Report


@dataclass(frozen=True, slots=True)
class _Made:
    """What became of a traced function.

    Attributes:
        raw: the derivative as differentiation leaves it.
        graph: the derivative that runs.
        stages: the program after each stage.
        reordered: where products were put in another order.
    """

    problem: Problem
    derived: Derived
    raw: walk.Graph
    graph: walk.Graph
    stages: tuple[Stage, ...]
    log: Log
    reordered: tuple[str, ...] = ()

    def structured(self) -> _Made:
        """The same, returning matrices of derivatives as the arrays they are made of."""
        derived, rows = self.derived, self.derived.rows
        count = len(rows)
        graph, layouts = compressed(self.graph, count)
        shapes = [t.shape for t in derived.types[:count]]

        def rebuild(results: list[Any]) -> Any:
            return derived.rebuild(assembled(results, layouts, shapes, rows))

        types = walk.types_of(graph.outputs)
        return replace(
            self, derived=replace(derived, types=types, rebuild=rebuild), raw=graph, graph=graph
        )


class Transformed:
    """A function made by symgrad: call it like any function that JAX can trace.

    It is compiled once per abstract signature (structure, shapes, dtypes, weak types,
    static values) and may be called from several threads.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> gradient = sg.grad(lambda x: jnp.sum(x**2))
        >>> gradient(jnp.arange(3.0))
        Array([0., 2., 4.], dtype=float32)
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        transformation: Transformation | Ways,
        name: str,
        *,
        argnums: int | Sequence[int] = (),
        extra: int = 0,
        rules: Rules = "default",
        static_argnums: Sequence[int] = (),
        static_argnames: Sequence[str] = (),
        donate_argnums: Sequence[int] = (),
        has_aux: bool = False,
        retrace: bool = False,
        structured: bool = False,
        max_bytes: int | None = None,
    ):
        check_callable(fun, name)
        phases(rules)
        self.fun, self.name = fun, name
        self.ways: Ways = (
            transformation if isinstance(transformation, Mapping) else {"": transformation}
        )
        self.argnums, self.extra, self.rules = argnums, extra, rules
        self.static_argnums, self.static_argnames = tuple(static_argnums), tuple(static_argnames)
        self.donate_argnums = tuple(donate_argnums)
        self.has_aux, self.retrace = has_aux, retrace
        self.structured, self.max_bytes = structured, max_bytes
        self.__name__ = f"{name}_{getattr(fun, '__name__', type(fun).__name__).strip('<>')}"
        self.__doc__ = getattr(fun, "__doc__", None)
        self.__wrapped__ = fun
        if extra:
            self.__signature__ = _with_extra(fun, EXTRA_NAMES[name][:extra])
        self._plans: dict[Any, Plan] = {}
        self._static_kinds: Kinds = ()
        self._lock = threading.RLock()
        self._dispatch = None if self._takes_values else self._dispatched()

    @property
    def _takes_values(self) -> bool:
        """Whether more than the types of a call's arguments decides about its program."""
        return self.retrace or bool(self.static_argnums or self.static_argnames)

    def _dispatched(self) -> Any:
        """`jax.jit` finds the program of a signature it knows without running any Python."""

        def run(*args: Any, **kwargs: Any) -> Any:
            plan, leaves = self._plan((), args, kwargs)
            return plan.rebuild(plan.executable.jitted(*leaves))

        run.__name__ = run.__qualname__ = identifier(self.__name__, "program")
        # Unused arguments are kept so that they are checked to have values.
        return jax.jit(run, donate_argnums=self.donate_argnums, keep_unused=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            found = self._run(args, kwargs)
        finally:
            progress.done()
        return release(found) if self.has_aux else found

    def _run(self, args: Any, kwargs: Any) -> Any:
        if self._dispatch is not None and not self._static_kinds:
            try:
                return self._dispatch(*args, **kwargs)
            except TRACING_ERRORS:
                if self._wider((), args, kwargs) is None:
                    raise
            except SymgradError:
                raise
            except (TypeError, ValueError):
                # Leaves that `jax.jit` does not take: they are constant here, or a mistake.
                pass
        static, args, kwargs = self._without_static(args, kwargs)
        plan, leaves = self._plan(static, args, kwargs)
        if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
            check_values(args, kwargs, self._names(args))
        return plan.rebuild(plan.executable.jitted(*leaves))

    def __repr__(self) -> str:
        return f"<symgrad {self.name} of {getattr(self.fun, '__name__', type(self.fun).__name__)}>"

    def graph(self, *args: Any, **kwargs: Any) -> Graph:
        """The simplified graph that runs for these arguments, arrays or `jax.ShapeDtypeStruct`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> len(sg.grad(lambda x: jnp.sum(x**2)).graph(jnp.arange(3.0)))
            2
        """
        return self._plan_for(args, kwargs).graph

    def source(self, *args: Any, **kwargs: Any) -> str:
        """The program that runs for these arguments: Python that imports only `jax`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> text = sg.grad(lambda x: jnp.sum(x**2)).source(jnp.arange(3.0))
            >>> print(text.splitlines()[-2].strip())
            d_x = 2.0 * x
        """
        return self._plan_for(args, kwargs).executable.program.text

    def save_source(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Write the program that runs for these arguments as a module that needs JAX alone.

        Its docstring says with which versions it was written, and how to write it again. Arrays
        that the function closes over are arguments of the program, as are the leaves of trees.

        Raises:
            SavedGraphError: the program calls objects of this process, such as callbacks.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> import os, tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     file = os.path.join(folder, "slope.py")
            ...     sg.grad(jnp.sin).save_source(file, 1.0)
            ...     os.path.getsize(file) > 0
            True
        """
        program = self._plan_for(args, kwargs).executable.program
        write_module(
            program.text,
            f"{self.name} of `{getattr(self.fun, '__name__', type(self.fun).__name__)}`.",
            recipe(self.fun, self.name, self.argnums, (*args[self.extra :], *kwargs.values())),
            list(program.foreign),
            path,
        )

    def explain(self, *args: Any, **kwargs: Any) -> report.Report:
        """Cost after each stage, the rules that fired and where, and what is left to JAX.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> report = sg.jit(lambda x: jnp.log(1 + jnp.exp(x))).explain(1.0)
            >>> "softplus_from_log" in [firing.rule for firing in report.firings]
            True
        """
        return self._plan_for(args, kwargs).report

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """As `jax.jit(f).lower`: a `jax.stages.Lowered`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> "module" in sg.grad(jnp.sin).lower(1.0).as_text()
            True
        """
        plan, leaves = self._shown_plan(args, kwargs)
        return plan.executable.jitted.lower(*leaves)

    def _plan_for(self, args: Any, kwargs: Any) -> Plan:
        return self._shown_plan(args, kwargs)[0]

    def _shown_plan(self, args: Any, kwargs: Any) -> tuple[Plan, list[Any]]:
        try:
            return self._plan(*self._without_static(args, kwargs))
        finally:
            progress.done()

    def _without_static(self, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
        """Static values, and the arguments with None in their places."""
        if not self.static_argnums and not self.static_argnames:
            return (), args, kwargs
        numbers = {n % len(args) for n in self.static_argnums if -len(args) <= n < len(args)}
        names = parameter_names(self.fun, len(args))
        numbers |= {i for i, n in enumerate(names) if n in self.static_argnames}
        static = tuple((i, args[i]) for i in sorted(numbers))
        static += tuple((k, kwargs[k]) for k in sorted(kwargs) if k in self.static_argnames)
        for where, value in static:
            try:
                hash(value)
            except TypeError:
                raise ArgumentError(
                    f"static argument {where!r} is a {type(value).__name__}, which is not hashable",
                    fix="static values choose the program to compile, so they need a hash",
                ) from None
        kept = tuple(None if i in numbers else a for i, a in enumerate(args))
        return static, kept, {k: v for k, v in kwargs.items() if k not in self.static_argnames}

    def _plan(self, static: Any, args: Any, kwargs: Any) -> tuple[Plan, list[Any]]:
        """The program for a call, and the leaves it takes.

        Python's integers and truth values are traced as `jax.jit` does it, so that a step count
        needs no new program. Where the function wants their values they are static, as
        `jax.grad` has them: the truth values if that is enough, else all.
        """
        whole = self._static_kinds
        while True:
            try:
                found = self._plan_of_kept(static, *self._without_numbers(whole, args, kwargs))
            except TRACING_ERRORS:
                wider = self._wider(whole, args, kwargs)
                if wider is None:
                    raise
                whole = wider
            else:
                self._static_kinds = whole
                return found

    def _without_numbers(self, kinds: Kinds, args: Any, kwargs: Any) -> Any:
        """The arguments with Python's numbers of these kinds kept aside."""
        return self._kept(args, kwargs, lambda leaf: isinstance(leaf, kinds))

    def _wider(self, kinds: Kinds, args: Any, kwargs: Any) -> Kinds | None:
        """More kinds of Python's numbers, if there are such among what is not differentiated."""
        for wider in STATIC_KINDS[STATIC_KINDS.index(kinds) + 1 :]:
            kept = self._without_numbers(wider, args, kwargs)
            if len(jax.tree.leaves(kept)) < len(jax.tree.leaves((args, kwargs))):
                return wider
        return None

    def _plan_of_kept(self, static: Any, args: Any, kwargs: Any) -> tuple[Plan, list[Any]]:
        leaves, tree = jax.tree.flatten((args, kwargs))
        try:
            types = tuple(map(type_of, leaves))
        except TypeError:
            args, kwargs = self._kept(args, kwargs, _is_no_array)
            leaves, tree = jax.tree.flatten((args, kwargs))
            types = describe(args, kwargs, self._names(args), self.extra).types
        key = (tree, types, tuple(map(home_of, leaves)), static, context())
        traced = None
        if self.retrace:
            traced = self._trace(static, args, kwargs)
            key = (*key, traced[1].graph)
        plan = self._plans.get(key)
        if plan is None:
            with self._lock:
                plan = self._plans.get(key)
                if plan is None:
                    plan = self._compile(*(traced or self._trace(static, args, kwargs)))
                    self._remember(key, plan)
                    progress.now("XLA")
        return plan, leaves

    def _kept(self, args: Any, kwargs: Any, which: Callable[[Any], bool]) -> Any:
        """The arguments with some leaves kept aside, where nothing is differentiated."""
        if self.name == "jit":
            return args, kwargs
        numbers = resolve_argnums(self.argnums, len(args) - self.extra, self.name)
        fixed = {*range(self.extra), *(n + self.extra for n in numbers)}
        kept = (a if i in fixed else keep(a, which) for i, a in enumerate(args))
        return tuple(kept), keep(kwargs, which)

    def _remember(self, key: Any, plan: Plan) -> None:
        """Keep a plan; one that is traced anew each time keeps the latest only."""
        self._plans[key] = plan
        if self.retrace and len(self._plans) > RETRACED:
            del self._plans[next(iter(self._plans))]

    def _names(self, args: Sequence[Any]) -> tuple[str, ...]:
        own = parameter_names(self.fun, max(0, len(args) - self.extra))
        return tuple(EXTRA_NAMES.get(self.name, ("given",)))[: self.extra] + own

    def _trace(self, static: Any, args: Any, kwargs: Any) -> tuple[Arguments, Traced]:
        """Check a call and trace the function."""
        own_args = args[self.extra :]
        resolve_argnums(self.argnums, len(own_args), self.name)
        fun = _with_static(self.fun, static)
        fun = _with_kept(fun, self.has_aux)
        check_call(self.fun, *_complete(own_args, kwargs, static))
        arguments = describe(args, kwargs, self._names(args), self.extra)
        first = arguments.count(range(self.extra))
        own_tree = jax.tree.structure((own_args, kwargs))
        progress.now("trace")
        traced = trace(
            fun,
            own_tree,
            arguments.types[first:],
            arguments.names[first:],
            arguments.homes[first:],
        )
        return arguments, traced

    def _compile(self, arguments: Arguments, traced: Traced) -> Plan:
        """From a traced function to a program that runs."""
        progress.now("simplify")
        before, _ = phases(self.rules)
        log = Log()
        lifted = simplify(traced.graph, before, log)
        made, choice = self._cheapest(arguments, traced, lifted, log)
        if self.rules == "default" and self.name != "jit":
            # Neither order of products is always the better one to differentiate.
            planned = plan(lifted)
            if planned is not lifted:
                other = self._derived(arguments, traced, planned, log.copy(), choice.taken)
                made = min(made, self._planned(other), key=lambda m: total_price(m.graph))
        if self.structured:
            made = made.structured()
        else:
            self._check_size(made.derived)
        progress.now("emit")
        homes = Homes(arguments.homes, made.derived.homes)
        final = with_casts(made.graph, homes.varying_inputs, homes.varying_outputs)
        written = factorised(final)
        if self.rules == "default":
            written = with_companions(written)
        program = emit(written, self.__name__, self._about(made.problem))
        donate = tuple(i for i, p in enumerate(arguments.positions) if p in self.donate_argnums)
        return Plan(
            Graph.of(final, made.log),
            compile_program(program, made.raw, made.derived.types, donate, homes),
            made.derived.rebuild,
            report.Report(
                self.__name__,
                made.stages,
                tuple(made.log.steps),
                report.opaque_nodes(final),
                made.log.exhausted,
                choice if len(choice.prices) > 1 else None,
                made.reordered,
            ),
        )

    def _check_size(self, derived: Derived) -> None:
        """Refuse dense results that are larger than the caller allows."""
        size = sum(cost.type_bytes(t) for t in derived.types[: len(derived.rows)])
        if self.max_bytes is not None and size > self.max_bytes:
            raise OutputError(
                f"the result of {self.name} has {size:,} bytes, more than "
                f"max_bytes={self.max_bytes:,}",
                fix="pass structured=True for the arrays it is made of, or use sg.hvp, sg.vjp or "
                "sg.jvp for its products with vectors",
            )

    def _cheapest(
        self, arguments: Arguments, traced: Traced, lifted: walk.Graph, log: Log
    ) -> tuple[_Made, report.Choice]:
        """The way whose simplified derivative costs least, planned, and why it was taken."""
        first, *others = self.ways
        made = self._derived(arguments, traced, lifted, log.copy(), first)
        found, prices = {first: made}, {first: work(made.graph)}
        if self.rules == "default" and not has_custom(lifted) and _are_real(made.problem):
            for name in others:
                try:
                    found[name] = self._derived(arguments, traced, lifted, log.copy(), name)
                except NoDerivativeError:
                    continue
                prices[name] = work(found[name].graph)
        taken = min(prices, key=lambda name: prices[name] / (CLEARLY if name != first else 1))
        return self._planned(found[taken]), report.Choice(prices, taken)

    def _derived(
        self, arguments: Arguments, traced: Traced, lifted: walk.Graph, log: Log, way: str
    ) -> _Made:
        """The derivative of a lifted graph, simplified."""
        before, after = phases(self.rules)
        lifting = len(log.steps)
        progress.now("differentiate")
        problem = self._problem(arguments, traced, lifted, log)
        refuse_effects(problem.graph, problem.sources)
        derived = self.ways[way](problem)
        origins = {**derived.origins, **lifted.origins}
        origins |= {
            e: Origin(name=n) for e, n in zip(problem.extra_inputs, arguments.names, strict=False)
        }
        inputs = problem.extra_inputs + lifted.inputs
        effects = lifted.effects if derived.effects else ()
        raw = walk.Graph(inputs, tuple(derived.outputs), arguments.names, origins, effects)
        progress.now("simplify")
        whole = prepared(raw)
        differentiating = len(log.steps)
        simple = simplify(whole, after, log)
        if self.rules == "default":
            simple = lean_loops(shared(simple))
        stages = [Stage.of("trace", traced.graph, ())]
        if before and self.name != "jit":
            stages.append(Stage.of("lift", lifted, log.steps[:lifting]))
        if self.name != "jit":
            stages.append(Stage.of("differentiate", whole, log.steps[:differentiating]))
        if after:
            stages.append(Stage.of("simplify", simple, log.steps))
        return _Made(problem, derived, raw, simple, tuple(stages), log)

    def _planned(self, made: _Made) -> _Made:
        """The same with its products in the order that costs least."""
        if self.rules != "default":
            return made
        progress.now("plan")
        planned = plan(made.graph)
        if planned is made.graph:
            return made
        final = simplify(planned, phases(self.rules)[1], made.log)
        return replace(
            made,
            graph=final,
            stages=(*made.stages, Stage.of("plan", final, made.log.steps)),
            reordered=report.new_places(made.graph, planned),
        )

    def _problem(
        self, arguments: Arguments, traced: Traced, lifted: walk.Graph, log: Log
    ) -> Problem:
        before, _ = phases(self.rules)
        first = arguments.count(range(self.extra))
        own = len(arguments.subtrees) - self.extra
        argnums = resolve_argnums(self.argnums, own, self.name)
        leaves = [arguments.leaves_of(n + self.extra) for n in argnums]
        return Problem(
            name=self.name,
            arguments=arguments,
            traced=traced,
            graph=lifted,
            extra_inputs=tuple(fresh(t) for t in arguments.types[:first]),
            extra=self.extra,
            argnums=argnums,
            wrt=tuple(tuple(i - first for i in numbers) for numbers in leaves),
            single=not isinstance(self.argnums, Sequence),
            fun=self.fun,
            lift=lambda graph: simplify(graph, before, log),
        )

    def _about(self, problem: Problem) -> str:
        offset = len(problem.extra_inputs)
        names = [problem.arguments.names[offset + i] for numbers in problem.wrt for i in numbers]
        of = getattr(self.fun, "__name__", type(self.fun).__name__)
        wrt = f" with respect to {', '.join(names)}" if names else ""
        return f"{self.name} of `{of}`{wrt}."


TRACING_ERRORS = (TracingError, TracingValueError, TracingIndexError)

Kinds = tuple[type, ...]

STATIC_KINDS: tuple[Kinds, ...] = ((), (bool,), (bool, int))
"""Which of Python's numbers are static, one after another as far as a function needs it."""

CLEARLY = 0.95
"""Another way than the first is taken if it costs less than this part of it."""

RETRACED = 64
"""Programs that `vjp` or `jvp` of one function keeps; they trace it at each call, as JAX does."""

EXTRA_NAMES = {
    "hvp": ("v",),
    "value_grad_hvp": ("v",),
    "vjp": ("cotangent",),
    "jvp": ("tangents",),
}
"""Names of the arguments that a transformation adds in front of the function's own."""


def _with_extra(fun: Callable[..., Any], names: Sequence[str]) -> inspect.Signature:
    """The signature of `fun` after these arguments, for what wraps the transformed function."""
    kind = inspect.Parameter.POSITIONAL_ONLY
    extra = [inspect.Parameter(name, kind) for name in names]
    try:
        known = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        known = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
    taken = {p.name for p in known}
    return inspect.Signature(
        [e.replace(name=f"{e.name}_") if e.name in taken else e for e in extra] + known
    )


def _are_real(problem: Problem) -> bool:
    """Whether no conventions about complex derivatives tell the ways apart."""
    return not any(jax.dtypes.issubdtype(s.dtype, jnp.complexfloating) for s in problem.sources)


def _with_static(fun: Callable[..., Any], static: Sequence[tuple[Any, Any]]) -> Callable[..., Any]:
    """`fun` with its static values put back."""
    if not static:
        return fun

    def with_values(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = _complete(args, kwargs, static)
        return fun(*args, **kwargs)

    return with_values


def _with_kept(fun: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
    """`fun` of arguments in which values are kept aside; of its auxiliary output, all constants."""

    @functools.wraps(fun)
    def released(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = release((args, kwargs))
        found = fun(*args, **kwargs)
        if has_aux and isinstance(found, tuple | list) and len(found) == 2:
            return found[0], keep(found[1], is_constant)
        return found

    return released


def _is_no_array(leaf: Any) -> bool:
    try:
        type_of(leaf)
    except TypeError:
        return True
    return False


def _complete(args: Any, kwargs: Any, static: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    full = list(args)
    named = dict(kwargs)
    for where, value in static:
        if isinstance(where, int):
            full[where] = value
        else:
            named[where] = value
    return tuple(full), named
