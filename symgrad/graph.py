"""The graph people work with: a traced program to differentiate, simplify, read and run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from symgrad import walk
from symgrad.compile import compile_program
from symgrad.cost import Cost, cost
from symgrad.derive import pullback, pushforward
from symgrad.emit.source import Program, emit
from symgrad.errors import ArgumentError, ArgumentValueError, OutputError
from symgrad.expr import Expr, fresh
from symgrad.jacobian import forward_jacobian
from symgrad.laws.book import phases, prepared
from symgrad.laws.sharing import shared
from symgrad.notation import from_sympy as sympy_reader
from symgrad.notation.derivation import Derivation, derivation
from symgrad.notation.program import node_latex, notebook_latex, program_latex
from symgrad.notation.steps import Steps, steps
from symgrad.notation.to_sympy import to_sympy
from symgrad.ops.calls import inline_custom
from symgrad.ops.shape import full, zeros
from symgrad.ops.varying import with_casts
from symgrad.pattern import Rule
from symgrad.pictures.page import page
from symgrad.pictures.svg import notebook_html, svg
from symgrad.plan.solvers import factorised
from symgrad.rewrite import Log, simplify
from symgrad.saved.read import read
from symgrad.saved.write import write
from symgrad.walk import UNKNOWN, Origin, Origins


@dataclass(frozen=True, slots=True)
class Graph(walk.Graph):
    """An expression graph over flat inputs and outputs.

    Every method that transforms returns a new graph; nodes are shared, never copied.

    Attributes:
        log: what `simplify` did, empty before.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> graph = sg.trace(lambda x: jnp.sin(x) * x, 1.0)
        >>> len(graph), len(graph.grad().simplify())
        (2, 4)
    """

    log: Log = field(default_factory=Log, compare=False, repr=False)

    @classmethod
    def of(cls, graph: walk.Graph, log: Log | None = None) -> Graph:
        """A graph of `walk`, with what people do with graphs.

        Example:
            >>> import symgrad as sg
            >>> from symgrad.expr import Type, fresh
            >>> from symgrad.walk import Graph
            >>> x = fresh(Type((), "float32"))
            >>> sg.Graph.of(Graph((x,), (x * x,))).compile()(3.0)
            Array(9., dtype=float32)
        """
        return cls(
            graph.inputs,
            graph.outputs,
            graph.names,
            graph.trimmed(),
            graph.effects,
            log or Log(),
        )

    def with_outputs(self, outputs: Sequence[Expr], origins: Mapping[Expr, Origin]) -> Graph:
        """The same inputs with other outputs, whose new nodes came from `origins`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> graph = sg.trace(lambda x: jnp.sin(x) * x, 1.0)
            >>> (sine,) = [node for node in graph.nodes if node.op.name == "sin"]
            >>> len(graph.with_outputs([sine], graph.origins))
            1
        """
        return replace(self, outputs=tuple(outputs), origins={**origins, **self.origins})

    def with_inputs(self, more: Sequence[Expr], names: Sequence[str]) -> Graph:
        """The same outputs, and more inputs after the others.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> from symgrad.expr import fresh
            >>> graph = sg.trace(jnp.sin, 1.0)
            >>> graph.with_inputs([fresh(graph.inputs[0].type)], ["y"]).names
            ('x', 'y')
        """
        return replace(self, inputs=(*self.inputs, *more), names=(*self._all_names, *names))

    def grad(self, wrt: int | Sequence[int] = 0) -> Graph:
        """The gradient of the one scalar output in the inputs numbered `wrt`.

        Raises:
            OutputError: there are several outputs, or the output is not a scalar.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> float(sg.trace(lambda x: x**3, 2.0).grad().compile()(2.0))
            12.0
        """
        self._check_scalar("gradient")
        return self._pulled_back([full(1, self.outputs[0].type)], self._numbers(wrt))

    def pullback(self, wrt: int | Sequence[int] = 0) -> Graph:
        """Cotangents of the inputs `wrt`; the outputs' cotangents are new inputs at the end.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> graph = sg.trace(jnp.square, 3.0).pullback()
            >>> float(graph.compile()(3.0, 10.0))
            60.0
        """
        seeds = tuple(fresh(o.type) for o in self.outputs)
        names = tuple(f"d_{self._output_name(i)}" for i in range(len(seeds)))
        return self._pulled_back(seeds, self._numbers(wrt)).with_inputs(seeds, names)

    def pushforward(self, wrt: int | Sequence[int] = 0) -> Graph:
        """Tangents of the outputs; the tangents of the inputs `wrt` are new inputs at the end.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> graph = sg.trace(jnp.square, 3.0).pushforward()
            >>> float(graph.compile()(3.0, 10.0))
            60.0
        """
        numbers = self._numbers(wrt)
        sources = [self.inputs[i] for i in numbers]
        tangents = tuple(fresh(s.type) for s in sources)
        made: Origins = {}
        pushed = pushforward(self.outputs, sources, tangents, self.origins, made)
        outputs = [
            zeros(o.type) if t is None else t for t, o in zip(pushed, self.outputs, strict=True)
        ]
        names = tuple(f"{self._input_name(i)}_dot" for i in numbers)
        return self.with_outputs(outputs, made).with_inputs(tangents, names)

    def hvp(self, wrt: int | Sequence[int] = 0) -> Graph:
        """Hessian-vector product: the pushforward of the gradient.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> graph = sg.trace(lambda x: jnp.sum(x**3), jnp.ones(2)).hvp()
            >>> graph.compile()(jnp.array([1.0, 2.0]), jnp.ones(2))
            Array([ 6., 12.], dtype=float32)
        """
        return self.grad(wrt).pushforward(wrt)

    def hessian(self, wrt: int = 0) -> Graph:
        """The dense Hessian of the scalar output in one input.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> graph = sg.trace(lambda x: jnp.sum(x**3), jnp.ones(2)).hessian()
            >>> graph.compile()(jnp.array([1.0, 2.0]))
            Array([[ 6.,  0.],
                   [ 0., 12.]], dtype=float32)
        """
        gradient = self.grad(wrt)
        (number,) = self._numbers(wrt)
        x = self.inputs[number]
        made: Origins = {}
        (found,) = forward_jacobian(gradient.outputs, x, dict(gradient.origins), made)
        dense = zeros(x.type.with_shape(x.shape * 2)) if found is None else found
        return gradient.with_outputs([dense], made)

    def simplify(self, rules: str | Sequence[Rule] = "default") -> Graph:
        """The graph with all laws applied; `.log` of the result lists what fired.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> graph = sg.trace(lambda x: jnp.log(1 + jnp.exp(x)), 1.0)
            >>> [node.op.name for node in graph.simplify().nodes if node.args]
            ['softplus']
        """
        log = Log()
        final = simplify(prepared(self), phases(rules)[1], log)
        return Graph.of(shared(final) if rules == "default" else final, log)

    def cost(self) -> Cost:
        """Nodes, FLOPs, bytes and peak live bytes.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> sg.trace(lambda A, x: A @ x, jnp.ones((3, 4)), jnp.ones(4)).cost().flops
            24
        """
        return cost(self)

    def _program(self, name: str) -> Program:
        return emit(with_casts(factorised(inline_custom(self))), name)

    def source(self, name: str = "program") -> str:
        """The graph as a Python function that imports only `jax`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> print(sg.trace(lambda x: jnp.sin(x) * x, 1.0).source().splitlines()[-1].strip())
            return jnp.sin(x) * x
        """
        return self._program(name).text

    def compile(self, name: str = "program") -> Any:
        """A jitted function of the flat inputs, returning one array or a tuple.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> float(sg.trace(jnp.square, 3.0).compile()(3.0))
            9.0
        """
        types = walk.types_of(self.outputs)
        program = self._program(name)
        executable = compile_program(program, self, types)

        def run(*leaves: Any) -> Any:
            found = executable.jitted(*leaves)
            return found[0] if len(found) == 1 else tuple(found)

        return run

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph to a file that `sg.load` reads: data only, no code, no pickle.

        The file is there whole or not at all. Of functions with derivative rules of their own it
        has what first and second derivatives need.

        Raises:
            SavedGraphError: the graph holds what is no data, such as a callback or a primitive
                that is left to JAX; the error names the line.
            OSError: the file cannot be written.

        Example:
            >>> import os, tempfile
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> graph = sg.trace(lambda x: jnp.sin(x) * x, 1.0).grad().simplify()
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     graph.save(os.path.join(folder, "slope.graph"))
            ...     again = sg.load(os.path.join(folder, "slope.graph"))
            >>> again == graph
            True
        """
        write(self, path)

    def latex(self, node: Expr | None = None) -> str:
        r"""The graph in the notation of textbooks, as one `aligned` block of LaTeX.

        Products of matrices, transposes, Hadamard products, sums over named indices; every value
        with a name of the user's has a line of its own, and so has what is used twice. Vectors are
        columns. The last line says what is returned.

        Args:
            node: only the equation of this node, in the symbols of its operands.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> def energy(A, x):
            ...     return x @ A @ x / 2
            >>> print(sg.grad(energy, 1).graph(jnp.ones((2, 2)), jnp.ones(2)).latex())
            \begin{aligned}
            f\left(A, x\right) &= 0.5 \, \left(A^{\top} \, x + A \, x\right)
            \end{aligned}
        """
        return program_latex(self) if node is None else node_latex(self, node)

    def to_sympy(self) -> Any:
        """The outputs as SymPy's expressions, entry by entry: one, or a tuple.

        An input of rank 0 becomes a `Symbol` of its name, a vector or matrix a `MatrixSymbol`;
        vectors are columns. Results of rank 1 and 2 are matrices.

        Raises:
            NotationError: an operation has no counterpart in SymPy, or an array has more than
                1,000 entries.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> graph = sg.trace(lambda x, y: jnp.sin(x) * y + x**2, 1.0, 2.0)
            >>> graph.to_sympy()
            x**2 + y*sin(x)
            >>> graph.grad().to_sympy()
            2*x + y*cos(x)
        """
        return to_sympy(self)

    def derivation(self, *values: Any) -> Derivation:
        """Backpropagation by hand: the forward primal trace beside the reverse adjoint trace.

        The table of Baydin et al. (2018), Table 3, for the one scalar output: print it, show it in
        a notebook, or take its `.latex()`.

        Args:
            values: of the inputs, for a table with numbers; none for one without.

        Raises:
            OutputError: there are several outputs, or the output is not a scalar.
            ArgumentValueError: there are not as many values as inputs.
            NoDerivativeError: an operation on the way has no reverse mode.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> graph = sg.trace(lambda x1, x2: jnp.log(x1) + x1 * x2, 2.0, 5.0)
            >>> print(graph.derivation(2.0, 5.0))
            forward primal trace     reverse adjoint trace
            ----------------------   ---------------------------
            v₋₁ = x₁ = 2             v̄₃ = ȳ = 1
            v₀ = x₂ = 5              v̄₁ = v̄₃ = 1
            v₁ = log(v₋₁) = 0.6931   v̄₂ = v̄₃ = 1
            v₂ = v₋₁ v₀ = 10         v̄₋₁ = v̄₂ v₀ = 5
            v₃ = v₁ + v₂ = 10.69     v̄₀ = v₋₁ v̄₂ = 2
            y = v₃ = 10.69           v̄₋₁ = v̄₋₁ + v̄₁/v₋₁ = 5.5
        """
        self._check_scalar("derivation")
        if values and len(values) != len(self.inputs):
            raise ArgumentValueError(
                f"{len(values)} values for {len(self.inputs)} inputs",
                fix=f"give one for each of {', '.join(self._all_names)}, or none",
            )

        def evaluate(graph: walk.Graph) -> Sequence[Any]:
            found = Graph.of(graph).compile()(*values)
            return found if isinstance(found, tuple) else (found,)

        return derivation(self, evaluate if values else None)

    def steps(self) -> Steps:
        """The laws that made this graph of a raw one: what each found, and what it put there.

        Of a graph that `simplify` returned, what it did; of any other, what it would do.

        Example:
            >>> import symgrad as sg
            >>> print(sg.trace(lambda x: x * x + x * x, 3.0).steps())
            1. sum_of_equals at <doctest symgrad.Graph.steps[1]>:1
                x x + x x
              = 2 x x
        """
        log = self.log if self.log.steps else self.simplify().log
        return steps(self, log.steps)

    def svg(self) -> str:
        """The graph as a picture, in SVG, which needs no program and no script to be shown.

        Inputs and the forward pass on the left, the derivative on the right in a colour of its own,
        shapes where values leave; pointing at a box shows its formula, type and line. Above 300
        operations, those of one line or one function are one box.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> picture = sg.trace(lambda x: jnp.sin(x) * x, 1.0).grad().svg()
            >>> picture.startswith("<svg")
            True
        """
        return svg(self)

    def html(self, path: str | os.PathLike[str], title: str = "") -> None:
        """Write a page on the graph that needs no network: to zoom, search, fold and step through.

        A click on a box shows its line of the source, one on a line its boxes; the laws that
        simplified the graph are there one by one, before and after.

        Raises:
            OSError: the file cannot be written.

        Example:
            >>> import os, tempfile
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> graph = sg.trace(lambda x: jnp.sin(x) * x, 1.0).grad().simplify()
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     graph.html(os.path.join(folder, "slope.html"))
        """
        text = page(self, steps(self, self.log.steps), title or f"graph of {len(self)} operations")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def _repr_html_(self) -> str | None:
        return notebook_html(self)

    def _repr_latex_(self) -> str | None:
        return notebook_latex(self)

    def __str__(self) -> str:
        return self.source()

    def _pulled_back(self, seeds: Sequence[Expr], numbers: Sequence[int]) -> Graph:
        sources = [self.inputs[i] for i in numbers]
        made: Origins = {}
        pulled = pullback(self.outputs, seeds, sources, self.origins, made)
        outputs = [zeros(s.type) if c is None else c for c, s in zip(pulled, sources, strict=True)]
        return self.with_outputs(outputs, made)

    def _check_scalar(self, what: str) -> None:
        if len(self.outputs) != 1 or self.outputs[0].ndim:
            types = ", ".join(str(o.type) for o in self.outputs)
            raise OutputError(
                f"the {what} of a graph with outputs ({types}) is not defined",
                frame=self.origins.get(self.outputs[0], UNKNOWN).frame if self.outputs else None,
                fix="reduce to one scalar, or use pullback",
            )

    def _numbers(self, wrt: int | Sequence[int]) -> tuple[int, ...]:
        numbers = (wrt,) if isinstance(wrt, int) else tuple(wrt)
        for n in numbers:
            if not -len(self.inputs) <= n < len(self.inputs):
                raise ArgumentValueError(
                    f"wrt={wrt!r}: the graph has {len(self.inputs)} inputs",
                    fix=f"wrt counts inputs from 0: {', '.join(self._all_names)}",
                )
            if not self.inputs[n].type.inexact:
                raise ArgumentError(
                    f"input {self._input_name(n)!r} is {self.inputs[n].type}, "
                    "which has no derivative"
                )
        return tuple(n % len(self.inputs) for n in numbers)

    @property
    def _all_names(self) -> tuple[str, ...]:
        return tuple(self._input_name(i) for i in range(len(self.inputs)))

    def _input_name(self, i: int) -> str:
        return self.names[i] if i < len(self.names) and self.names[i] else f"x{i}"

    def _output_name(self, i: int) -> str:
        return self.origins.get(self.outputs[i], UNKNOWN).name or f"output_{i}"


def from_sympy(expr: Any, symbols: Sequence[Any]) -> Graph:
    """The graph of an expression of SymPy, to differentiate, simplify and compile.

    Args:
        expr: an expression, a matrix of expressions, a `MatrixExpr`, or a list of outputs.
        symbols: the inputs in order: each `Symbol` a number, each `MatrixSymbol` a matrix. Numbers
            are float32, or float64 where JAX is told to use 64 bits.

    Raises:
        NotationError: a function of SymPy has no counterpart, or a number is not real.
        ArgumentError: a symbol of the expression is missing from `symbols`.

    Example:
        >>> import sympy
        >>> import symgrad as sg
        >>> x, y = sympy.symbols("x y")
        >>> graph = sg.from_sympy(sympy.exp(-x * y) / (1 + y**2), [x, y])
        >>> graph.grad(1).simplify().compile()(0.0, 1.0)
        Array(-0.5, dtype=float32)
    """
    return Graph.of(sympy_reader.from_sympy(expr, symbols))


def load(path: str | os.PathLike[str]) -> Graph:
    """The graph that `Graph.save` wrote to a file, with the names and lines it had.

    A file from a stranger can fail to load. It cannot run anything or make this allocate more
    than the file is large. Running what was loaded is running somebody's program: it may be as
    slow and as large as a program can be.

    Raises:
        SavedGraphError: the file is not one that symgrad wrote, or has been changed since.
        OSError: there is no such file, or it cannot be read.

    Example:
        >>> import os, tempfile
        >>> import symgrad as sg
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sg.trace(lambda x: x * x, 1.0).save(os.path.join(folder, "square.graph"))
        ...     sg.load(os.path.join(folder, "square.graph")).compile()(3.0)
        Array(9., dtype=float32, weak_type=True)
    """
    return Graph.of(read(path))
