"""From JAX to graphs: nothing outside this package knows jaxprs."""

from symgrad.tracing.jaxpr import Traced as Traced
from symgrad.tracing.jaxpr import is_constant as is_constant
from symgrad.tracing.jaxpr import trace as trace
from symgrad.tracing.jaxpr import type_of as type_of
from symgrad.tracing.jaxpr import with_weak_type as with_weak_type
from symgrad.tracing.location import definition as definition
