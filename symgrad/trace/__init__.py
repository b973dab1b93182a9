"""From JAX to graphs: nothing outside this package knows jaxprs."""

from symgrad.trace.jaxpr import Traced as Traced
from symgrad.trace.jaxpr import trace as trace
from symgrad.trace.jaxpr import type_of as type_of
from symgrad.trace.jaxpr import with_weak_type as with_weak_type
