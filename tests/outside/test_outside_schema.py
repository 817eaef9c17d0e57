"""A JSON schema becomes checks, help and a proxy; whatever a server may write there, nothing breaks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_intern.errors import ToolError
from ml_intern.outside.spec import OutsideSpec
from ml_intern.outside.words import clean, identifier, one_line, quoted

SENT: list[dict[str, Any]] = []


def spec(properties: dict[str, Any], required: list[str] = [], **more: Any) -> OutsideSpec:  # noqa: B006
    def run(ctx: Any, given: dict[str, Any]) -> Any:
        SENT.append(given)
        return given

    schema = {"type": "object", "properties": properties, "required": required, **more}
    return OutsideSpec(name="srv__do", function=run, effect="read", schema=schema, speaker="MCP server 'srv'")


def sent(tool: OutsideSpec, **arguments: Any) -> Any:
    return tool.call(None, tool.validate(arguments))


def test_only_what_was_given_is_sent_and_by_the_tools_own_names() -> None:
    tool = spec({"from": {"type": "string"}, "page-size": {"type": "integer"}, "class": {}}, ["from"])
    assert tool.signature == "srv__do(from_: str, page_size: int = None, class_: Any = None)"
    assert sent(tool, from_="a") == {"from": "a"}
    assert sent(tool, from_="a", page_size=3, class_={"x": [1]}) == {
        "from": "a",
        "page-size": 3,
        "class": {"x": [1]},
    }
    assert sent(tool, from_="a", page_size=None) == {"from": "a"}
    assert tool.validate({"from_": "a"}).model_dump() == {"from_": "a"}


def test_null_is_sent_where_it_means_something() -> None:
    assert sent(spec({"a": {"type": ["string", "null"]}}, ["a"]), a=None) == {"a": None}


def test_names_that_mend_alike_stay_apart() -> None:
    tool = spec({"a-b": {}, "a.b": {}, "a_b": {}})
    assert sent(tool, a_b=1, a_b_2=2, a_b_3=3) == {"a-b": 1, "a.b": 2, "a_b": 3}


NESTED = {
    "filter": {
        "type": "object",
        "properties": {
            "state": {"enum": ["open", "closed"]},
            "labels": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["state"],
        "additionalProperties": False,
    },
    "limit": {"type": "integer", "minimum": 1, "maximum": 50},
    "ratio": {"type": "number"},
    "who": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    "at": {"$ref": "#/$defs/point"},
}
POINT = {"$defs": {"point": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}}}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"limit": 0}, "limit = 0: input should be greater than or equal to 1"),
        ({"limit": 51}, "limit = 51"),
        ({"limit": "many"}, "limit = 'many'"),
        ({"filter": {}}, "missing argument 'filter.state'"),
        ({"filter": {"state": "opn"}}, "did you mean 'open'"),
        ({"filter": {"state": "open", "labels": [1]}}, "filter.labels.0"),
        ({"filter": {"state": "open", "colour": "red"}}, "filter.colour"),
        ({"at": {"x": "here"}}, "at.x"),
        ({"who": []}, "who"),
        ({"limt": 1}, "unknown argument 'limt' (did you mean 'limit'?)"),
    ],
)
def test_wrong_arguments_are_told_as_for_native_tools(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ToolError) as caught:
        spec(NESTED, **POINT).validate(arguments)
    assert told in caught.value.message and caught.value.hint.startswith("Signature: srv__do(")


def test_right_ones_arrive_as_they_were_written() -> None:
    tool = spec(NESTED, **POINT)
    given = {"filter": {"state": "open"}, "limit": 5, "ratio": 3, "who": 7, "at": {"x": 1, "more": True}}
    assert json.dumps(sent(tool, **given)) == json.dumps(given)
    assert "filter: {state: 'open' | 'closed', labels: list[str]}" in tool.signature


def test_more_arguments_are_let_through_only_where_the_schema_says_so() -> None:
    with pytest.raises(ToolError):
        spec({"a": {}}).validate({"b": 1})
    assert sent(spec({"a": {}}, additionalProperties=True), b=1) == {"b": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "items", "properties", "required"]
WORDS += ["minimum", "maximum", "minLength", "minItems", "additionalProperties", "description", "default"]
VALUES = JSON | st.sampled_from(
    ["string", "integer", "object", "array", "#", "#/properties/a", "#/$defs/x/y"]
)
SCHEMA = st.recursive(
    st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=4),
    lambda inner: st.dictionaries(
        st.sampled_from(WORDS),
        inner | st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=12), SCHEMA | JSON, max_size=4), JSON, SCHEMA)
def test_no_schema_breaks_the_host(properties: Any, required: Any, returns: Any) -> None:
    schema = {"type": "object", "properties": properties, "required": required}
    tool = OutsideSpec(
        name="srv__do", function=lambda ctx, g: g, effect="read", schema=schema, returns=returns
    )
    proxy = tool.proxy()
    json.dumps(proxy)
    source = ", ".join(p["name"] for p in proxy["parameters"])
    compile(f"def srv__do({source}): ...", "proxy", "exec")  # as the kernel does
    assert tool.help and tool.signature and tool.summary and tool.json_schema()
    try:
        tool.call(None, tool.validate({p["name"]: "x" for p in proxy["parameters"]}))
    except ToolError as error:
        assert error.hint


@given(st.text(max_size=300), st.integers(2, 100))
def test_words_are_bounded_and_stay_in_their_quotes(text: str, limit: int) -> None:
    assert len(clean(text, limit)) <= limit + 1 and "\x1b" not in clean(text, limit)
    assert len(one_line(text, limit)) <= limit and "\n" not in one_line(text, limit)
    assert quoted(text, limit).count('"') == 2
    assert identifier(text, ["unnamed"]).isidentifier()


def test_a_credential_is_hidden_also_where_the_cut_would_part_it() -> None:
    token = "hf_" + "A1b2" * 9
    assert token[:12] not in one_line("x" * 90 + token, 100)
