"""The cells that prompts show, run as they stand in a session with its real tools."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.loopback import Asked, Loopback, Reply
from support.scripted_runs import cell, play

from ml_intern.agent.instructions import cells

PAPERS, BASELINE, CHANGES = (shown["code"] for shown in cells())

PAGE = """<html><head><title>Small steps</title></head><body><article class="ltx_document">
<h1 class="ltx_title ltx_title_document">Small steps</h1>
<section class="ltx_section" id="S1"><h2 class="ltx_title ltx_title_section"><span class="ltx_tag">4 </span>Training
</h2><div class="ltx_para"><p class="ltx_p">We train with a learning rate of 2e-5 and a batch size of 64.</p></div>
</section></article></body></html>"""


def literature(asked: Asked) -> Reply:
    """Two papers are found; of one there is a text."""
    if asked.path == "/graph/v1/paper/search":
        rows = [
            {
                "paperId": f"{n:040x}",
                "externalIds": ids,
                "title": f"Paper {n}",
                "year": 2024,
                "publicationDate": "2024-01-02",
            }
            for n, ids in enumerate([{"ArXiv": "2401.00001"}, {"DOI": "10.1000/none"}])
        ]
        return Reply({"total": 2, "offset": 0, "data": rows})
    if "2401.00001" in asked.path and "/html/" in asked.path:
        return Reply(PAGE.encode(), headers={"Content-Type": "text/html; charset=utf-8"})
    return Reply({"error": "not found"}, 404)


def test_the_cell_that_reads_papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(literature) as server:
        names = ("semantic-scholar", "huggingface", "arxiv", "arxiv-site", "openalex")
        monkeypatch.setenv("ML_INTERN_WEB_MIRRORS", json.dumps(dict.fromkeys(names, server.url)))
        played = play([cell(PAPERS), cell("final_answer('read')")], tmp_path / "state")
    told = played.brain.prompts[-1].split("Observation of step 1:")[1]
    assert "failed" not in told and "10.1000/none" in told, "a paper that cannot be read is named"
    [row] = [line for line in told.splitlines() if "learning rate" in line]
    assert "2401.00001" in row and "2e-5" in row and "Training" in row


MODEL = """
import sys
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
made = ByteLevelBPETokenizer()
made.train_from_iterator(["How much is 1 and 2? 3"], vocab_size=300, special_tokens=["<eos>"])
PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, eos_token="<eos>").save_pretrained(sys.argv[1])
size = dict(vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, eos_token_id=0, **size)).save_pretrained(sys.argv[1])
"""


@pytest.mark.thorough
def test_the_cells_that_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rows = [
        {"prompt": f"How much is {a} and {b}? ", "completion": str(a + b)}
        for a in range(20)
        for b in range(20)
    ]
    (tmp_path / "data" / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    subprocess.run([sys.executable, "-c", MODEL, str(tmp_path / "model")], check=True, capture_output=True)
    small = [
        code.replace("HuggingFaceTB/SmolLM2-135M", str(tmp_path / "model")) for code in (BASELINE, CHANGES)
    ]
    small[1] = small[1].replace('"max_steps": 200', '"max_steps": 20')
    replies = [*map(cell, small), cell("print([e.verdict for e in list_experiments()])\nfinal_answer('x')")]
    played = play(replies, tmp_path / "state", data_dirs=[tmp_path])
    told = played.brain.prompts[-1]
    assert "The cell failed" not in told.split("Observation of step 1:")[1]
    verdicts = [row.verdict for row in played.result.ledger]
    assert verdicts[0] == "kept" and len(verdicts) == 3 and "crashed" not in verdicts
