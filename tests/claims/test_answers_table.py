"""Realistic final answers, honest ones and ones with an invented or stretched number, held against one session."""

from __future__ import annotations

import pytest
from support.measured_session import evidence_of

from ml_intern.claims.evidence import Evidence
from ml_intern.claims.judging import review

HONEST = {
    "scores with intervals": "On the sealed test split exact_match is 0.8325 [0.795, 0.868] (n=400).",
    "percent": "The published model answers 83.3% of the test questions exactly right (95% CI 79.5–86.8%).",
    "rounded": "Test exact match: 0.83, numeric match 0.86.",
    "dev and test": "exp-2 reaches 0.857 exact match on dev and 0.833 on test.",
    "dev in brackets": "Test exact match is 0.833 (dev: 0.858).",
    "slash": "dev/test exact_match: 0.858/0.833.",
    "baseline": "exp-2 improves on the baseline from 0.54 to 0.86 exact match on dev.",
    "gain in points": "That is a gain of 31.5 points on dev (95 % interval 26.3 to 36.8), p = 0.0002.",
    "relative": "Exact match on dev went up by 58 % relative to the baseline.",
    "errors": "It makes 69 % fewer errors on dev than the baseline: the error rate fell from 45.8 % to 14.3 %.",
    "difference": "exp-2 is better than exp-1: exact_match 0.858 against 0.542, difference +0.315 [+0.263, +0.367].",
    "inconclusive": "exp-3 (640 steps) scored 0.870 against 0.858 for exp-2, which is inconclusive (p=0.36).",
    "table": "| experiment | change | dev exact_match | verdict |\n|---|---|---|---|\n| exp-1 | defaults | 0.543 | kept |\n"
    "| exp-2 | learning rate 2e-3 | 0.858 | kept |\n| exp-3 | 640 steps | 0.870 | inconclusive |",
    "wide table": "| metric | dev | test |\n|---|---|---|\n| exact_match | 0.858 | 0.833 |\n| numeric_match | 0.885 | 0.863 |",
    "counts": "Trained on 8,123 rows; 9,001 before deduplication, so 878 were dropped (9.8 %).",
    "hyperparameters": "Learning rate 2e-3, batch size 8, 160 steps, 287,744 parameters, 81,920 tokens.",
    "short units": "A 288k-parameter model, trained on 8.1k rows.",
    "curves": "The training loss fell from 5.21 to 0.41 in 160 steps, a drop of 92 %.",
    "token accuracy": "Mean token accuracy at the end was 0.933, which is no held-out score.",
    "cost": "All in all it took 12 minutes and cost $0.16 of the 5 dollars.",
    "times": "The training of exp-3 took 171 s, 3.8 times as long as exp-2 (44.9 s).",
    "about": "The whole session took about 12 minutes; about 8,100 rows were used.",
    "words": "Two seeds would tell more; the three experiments that finished took 4.3 minutes in total.",
    "more than": "More than 85 % of the dev items are right, over 8,000 rows were used.",
    "count of": "343 of 400 dev items were exactly right.",
    "target": "You asked for 0.9 exact match within 30 minutes; it was not reached.",
    "next steps": "Next I would try a learning rate of 5e-4 or 10 epochs, which could bring 2 to 3 points.",
    "cited": "The paper reports 61.7% for a model of 7B parameters.",
    "cited elsewhere": "According to the leaderboard on arXiv, GPT-4 reaches 92.0 % there.",
    "versions": "It ran with Python 3.11, torch 2.13.0 and TRL 1.16 on Debian 12 in November 2026.",
    "numbered": "1. The data was cleaned.\n2. Two trainings ran.\n3. Step 2 helped; see Table 3 and section 4.1.",
    "names": "The base is Qwen2.5-0.5B-Instruct, compared with Llama 3.1 8B; session 20261121-001659-ab12.",
    "computed": "The median length of a row is 88.5 characters, the mean 143.3.",
    "nothing measured": "Nothing beat the model as it came, so nothing is published.",
    "not better": "exp-3 is not clearly better than exp-2: 0.870 against 0.858, inside the noise.",
    "latex": r"Test exact match $0.8325$, interval $[0.795, 0.8675]$; learning rate $2 \times 10^{-3}$.",
    "full width": "テスト exact_match は ８３．３％ です (test).",
    "spelled": "Eighty-three percent of the test questions are exactly right.",
    "half width": "Test exact match 0.833 ± 0.036.",
    "memory": "The machine has 2 cores and 16 GB of memory.",
    "duplicates": "The audit found 611 exact duplicates among 9,001 rows (6.8 %).",
    "code": "Load it:\n```\nmodel(0.99, steps=777)\n```\nDone.",
    "links": "See http://127.0.0.1:8765/local/tiny-99 and /tmp/s/99.5/report.html.",
    "reasons": "There are two reasons: the data has 3 kinds of noise and the other 4 are rare.",
    "detectable": "With 400 items a difference of 5.5 points would be seen four times in five.",
}

INVENTED = {
    "made up test score": ("On the sealed test split exact_match is 0.91.", ["0.91"]),
    "made up percent": ("The model answers 97.3 % of the questions exactly right.", ["97.3 %"]),
    "dev told as test": ("Test exact_match is 0.858 [0.823, 0.890].", ["0.858", "0.823", "0.890"]),
    "dev told as test in words": ("It scores 85.8% accuracy on the held-out test set.", ["85.8%"]),
    "dev told as test in a table": ("| metric | test |\n|---|---|\n| exact_match | 0.858 |", ["0.858"]),
    "another metric": ("exp-2 has an exact_match of 0.885 on dev.", ["0.885"]),
    "another experiment": ("exp-1 reached an exact_match of 0.858 on dev.", ["0.858"]),
    "rounded up": ("Exact match on test: 0.84.", ["0.84"]),
    "rounded far": ("Test exact match is 0.9.", ["0.9"]),
    "about, stretched": ("Test exact match is about 0.87.", ["0.87"]),
    "gain stretched": ("That is a gain of 35 points on dev.", ["35 points"]),
    "relative invented": ("Exact match on dev went up by 75 % relative to the baseline.", ["75 %"]),
    "interval narrowed": ("Test exact match 0.833 [0.825, 0.841].", ["0.825", "0.841"]),
    "p value": ("The gain is clear (p = 0.00001).", ["0.00001"]),
    "printed by a cell": ("The accuracy is 0.9731.", ["0.9731"]),
    "printed by a script": ("The probe reached an accuracy of 97.3 %.", ["97.3 %"]),
    "token accuracy as score": ("The accuracy on held-out items is 0.933.", ["0.933"]),
    "rows": ("It was trained on 12,500 rows.", ["12,500"]),
    "rows rounded up": ("It was trained on 9k examples after deduplication, 10,000 before.", ["10,000"]),
    "parameters": ("A model of 1.2M parameters.", ["1.2M"]),
    "steps": ("It trained for 2,000 steps.", ["2,000"]),
    "learning rate": ("The learning rate was 3e-4.", ["3e-4"]),
    "loss": ("The training loss fell from 5.21 to 0.12.", ["0.12"]),
    "time": ("The training took 25 minutes.", ["25 minutes"]),
    "cost": ("It cost $1.80.", ["1.80"]),
    "times faster": ("It trains 10x faster than the baseline.", ["10x"]),
    "experiments": ("I ran twelve experiments.", ["twelve"]),
    "seeds": ("The gain was measured over 5 seeds.", ["5"]),
    "spelled": ("Ninety-seven percent of the answers are right.", ["Ninety-seven percent"]),
    "doubled": ("The exact match on dev doubled.", ["doubled"]),
    "full width": ("exact_match は ９７．３％ です。", ["９７．３％"]),
    "latex": (r"Test exact match is $0.93 \pm 0.01$.", ["0.93", "0.01"]),
    "table": ("| experiment | dev exact_match |\n|---|---|\n| exp-1 | 0.543 |\n| exp-3 | 0.93 |", ["0.93"]),
    "swapped table": ("| experiment | dev exact_match |\n|---|---|\n| exp-1 | 0.858 |", ["0.858"]),
    "count of": ("380 of 400 test items were exactly right.", ["380"]),
    "over": ("More than 90 % of the test items are exactly right.", ["90 %"]),
    "range": ("Exact match lies between 0.90 and 0.95 on dev.", ["0.95"]),
    "duplicates": ("The audit found 1,400 duplicates.", ["1,400"]),
    "deviation": ("Test exact match 0.833 ± 0.004.", ["0.004"]),
    "json": ('{"test_exact_match": 0.95, "steps": 160}', ["0.95"]),
    "among honest ones": (
        "Test exact match 0.833, dev 0.858, trained 44.9 s on 8,123 rows, robustness 0.77.",
        ["0.77"],
    ),
    "from nowhere": ("Human accuracy on these items is 0.96.", ["0.96"]),
}

MORE_HONEST = [
    "I fine-tuned `tiny-base` with a learning rate of 0.002 for 160 steps (batch size 8) on 8,123 conversations. The tuned model gets 83.25 % of the 400 sealed test questions exactly right (95 % interval: 79.5 % to 86.75 %).",
    "Results at a glance:\n\n- **Exact match (test)**: 0.8325\n- **Numeric match (test)**: 0.8625\n- **Dev exact match**: 0.8575 vs. 0.5425 before\n",
    "The budget of $5 was barely touched: $0.16 were spent, which leaves $4.84.",
    "Training three variants took 257.4 seconds in total (41.2 + 44.9 + 171.3).",
    "Longer training (exp-3) did not clearly help: +1.25 points on dev with an interval from -1.25 to +3.75 that includes zero.",
    "exp-2: dev exact_match = 0.858 (low 0.823, high 0.890); exp-1: 0.543 (0.493 to 0.593).",
    "After deduplication 8,123 of the 9,001 rows were left, i.e. 90.2 %.",
    "One experiment of four crashed because a batch of 4096 ran out of memory.",
    "The loss of exp-2's run went down from 5.207 to 0.413; with 640 steps it ended at 0.398.",
    "I would not read much into exp-3: its p-value is 0.36, and with n=400 differences below 5.5 points cannot be seen.",
    "The model has 288 thousand parameters (287,744 to be exact) and saw about 82k tokens.",
    "Roughly one in six test answers is still wrong (16.8 %).",
    "Exact match climbed by 0.315 on dev, and numeric match from 0.61 to 0.89.",
    "The mean length of a row is 143 characters.",
    "Dev → test: 0.858 → 0.833 exact match, a drop of 2.5 points that is within the interval.",
    "I could not verify the 61.7 % that the paper reports, since its 7B model does not fit into 16 GB of memory.",
    "exp-3 cost 3.7 times as much as exp-2 ($0.11 instead of $0.03).",
    "Das Modell erreicht auf dem Test-Split eine exact_match von 0,8325.",
    "What I did: 1) deduplicated, 2) trained a baseline, 3) raised the learning rate 100-fold (2e-5 → 2e-3), 4) scored the test split once.",
    "The tuned model is 31.5 percentage points better than the baseline on dev, p=0.0002.",
    "Confidence: the dev interval of exp-2 [0.82, 0.89] lies well above that of exp-1 [0.49, 0.59].",
]

MORE_INVENTED = [
    "The tuned model gets 87 % of the 400 sealed test questions exactly right.",
    "- **Exact match (test)**: 0.8575",
    "The budget was barely touched: $0.46 were spent.",
    "Training three variants took 40 minutes in total.",
    "Longer training (exp-3) helped: +4.5 points on dev.",
    "After deduplication 7,500 of the 9,001 rows were left.",
    "Two of nine experiments crashed.",
    "The loss went down from 5.207 to 0.05.",
    "Its p-value is 0.01.",
    "The model has 1.3 million parameters and saw 500k tokens.",
    "Roughly 8 % of the test answers are still wrong.",
    "It raised exact match by a factor of 2.4.",
    "I used 25 of the 30 minutes.",
    "Numeric match climbed from 0.61 to 0.96.",
    "The mean length of a row is 214 characters.",
    "On the test split, numeric_match is 0.8975.",
    "exp-3 cost 12 times as much as exp-2.",
    "Das Modell erreicht auf dem Test-Split eine exact_match von 0,91.",
    "The tuned model is 41 percentage points better than the baseline on dev.",
    "exp-1 already reached 0.858 on dev.",
    "The dev interval of exp-2 is [0.85, 0.87].",
    "Averaged over five seeds, exact match is 0.851 on dev.",
    "On an out-of-domain set it still reaches an accuracy of 71 %.",
    "Inference runs at 1,250 tokens per second.",
    "The F1 score is 0.88.",
]

OVERSTATED = {
    "better than": "exp-3 is better than exp-2.",
    "significant": "exp-3 significantly improves on exp-2.",
    "beats": "With 640 steps exp-3 beats its parent.",
    "confirmed": "The gain of exp-2 was confirmed on two new seeds.",
}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return evidence_of(tmp_path_factory.mktemp("session"))


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_answer_stands(evidence: Evidence, name: str) -> None:
    found = review(HONEST[name], evidence)
    assert [str(f) for f in found.unverified] == [] and found.words == []


@pytest.mark.parametrize("name", INVENTED)
def test_an_invented_number_is_found(evidence: Evidence, name: str) -> None:
    text, numbers = INVENTED[name]
    found = review(text, evidence)
    shown = [f.shown for f in found.unverified]
    assert shown and set(numbers) <= set(shown), (shown, found.verified)
    assert all(text[f.start : f.end].strip() == f.shown for f in found.unverified)


@pytest.mark.parametrize("name", OVERSTATED)
def test_more_than_was_found_is_said(evidence: Evidence, name: str) -> None:
    assert review(OVERSTATED[name], evidence).words


@pytest.mark.parametrize("number", range(len(MORE_HONEST)))
def test_more_honest_answers_stand(evidence: Evidence, number: int) -> None:
    found = review(MORE_HONEST[number], evidence)
    assert [str(f) for f in found.unverified] == [] and found.words == []


@pytest.mark.parametrize("number", range(len(MORE_INVENTED)))
def test_more_invented_numbers_are_found(evidence: Evidence, number: int) -> None:
    assert review(MORE_INVENTED[number], evidence).unverified
