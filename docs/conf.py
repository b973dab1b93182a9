"""How `make docs` builds these pages. The source folder is the root, so that links hold."""

import importlib.metadata

project = "symgrad"
author = "The symgrad authors"
version = release = importlib.metadata.version("symgrad")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]

root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "notebooks/*.ipynb",
    "benchmarks/results.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "build", "symgrad", "tests"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"

default_role = "code"
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_use_ivar = True

# Every reference that is written must lead somewhere; those that only type annotations make,
# to JAX, NumPy and the insides of symgrad, need not.
nitpicky = True
nitpick_ignore_regex = [("py:class", r".*")]

html_theme = "alabaster"
html_theme_options = {
    "description": "Derivatives you can read",
    "page_width": "72em",
    "fixed_sidebar": True,
}
html_show_sourcelink = False
