"""How Sphinx builds these pages: ``make docs``."""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
# Importing TensorFlow, where a page does, is silent.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from docutils.nodes import SkipNode, math_block  # noqa: E402
from docutils.utils.math.latex2mathml import tex2mathml  # noqa: E402
from pages import built  # noqa: E402

project = "knn-slicing"
author = "The knn-slicing developers"
copyright = author  # noqa: A001
release = "0.1.0"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
templates_path = ["templates"]
exclude_patterns = ["_build", "static", "templates"]

# Code in docstrings has straight quotes.
smartquotes = False

html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_title = "knn-slicing"
html_show_copyright = False
html_copy_source = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# What `make notebooks` has executed is shown as it is.
nb_execution_mode = "off"

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_param = napoleon_use_rtype = False
napoleon_use_ivar = True
# A name in single backquotes, in a docstring, is code.
default_role = "code"

# Types of packages whose documentation is not at hand, and our own aliases of types.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(abc|collections|hydra|keras|mlflow|numpy|np|omegaconf|optuna|os|pathlib|PIL|typing|types|io"
        r"|re)\..*",
    ),
    # Type variables, and classes that are private.
    (r"py:.*", r"evolve\.(checkpoint|executors\.(base|supervised)|jobs)\.(T|R|J|T_co|R_contra)"),
    (r"py:.*", r"slicing\.data\.(dataset|image_files)\.(P_co|Q|A|R)"),
    # What is imported for type checkers alone.
    (r"py:class", r"Image|Layer|Shape"),
    (r"py:.*", r"(.*\.)?_\w+"),
    # A signature with a default factory is no Python: it is split at its commas.
    (r"py:class", r"(dict|tuple)\[[~.\w]+"),
]
# Packages give names of their modules, which are documented there.
autosummary_context = {
    "packages": [
        ".".join(path.parent.relative_to(HERE.parent).parts)
        for room in ("slicing", "evolve")
        for path in (HERE.parent / room).rglob("__init__.py")
    ]
}


def setup(app):
    """Fill the pages in as Sphinx reads them, and keep what it would misread."""
    app.connect("source-read", _fill)
    app.connect("missing-reference", _find)
    app.connect("autodoc-process-signature", _shorten)
    # Before Sphinx takes docstrings apart, and after.
    app.connect("autodoc-process-docstring", _hide_colons, priority=100)
    app.connect("autodoc-process-docstring", _keep_prose, priority=900)
    app.add_html_math_renderer("mathml", (_math, None), (_math, None))


def _fill(app, page, source):
    """Put into a page what the repository has not: tables, options, links to the reference."""
    if app.env.doc2path(page).suffix == ".md":
        source[0] = built(source[0], HERE)


def _find(app, env, node, shown):
    """Find what a docstring names without its module, or by the package that gives it."""
    package, _, last = node["reftarget"].rpartition(".")
    domain = env.get_domain("py")
    found = [name for name in domain.objects if name.endswith(f".{node['reftarget']}")] or [
        name
        for name in domain.objects
        if package and re.match(rf"{re.escape(package)}\..*\b{re.escape(last)}$", name)
    ]
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    place = node["refdoc"], app.builder, node["reftype"], found[0], node, shown
    return domain.resolve_xref(env, *place)


def _math(self, node):
    """Write a formula in a browser's own language: MathJax would have to come from the network."""
    self.body.append(tex2mathml(node.astext(), as_block=isinstance(node, math_block)))
    raise SkipNode


def _shorten(app, what, name, obj, options, signature, returns):
    """Write ``ndarray[tuple[Any, ...], dtype[float32]]`` as ``ndarray[float32]``."""
    long = r"ndarray\[[~.\w]*tuple\[[~.\w]*Any, \.\.\.\], [~.\w]*dtype\[([~.\w]+)\]\]"
    return tuple(text and re.sub(long, r"ndarray[\1]", text) for text in (signature, returns))


_COLON = "\N{MODIFIER LETTER COLON}"


def _hide_colons(app, what, name, obj, options, lines):
    """Hide the colons of an attribute's docstring: Sphinx takes what is before one for a type."""
    if what in ("attribute", "data", "property"):
        lines[:] = [line.replace(":", _COLON) for line in lines]


def _keep_prose(app, what, name, obj, options, lines):
    """Set ``ndarray of shape (n,), float32`` as text: Sphinx looks for a class of each word."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]
    for number, line in enumerate(lines):
        if field := re.fullmatch(r"(\s*:(?:ivar|vartype)) ([^:]+):(.*)", line):
            start, names, rest = field.groups()
            rest = f" *{rest.strip()}*" if start.endswith("vartype") else rest
            # Of two words it takes the first for a type.
            lines[number] = f"{start} {names.replace(', ', ',')}:{rest}"
