"""What went wrong, where in the user's own code, and what to do about it.

Every error symgrad raises derives from `SymgradError` and, where Python has a
natural class for the mistake, from that class too, so `except TypeError`
written for JAX goes on working.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Frame:
    """A place in the user's source; columns count bytes from 0, `end_column` is excluded.

    `quoted` is the line as it was, where the file is not to be asked: that of a saved graph is on
    somebody else's computer.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    function: str
    quoted: str | None = field(default=None, compare=False)

    @property
    def raw(self) -> str:
        """The source line as it stands, empty if the file cannot be read."""
        if self.quoted is not None:
            return self.quoted
        return linecache.getline(self.file, self.line).rstrip("\n")

    @property
    def text(self) -> str:
        """The source line without its indentation, empty if the file cannot be read."""
        return self.raw.strip()

    @property
    def expression(self) -> str:
        """The characters the frame points at, up to the end of its line."""
        raw = self.raw
        return raw[slice(*self._span(raw))]

    def _span(self, raw: str) -> tuple[int, int]:
        """The first and last character pointed at; Python counts columns in bytes of UTF-8."""
        data = raw.encode()
        last = self.end_column if self.end_line == self.line else len(data)
        start, end = (len(data[:c].decode(errors="ignore")) for c in (self.column, last))
        return max(start, len(raw) - len(raw.lstrip())), end

    def excerpt(self) -> str:
        """The line with a caret under the expression, ready for an error message."""
        raw = self.raw
        place = f"  {self.file}:{self.line} in {self.function}"
        if not raw.strip():
            return place
        indent = len(raw) - len(raw.lstrip())
        start, end = self._span(raw)
        number = f"{self.line:>6} | "
        pointer = " " * (len(number) + start - indent) + "^" * max(1, end - start)
        return f"{place}\n{number}{raw[indent:]}\n{pointer}"


class SymgradError(Exception):
    """Base of all symgrad errors.

    Attributes:
        what: one sentence, with shapes and dtypes where they matter.
        frame: the user's line, or None when the mistake is in the call itself.
        fix: what to do instead.
        code: of the class, the same in all versions; docs/errors.md has a section on each.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> try:
        ...     sg.grad(jnp.sin)(jnp.ones(3))
        ... except sg.SymgradError as error:
        ...     print(error.code, type(error).__name__)
        SG003 OutputError
    """

    code: ClassVar[str] = "SG000"

    def __init__(self, what: str, *, frame: Frame | None = None, fix: str = ""):
        self.what, self.frame, self.fix = what, frame, fix
        parts = [what]
        if frame is not None:
            parts += ["", frame.excerpt()]
        if fix:
            parts += ["", f"  fix: {fix}"]
        parts += [f"  code: {self.code}"] if fix else ["", f"  code: {self.code}"]
        super().__init__("\n".join(parts))

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), frame=self.frame, fix=self.fix), (self.what,)


class ArgumentError(SymgradError, TypeError, ValueError):
    """An argument has a type, shape, structure or position that the transformation cannot take.

    JAX raises `TypeError` for some of these mistakes and `ValueError` for others; this is both.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.grad(jnp.square)(2)
        Traceback (most recent call last):
        ...
        symgrad.errors.ArgumentError: ...
    """

    code = "SG001"


class ArgumentValueError(SymgradError, ValueError):
    """An argument has the right type and an impossible value (`rules=` that are not known).

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.grad(jnp.square, rules="fast")(2.0)
        Traceback (most recent call last):
        ...
        symgrad.errors.ArgumentValueError: ...
    """

    code = "SG002"


class OutputError(SymgradError, TypeError):
    """The function returns something that the transformation cannot differentiate.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.grad(jnp.sin)(jnp.ones(3))
        Traceback (most recent call last):
        ...
        symgrad.errors.OutputError: ...
    """

    code = "SG003"


class ShapeError(SymgradError, TypeError):
    """Operands have shapes or dtypes that do not fit together.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> a, b = sg.trace(jnp.outer, jnp.ones(3), jnp.ones(2)).inputs
        >>> a + b
        Traceback (most recent call last):
        ...
        symgrad.errors.ShapeError: ...
    """

    code = "SG004"


class TracingError(SymgradError, TypeError):
    """The function could not be traced: its control flow or a library call needs a value.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.grad(lambda x: x if x > 0 else -x)(1.0)
        Traceback (most recent call last):
        ...
        symgrad.errors.TracingError: ...
    """

    code = "SG005"


class TracingValueError(SymgradError, ValueError):
    """The function raised a ValueError while it was traced.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.jit(lambda x: jnp.concatenate([]) + x)(1.0)
        Traceback (most recent call last):
        ...
        symgrad.errors.TracingValueError: ...
    """

    code = "SG006"


class TracingIndexError(SymgradError, IndexError):
    """The function indexed an array in a way that is impossible or depends on values.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.jit(lambda x: x[x > 0])(jnp.ones(3))
        Traceback (most recent call last):
        ...
        symgrad.errors.TracingIndexError: ...
    """

    code = "SG007"


class NoDerivativeError(SymgradError, NotImplementedError, ValueError):
    """A derivative was asked for where symgrad knows none, or where there is none.

    JAX raises `ValueError` for the second, as for a `while_loop` in reverse mode.

    Example:
        >>> import symgrad as sg
        >>> from jax import lax
        >>> halved = lambda x: lax.while_loop(lambda x: x > 1, lambda x: x / 2, x)
        >>> sg.grad(halved)(9.0)
        Traceback (most recent call last):
        ...
        symgrad.errors.NoDerivativeError: ...
    """

    code = "SG008"


class NoExactValueError(SymgradError, NotImplementedError):
    """A value to any number of digits was asked for where only floating point has one."""

    code = "SG010"


class MissingTransposeError(NoDerivativeError, TypeError):
    """A linear solve in reverse mode without a way to solve the transposed equations.

    JAX raises `TypeError` for it.
    """

    code = "SG009"


class SavedGraphError(SymgradError, ValueError):
    """A file is no graph that symgrad saved, or a graph holds what a file cannot.

    Example:
        >>> import symgrad as sg
        >>> sg.load(sg.__file__)
        Traceback (most recent call last):
        ...
        symgrad.errors.SavedGraphError: ...
    """

    code = "SG011"


class NotationError(SymgradError, NotImplementedError):
    """A graph has no counterpart in the notation that was asked for.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> sg.trace(jnp.sin, jnp.ones((2, 2, 2))).to_sympy()
        Traceback (most recent call last):
        ...
        symgrad.errors.NotationError: ...
    """

    code = "SG012"
