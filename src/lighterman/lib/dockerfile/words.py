"""Words of an instruction: quotes, escapes and variables as dockerd's own small shell reads them.

Double quotes keep variables alive, single quotes keep everything as it is, the escape character keeps one
character. A variable is `$name` or `${name}`, with a modifier between name and brace:

    :-word -word    the word where the variable is unset (with the colon: or empty)
    :+word +word    the word where it is set (and not empty)
    :?word ?word    an error with the word as its text where it is unset (or empty)
    #pattern ##pattern %pattern %%pattern /pattern/text //pattern/text    as in bash

Source: Dockerfile reference, environment replacement; frontend/dockerfile/shell as dockerd 20.10.24 has it,
with the modifiers of later ones. The texts of errors are its own.
"""

from collections.abc import Iterator, Mapping

from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile.patterns import substituted, without_prefix, without_suffix
from lighterman.lib.go_quote import go_quote

SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What Go takes for space; Python's str.strip() would take the separators of ASCII, too."""

LONGEST = 128 * 1024
"""Characters that variables may put into one word: the kernel passes no longer text to a program. Without an
end, `ENV A=$A$A` a few dozen times would fill any memory."""

_SPECIAL = "@*#?-$!0"


class BadWord(ValueError):
    """A quote or brace that is never closed, or a substitution that is none."""


def expand(word: str, variables: Mapping[str, str], escape: str = "\\", *, quotes: bool = True) -> str:
    """`word` as one word: without its quotes, with the values of its variables.

    Without `quotes` they are characters like others, as in a heredoc.
    Raises: InvalidParameter in dockerd's words.
    """
    return _Lexer(word, variables, escape, quotes).read()[0]


def expand_words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The words of `text`, which spaces outside of quotes divide; those in a variable's value do too.

    Raises: InvalidParameter in dockerd's words.
    """
    return _Lexer(text, variables, escape, True).read()[1]


def split_words(text: str, escape: str = "\\") -> list[str]:
    """The words of `text` as they are written, with quotes, escapes and variables; it knows no errors."""
    found, word, quote = [], "", ""
    chars = iter(text)
    for char in chars:
        if not quote and char in SPACES:
            found += [word] if word else []
            word = ""
            continue
        if char == escape and quote != "'":
            following = next(chars, "")
            word += char + following if following else ""
            continue
        word += char
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
    return [*found, word] if word else found


class _Lexer:
    """Reads one text once, from the left."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str, quotes: bool) -> None:
        self._text = text
        self._at = 0
        self._variables = variables
        self._escape = escape
        self._quotes = "'\"" if quotes else ""
        self._grown = 0

    def read(self) -> tuple[str, list[str]]:
        try:
            pieces = list(self._pieces(until=""))
        except BadWord as error:
            raise InvalidParameter(f"failed to process {go_quote(self._text)}: {error}") from error
        return "".join(text for text, _ in pieces), _divided(pieces)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _pieces(self, until: str, *, keep_escapes: bool = False) -> Iterator[tuple[str, bool]]:
        """Texts, and whether their spaces are their own, to the character `until` or the end."""
        while char := self._peek():
            if char == until:
                self._at += 1
                return
            yield self._piece(keep_escapes)
        if until:
            raise BadWord(f"unexpected end of statement while looking for matching {until}")

    def _piece(self, keep_escapes: bool) -> tuple[str, bool]:
        char = self._next()
        if char in self._quotes:
            return (self._single() if char == "'" else self._double()), True
        if char == "$":
            return self._value(), False
        if char == self._escape:
            kept = self._next()
            return (char + kept if keep_escapes else kept), True
        return char, False

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise BadWord("unexpected end of statement while looking for matching single-quote")
        inner, self._at = self._text[self._at : end], end + 1
        return inner

    def _double(self) -> str:
        inner = ""
        while char := self._next():
            if char == '"':
                return inner
            if char == "$":
                inner += self._value()
            elif char == self._escape:
                if self._peek() in ('"', "$", self._escape):
                    inner += self._next()
                elif self._peek():
                    inner += char
            else:
                inner += char
        raise BadWord("unexpected end of statement while looking for matching double-quote")

    def _value(self) -> str:
        value = self._variable()
        self._grown += len(value)
        if self._grown > LONGEST:
            raise BadWord(f"its variables hold more than {LONGEST} characters")
        return value

    def _variable(self) -> str:
        """What stands behind a dollar."""
        if self._peek() != "{":
            name = self._name()
            return self._variables.get(name, "") if name else "$"
        self._at += 1
        match self._peek():
            case "":
                raise BadWord("syntax error: missing '}'")
            case "{" | "}" | ":":
                raise BadWord("syntax error: bad substitution")
        name, modifier = self._name(), self._next()
        value = self._variables.get(name)
        match modifier:
            case "}":
                return value or ""
            case "#" | "%":
                return self._trimmed(modifier, value or "")
            case "/":
                return self._substituted(value or "")
            case "-" | "+" | "?":
                return self._chosen(modifier, name, value, self._inner("}"), empty_is_unset=False)
            case ":":
                modifier = self._next()
                return self._chosen(modifier, name, value, self._inner("}"), empty_is_unset=True)
        raise BadWord("missing ':' in substitution")

    def _inner(self, until: str, *, keep_escapes: bool = False) -> str:
        """What stands before the closing character; variables in it are read."""
        try:
            return "".join(text for text, _ in self._pieces(until, keep_escapes=keep_escapes))
        except BadWord:
            if not self._peek():  # dockerd says so of any error that reached the end
                raise BadWord("syntax error: missing '}'") from None
            raise

    @staticmethod
    def _chosen(modifier: str, name: str, value: str | None, word: str, *, empty_is_unset: bool) -> str:
        missing = value is None or (empty_is_unset and value == "")
        match modifier:
            case "-":
                return word if missing else value or ""
            case "+":
                return "" if missing else word
            case "?":
                if missing:
                    state = "unset" if value is None else "empty"
                    raise BadWord(f"{name}: {word or f'is not allowed to be {state}'}")
                return value or ""
        raise BadWord(f"unsupported modifier ({modifier}) in substitution")

    def _trimmed(self, side: str, value: str) -> str:
        pattern = self._inner("}", keep_escapes=True)
        longest = pattern.startswith(side)
        trim = without_prefix if side == "#" else without_suffix
        return trim(pattern[longest:], value, longest=longest)

    def _substituted(self, value: str) -> str:
        everywhere = self._peek() == "/"
        self._at += everywhere
        pattern = self._inner("/", keep_escapes=True)
        return substituted(pattern, value, self._inner("}"), everywhere=everywhere)

    def _name(self) -> str:
        """A name, a number, or one of the shell's own parameters; empty when there is none."""
        start = self._at
        if self._peek().isdigit():
            while self._peek().isdigit():
                self._at += 1
        elif self._peek() and self._peek() in _SPECIAL:
            self._at += 1
        else:
            while (char := self._peek()) and (char.isalpha() or char.isdigit() or char == "_"):
                self._at += 1
        return self._text[start : self._at]


def _divided(pieces: list[tuple[str, bool]]) -> list[str]:
    """Words of pieces; one that is empty is none, however it was quoted."""
    words = [""]
    for text, whole in pieces:
        if whole:
            words[-1] += text
            continue
        for char in text:
            if char not in SPACES:
                words[-1] += char
            elif words[-1]:
                words.append("")
    return words if words[-1] else words[:-1]
