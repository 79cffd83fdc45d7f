"""What the reference shows otherwise than the code says it.

Contract: cross-references of docstrings, such as :mod:`explstm.scaling`, become links of the site,
and defaults that are names of constants become their values.
"""

import re
from typing import Any

import griffe

LITERAL = re.compile(r"""-?[\d.]+(e-?\d+)?$|(['"]).*\2$""")
ROLE = re.compile(r":(?:mod|class|func|meth|data|attr|exc):`([\w.]+)`")


class Roles(griffe.Extension):
    """Rewrites docstrings and defaults of a package once it is read."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite everything in the package."""
        self._rewrite(pkg)

    def _rewrite(self, part: griffe.Object | griffe.Alias) -> None:
        if part.is_alias:
            return
        if part.docstring:
            part.docstring.value = ROLE.sub(
                lambda found: _link(part, found[1]), part.docstring.value
            )
        if part.is_function:
            for parameter in part.parameters:
                parameter.default = _find_value(part, parameter.default)
        for member in part.members.values():
            self._rewrite(member)


def _link(part: griffe.Object, name: str) -> str:
    """A link where the name leads to something that the reference shows, else the name alone."""
    try:
        path = name if name.startswith("explstm.") else part.resolve(name)
        target = part.modules_collection[path]
    except (KeyError, griffe.GriffeError):
        return f"`{name}`"
    is_shown = target.is_public and target.has_docstring
    return f"[`{name}`][{target.canonical_path}]" if is_shown else f"`{name}`"


def _find_value(part: griffe.Object, default: Any) -> Any:
    """The value of a constant, or of a field of an instance made without arguments."""
    name, dot, field = str(default).partition(".")
    try:
        constant = part.modules_collection[part.resolve(name)]
        value = str(constant.value)
        if dot:
            made = constant.module.resolve(value.removesuffix("()"))
            return part.modules_collection[made].members[field].value
    except (AttributeError, KeyError, griffe.GriffeError):
        return default
    return value if LITERAL.match(value) else default
