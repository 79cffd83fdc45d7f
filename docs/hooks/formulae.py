"""Formulae between dollar signs become MathML, which browsers show without a script or a font."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Convert what the extension arithmatex has marked."""
    return FORMULA.sub(_to_mathml, content)


def _to_mathml(found: re.Match[str]) -> str:
    display = {"span": "inline", "div": "block"}[found[1]]
    mathml = convert(html.unescape(found[2]).strip(), display=display)
    return f'<{found[1]} class="formula">{mathml}</{found[1]}>'
