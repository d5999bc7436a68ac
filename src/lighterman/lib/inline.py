"""Text of strangers in a line of a log: what would end the line, or look like another field, is escaped."""

_PLAIN_MAX = 256


def inline(text: str) -> str:
    """`text` without line ends, control characters and spaces; cut where it becomes a burden."""
    short = text if len(text) <= _PLAIN_MAX else f"{text[:_PLAIN_MAX]}..."
    if short.isprintable() and " " not in short and "\\" not in short:
        return short
    return short.encode("unicode_escape").decode().replace(" ", "\\x20")
