"""From JAX to graphs: nothing outside this package knows jaxprs."""

from symgrad.tracing.homes import Home as Home
from symgrad.tracing.homes import Homes as Homes
from symgrad.tracing.homes import context as context
from symgrad.tracing.homes import home_of as home_of
from symgrad.tracing.homes import unsharded as unsharded
from symgrad.tracing.jaxpr import Traced as Traced
from symgrad.tracing.jaxpr import trace as trace
from symgrad.tracing.location import definition as definition
from symgrad.tracing.values import is_constant as is_constant
from symgrad.tracing.values import type_of as type_of
from symgrad.tracing.values import with_weak_type as with_weak_type
