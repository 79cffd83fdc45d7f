"""Cross-references of docstrings, such as :mod:`explstm.scaling`, become links of the site."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:mod|class|func|meth|data|attr|exc):`([\w.]+)`")


class Roles(griffe.Extension):
    """Rewrites the docstrings of a package once it is read."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite the docstring of everything in the package."""
        self._rewrite(pkg)

    def _rewrite(self, part: griffe.Object | griffe.Alias) -> None:
        if part.is_alias:
            return
        if part.docstring:
            part.docstring.value = ROLE.sub(
                lambda found: _link(part, found[1]), part.docstring.value
            )
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
