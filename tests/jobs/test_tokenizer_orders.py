"""Orders of a tokenizer: what is refused before a job starts, and what the recipe makes of the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml_intern.errors import ToolError
from ml_intern.jobs import preflight
from ml_intern.jobs.recipes._tokenizer import SMALLEST, OrderError, make_tokenizer, read_order

TEXTS = [f"größe_{n} = {n}  # 漢字 {'é' * n}" for n in range(30)]
STRANGE = "x\t= 1\r\n\n  # <0xE9> ß 😀 e\u0301 \x00\x7f \u00a0 漢  <|eos|> end "


@pytest.mark.parametrize(
    ("order", "read"),
    [
        (None, {"type": "bpe"}),
        ({}, {"type": "bpe"}),
        ("bpe", {"type": "bpe"}),
        ("byte", {"type": "byte"}),
        ("char", {"type": "char"}),
        ({"vocab_size": 300}, {"type": "bpe", "vocab_size": 300}),
        ({"type": "bpe", "vocab_size": SMALLEST}, {"type": "bpe", "vocab_size": SMALLEST}),
        ({"type": "byte", "vocab_size": SMALLEST}, {"type": "byte", "vocab_size": SMALLEST}),
        ({"type": "char", "vocab_size": 400}, {"type": "char", "vocab_size": 400}),
        ("some/folder", "some/folder"),
    ],
)
def test_an_order_is_read_and_read_again_as_the_same(order, read):
    assert read_order(order) == read == read_order(read)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"typ": "bpe"}, "did you mean 'type'"),
        ({"vocabsize": 512}, "did you mean 'vocab_size'"),
        ({"min_frequency": 2}, "it may be type, vocab_size"),
        ({"type": "bytes"}, "did you mean 'byte'"),
        ({"type": "wordpiece"}, "it may be bpe, byte, char"),
        ({"vocab_size": 256}, f"the smallest is {SMALLEST}"),
        ({"type": "char", "vocab_size": 100}, f"the smallest is {SMALLEST}"),
        ({"type": "byte", "vocab_size": 512}, f"always {SMALLEST}"),
        ({"vocab_size": "512"}, "whole number"),
        (512, "neither a word, a dict nor a path"),
    ],
)
@pytest.mark.parametrize("place", ["model", "config"])
def test_what_cannot_be_met_is_refused_alike_in_both_places(order, words, place):
    model = {"config": {}} | ({"tokenizer": order} if place == "model" else {})
    asked = preflight.check_config("pretrain", {"tokenizer": order} if place == "config" else {})
    with pytest.raises(ToolError) as caught:
        preflight.check_tokenizer(model, asked.recipe.get("tokenizer"))
    assert words in caught.value.message and "tokenizer" in caught.value.message
    assert '"byte"' in caught.value.hint and "path" in caught.value.hint


def test_two_different_orders_are_one_too_many():
    model = {"config": {}, "tokenizer": "byte"}
    with pytest.raises(ToolError, match="twice"):
        preflight.check_tokenizer(model, "char")
    assert preflight.check_tokenizer(model, "byte") == preflight.check_tokenizer(model, None)


def test_the_models_vocabulary_is_that_of_a_bpe_without_a_size():
    assert preflight.check_tokenizer({"config": {"vocab_size": 300}}, None) == {
        "type": "bpe",
        "vocab_size": 300,
    }
    with pytest.raises(ToolError, match="the model's vocab_size = 64"):
        preflight.check_tokenizer({"config": {"vocab_size": 64}}, "bpe")
    assert preflight.check_tokenizer({"config": {"vocab_size": 64}}, "byte") == {"type": "byte"}


@pytest.mark.parametrize(
    ("order", "size"),
    [
        ("byte", SMALLEST),
        ("char", SMALLEST + len({c for text in TEXTS for c in text if not c.isascii()})),
        ({"type": "char", "vocab_size": SMALLEST + 1}, SMALLEST + 1),
        ({"type": "bpe", "vocab_size": 280}, 280),
    ],
)
def test_every_text_comes_back_from_the_saved_tokenizer(tmp_path, order, size):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    make_tokenizer(read_order(order), TEXTS).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert len(loaded) == size
    assert loaded("a")["input_ids"][0] == loaded.bos_token_id
    for text in (*TEXTS, STRANGE):
        ids = plain.encode(text, add_special_tokens=False).ids
        assert plain.decode(ids, skip_special_tokens=False) == text
        assert loaded(text)["input_ids"] == [loaded.bos_token_id, *ids]


def test_a_character_is_one_token_where_there_is_room_and_its_bytes_where_not():
    every = make_tokenizer(read_order("char"), TEXTS)
    few = make_tokenizer(read_order({"type": "char", "vocab_size": SMALLEST + 1}), TEXTS)
    count = [len(made("é漢", add_special_tokens=False)["input_ids"]) for made in (every, few)]
    assert count == [2, 1 + 3], "é is the most frequent character beyond ASCII"


def test_a_bare_tokenizer_file_is_known_by_the_usual_names_of_its_end(tmp_path):
    made = make_tokenizer(read_order("byte"), TEXTS)
    made.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    found = make_tokenizer(str(tmp_path), TEXTS)
    assert (found.eos_token, found.bos_token) == (made.eos_token, made.bos_token)
    _rename_token(tmp_path / "tokenizer.json", "<|eos|>", "<|over|>")
    with pytest.raises(OrderError, match="no EOS token"):
        make_tokenizer(str(tmp_path), TEXTS)


def _rename_token(file: Path, old: str, new: str) -> None:
    file.write_text(json.dumps(json.loads(file.read_text())).replace(old, new))
