"""symgrad: a symbol-to-symbol differentiation compiler for JAX.

`import symgrad as sg`, then `sg.grad` in place of `jax.grad`: the same results, and
the derivative can be read (`.source`), explained (`.explain`) and differentiated again.
"""

from symgrad.api import Pullback as Pullback
from symgrad.api import grad as grad
from symgrad.api import hessian as hessian
from symgrad.api import hvp as hvp
from symgrad.api import jacfwd as jacfwd
from symgrad.api import jacobian as jacobian
from symgrad.api import jacrev as jacrev
from symgrad.api import jit as jit
from symgrad.api import jvp as jvp
from symgrad.api import laplacian as laplacian
from symgrad.api import trace as trace
from symgrad.api import value_and_grad as value_and_grad
from symgrad.api import value_grad_hvp as value_grad_hvp
from symgrad.api import vjp as vjp
from symgrad.assumptions import Assumption as Assumption
from symgrad.assumptions import Assumptions as Assumptions
from symgrad.assumptions import assume as assume
from symgrad.assumptions import check_assumptions as check_assumptions
from symgrad.certificate import Certificate as Certificate
from symgrad.certificate import check as check
from symgrad.curvature.kinds import fisher_operator as fisher_operator
from symgrad.curvature.kinds import gauss_newton_operator as gauss_newton_operator
from symgrad.curvature.kinds import hessian_operator as hessian_operator
from symgrad.curvature.libraries import MissingLibraryError as MissingLibraryError
from symgrad.curvature.objective import ScipyObjective as ScipyObjective
from symgrad.curvature.objective import scipy_objective as scipy_objective
from symgrad.curvature.operators import CurvatureOperator as CurvatureOperator
from symgrad.curvature.results import ConvergenceWarning as ConvergenceWarning
from symgrad.curvature.results import Diagonal as Diagonal
from symgrad.curvature.results import Eigenpairs as Eigenpairs
from symgrad.curvature.results import Estimate as Estimate
from symgrad.curvature.results import Solution as Solution
from symgrad.curvature.results import Spectrum as Spectrum
from symgrad.curvature.results import Stop as Stop
from symgrad.errors import ArgumentError as ArgumentError
from symgrad.errors import ArgumentValueError as ArgumentValueError
from symgrad.errors import NoDerivativeError as NoDerivativeError
from symgrad.errors import NotationError as NotationError
from symgrad.errors import OutputError as OutputError
from symgrad.errors import SavedGraphError as SavedGraphError
from symgrad.errors import ShapeError as ShapeError
from symgrad.errors import SymgradError as SymgradError
from symgrad.errors import TracingError as TracingError
from symgrad.errors import TracingIndexError as TracingIndexError
from symgrad.errors import TracingValueError as TracingValueError
from symgrad.graph import Graph as Graph
from symgrad.graph import from_sympy as from_sympy
from symgrad.graph import load as load
from symgrad.laws import book as _book
from symgrad.report import Report as Report
from symgrad.structured import StructuredArray as StructuredArray

rules = _book.ALL
"""Every rewrite rule: `.name`, `.law`, `.latex`, `.exact`, `.protects`, `.verified`."""

__version__ = "0.1.0"
