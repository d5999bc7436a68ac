"""Texts as Go's `%q` writes them: dockerd's histories and error texts are full of them."""

from collections.abc import Iterable

_NAMED = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def go_quote(text: str) -> str:
    """`text` in double quotes; what cannot be printed is escaped. Source: strconv.Quote of Go."""
    return '"' + "".join(_NAMED.get(char) or _shown(char) for char in text) + '"'


def go_quote_list(texts: Iterable[str]) -> str:
    """A slice of texts as `%q` writes it: `["sh" "-c"]`."""
    return "[" + " ".join(go_quote(text) for text in texts) + "]"


def go_quote_char(code: int) -> str:
    """A number as `%q` writes it, the character that has it: `'\\x03'`. Source: strconv.QuoteRune of Go."""
    char = chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else "\ufffd"
    if char == '"':
        return "'\"'"
    return "'" + ("\\'" if char == "'" else _NAMED.get(char) or _shown(char)) + "'"


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
