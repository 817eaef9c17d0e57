"""What a condition on rows may say. Everything else is refused before polars reads it.

polars' SQL is more than conditions: a subquery opens files (``read_csv('…')``), and some functions make a
value of any size (``generate_series``, ``lpad``) or a text that grows with every nesting (``replace``). A
condition comes from a brain and runs in the host's process. So it is read here word by word: known functions,
no subqueries, no statements, and no more operators than are worked out in a moment (the time grows with the
third power of their number: 100 take 0.07 s, 400 take 3 s).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ml_intern.errors import ToolError
from ml_intern.tooling import did_you_mean

HINT = 'Write a condition such as "parses_python(text)" or "char_length(text) > 20 AND label = \'good\'".'
MOST_CHARS = 8_000
MOST_OPERATORS = 100
_KNOWN = """
    char_length character_length length octet_length bit_length lower upper initcap trim btrim ltrim rtrim
    left right substr substring strpos position starts_with ends_with regexp_like split_part reverse normalize
    abs ceil ceiling floor round sign sqrt cbrt mod div pow power exp ln log log2 log10
    coalesce nullif ifnull if greatest least cast try_cast extract date_part date
    array_length array_contains array_sum array_mean
    avg sum min max count median stddev quantile_cont quantile_disc row_number rank dense_rank
"""
FUNCTIONS = frozenset(_KNOWN.split())
"""None of these opens a file, draws at random, or gives back more than it was given."""
PYTHON_NAMES = {"len": "char_length", "startswith": "starts_with", "endswith": "ends_with"}

_WORDS = """
    and or not in is null true false between like ilike similar to rlike regexp case when then else end over
    partition by order asc desc distinct as using interval all any some from for both leading trailing
    int integer bigint smallint tinyint float double real decimal numeric varchar char text string boolean
    bool
"""
_NO_FUNCTION = frozenset(_WORDS.split())
_QUERY_WORDS = (
    "select table values with union intersect except exists insert update delete drop create alter join into "
    "copy attach load install pragma set call explain show describe lateral unnest explode limit"
)
_STATEMENTS = frozenset(_QUERY_WORDS.split())
_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
    | (?P<word>[^\W\d]\w*)
    | (?P<operator><=|>=|<>|!=|==|\|\||::|!~\*|!~|~\*|[-+*/%=<>~])
    | (?P<sign>[()\[\],.])
    """,
    re.X,
)
_OPERATORS = "and or not in between like ilike similar rlike regexp when is"
_WORD_OPERATORS = frozenset(_OPERATORS.split())


def check(where: str, own: Collection[str] = ()) -> None:
    """Refuse a condition that is more than one.

    Args:
        where: The condition.
        own: Further functions that are known: predicates that the host works out itself.

    Raises:
        ToolError: Names the word that is not allowed.
    """
    if not where.strip():
        raise refused(where, "it is empty")
    if len(where) > MOST_CHARS:
        raise ToolError(
            f"The condition has {len(where)} characters, more than {MOST_CHARS}.", "Filter in steps."
        )
    tokens = _tokens(where)
    operators = 0
    for at, (kind, token) in enumerate(tokens):
        before, after = (tokens[i][1] if 0 <= i < len(tokens) else "" for i in (at - 1, at + 1))
        operators += kind == "operator" or (kind == "word" and token.lower() in _WORD_OPERATORS)
        if kind == "word":
            _check_word(where, token, before, after, own)
        elif kind == "quoted" and after == "(":
            raise refused(where, f"the function name {token} stands in quotes")
        elif token in ("--", "/*"):
            raise refused(where, "it holds a comment")
    if operators > MOST_OPERATORS:
        raise ToolError(
            f"The condition has {operators} operators, more than {MOST_OPERATORS}.",
            "Filter in steps, or write 'column IN (…)'.",
        )


def unknown_function(where: str, name: str, own: Collection[str] = ()) -> ToolError:
    """The error for a function that is not on the list, with what was meant."""
    known = PYTHON_NAMES.get(name.lower())
    guess = f" (did you mean {known!r}?)" if known else did_you_mean(name.lower(), [*own, *sorted(FUNCTIONS)])
    return refused(where, f"unsupported function '{name}'{guess}")


def _tokens(where: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(where):
        match = _TOKEN.match(where, at)
        if match is None:
            raise refused(where, f"{where[at]!r} at character {at + 1} cannot stand there")
        kind, token = str(match.lastgroup), match[0]
        if kind == "text" and "\\'" in token:
            # Some dialects end the text later than we do here; nobody needs it.
            raise refused(where, "a text holds a backslash before a quote")
        at = match.end()
        if where.startswith(("--", "/*"), match.start()):
            raise refused(where, "it holds a comment")
        if kind != "space":
            found.append((kind, token))
    return found


def _check_word(where: str, word: str, before: str, after: str, own: Collection[str]) -> None:
    low = word.lower()
    if low in _STATEMENTS and before != ".":
        raise refused(
            where, f'{word!r} begins a query; a column of that name is written in double quotes, "{word}"'
        )
    if low == "from" and before in ("(", ""):
        raise refused(where, "'FROM' begins a query")
    if after == "(" and low not in _NO_FUNCTION and low not in FUNCTIONS and word not in own:
        raise unknown_function(where, word, own)
    if after.startswith("'") and low not in _NO_FUNCTION | {"date"}:
        raise refused(where, f"{word!r} stands before a text")


def refused(where: str, why: str) -> ToolError:
    """The one line that says why a condition cannot be used."""
    shown = where if len(where) <= 200 else where[:199] + "…"
    return ToolError(f"The condition {shown!r} cannot be used: {why}.", HINT)
