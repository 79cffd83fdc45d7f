"""Text from data as people may be shown it: visible, and of bounded length.

Contract: what comes out holds printable signs only, so that no control character, line break or
change of writing direction reaches a terminal, a figure or a page. Markup is not escaped here.
"""


def spell_out(text: object) -> str:
    """Text with control characters and other invisible signs spelled out."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(text)
    )


def shorten(text: object, limit: int) -> str:
    """The same, with at most ``limit`` signs."""
    plain = spell_out(str(text)[: limit + 1])
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
