"""Sphinx configuration: ``sphinx-build -W docs docs/_build``."""

import simkit

project = "simkit"
author = "The simkit developers"
copyright = "2026, The simkit developers"
release = simkit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "simkit"
