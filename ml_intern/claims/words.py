"""The words by which a number is told apart: what it measures, of which split, or that it claims nothing."""

from __future__ import annotations

import re

SCORE = re.compile(
    r"\b(accurac(?:y|ies)|acc|scores?|scored|f1|em|exact[ _-]match\w*|numeric[ _-]match\w*|bleu"
    r"|rouge\w*|pass@\d+"
    r"|pass[ _-]rates?|win[ _-]rates?|success[ _-]rates?|error[ _-]rates?|hit[ _-]rates?"
    r"|perplexit(?:y|ies)|ppl"
    r"|bits?[ _/-]+(?:per[ _-])?byte|bpb|recall|precision|auc|mse|rmse|mae|r2|python[ _-]parses"
    r"|correct(?:ly)?"
    r"|right answers?|(?:exactly|are|were|is|answered|got) right|solve[sd]?|parse[sd]?)\b",
    re.I,
)
"""Words of a result that only an evaluation by the host can give."""

CURVE = re.compile(
    r"\b(loss(?:es)?|grad(?:ient)?[ _-]?norms?|entropy|kl|rewards?|margins?|learning[ _-]rates?|lr|throughput"
    r"|tokens? accuracy|eval_\w+|train_\w+|tokens?/s\w*|steps?/s\w*|tokens per second)\b",
    re.I,
)
"""Words of what a training writes on its way."""

CHANGE = re.compile(
    r"\b(gain(?:s|ed)?|improv\w+|points?|pp|better|worse|higher|lower|difference|delta|increas\w+|decreas\w+"
    r"|dropp?(?:s|ed)?|climb\w*|grew|grown|rose|rises?|fell|falls?|reduc\w+|outperform\w*|beats?|beating|faster|slower|cheaper"
    r"|longer|shorter|smaller|larger|relative|baseline|interval|ci|p-?values?|significan\w+|ahead|behind)\b",
    re.I,
)
"""Words of a comparison."""

HYPOTHETICAL = re.compile(
    r"\b(could|would|might|should|may|try(?:ing)?|next|suggest\w*|recommend\w*|consider\w*|propos\w+|plan(?:ned|s)?"
    r"|expect\w*|hope\w*|hypothes\w+|ideal\w*|future|if you|suppose|for example|e\.g\.|threshold"
    r"|at chance|chance level|random guess\w*|would have been seen|four times in five)\b",
    re.I,
)
"""Words of what was not measured and is not said to be."""

EARLIER = re.compile(
    r"\b(?:at first|initial(?:ly)?|original(?:ly)?|earlier|previous(?:ly)?|formerly|used to|no longer"
    r"|once said|before (?:the |more |new |further |any )*(?:seeds?|replications?|confirmation|runs)"
    r"|first (?:comparison|seed|run|look|said|seemed|looked)|(?:one|a single|its first) seed"
    r"|replaced|shrank|fell from)\b",
    re.I,
)
"""Words of what was found before something took its place."""

MEASURED = re.compile(
    r"\b(reache[sd]|achieve[sd]|attain(?:s|ed)|scored?|got|gets|is|was|are|were|has|had|measured|ended|obtained)\b",
    re.I,
)

CITED = re.compile(
    r"\b(papers?|arxiv|et al|authors?|literature|leaderboard|according to|reported (?:by|in)"
    r"|publish\w+ (?:result|"
    r"number|score)s?|model card|documentation|docs|table \d|blog|report of|cites?|citation)\b|https?://|\[\d+\]",
    re.I,
)
"""Words of a source outside of this session."""

TEST = re.compile(
    r"(?<![\w-])(?<!smoke )(?<!unit )(?<!mcnemar's )(?<!t-)(?<!paired )(?<!significance )"
    r"(?<!to )(?<!the same )"
    r"test(?:[ _-](?:split|set|score|accuracy|items?|data|questions?|problems?|result"
    r"|performance|examples?|of)"
    r"|\b(?=\s*(?:[:=(|/,.)]|\d|(?:[\w-]+[ _]){0,2}?\w*(?:match|accuracy|scores?|loss|bits|value"
    r"|f1|pars|is|was|at)\w*\b|$)))",
    re.I,
)
DEV = re.compile(
    r"(?<![\w-])(?:dev(?:elopment)?)(?:[ _-](?:split|set|score|accuracy|items?))?(?![\w-])", re.I
)

ASKED = re.compile(
    r"\b(ask\w*|want\w*|request\w*|aim\w*|target\w*|goals?|requir\w+|task|threshold|limit\w*|needed|demand\w*|within"
    r"|ceiling|cap|budget)\b",
    re.I,
)
"""Words beside a number that the person has set."""

INTERVAL = re.compile(
    r"\b(intervals?|ci|confidence|between|bounds?|lowest|highest|ranges?|at least|at most|worst"
    r"|best case)\b|±",
    re.I,
)
ENDS = re.compile(r"\b(low|high|lower|upper|min|max|bounds?)\b", re.I)
"""Names of a table's columns for the ends of an interval."""

CHANGED_FROM = re.compile(
    r"\b(from|rose|rises?|fell|falls?|went|goes|grew|cut|improv\w+|raised?|dropp?\w*|increas\w+|decreas\w+)\b",
    re.I,
)
OTHER_METRICS = re.compile(
    r"\b(f1|bleu|rouge\w*|auc|perplexit(?:y|ies)|ppl|mse|rmse|mae|recall|precision|pass@\d+"
    r"|win[ _-]rates?)\b",
    re.I,
)
"""Metrics that are not another one under a common name, as accuracy is."""

SPREAD = re.compile(r"\b(deviations?|spread|std|sd|sigma|varies|variation|variance)\b|±", re.I)
ERRORS = re.compile(r"\b(errors?|mistakes?|wrong|misse[sd]|fail\w*|incorrect\w*|fewer|not)\b", re.I)
SHARE_OF_ANOTHER = re.compile(
    r"\b(of (?:the|its) (?:dev|test|baseline|parent)|as (?:much|good|high|many|large|long)"
    r"|relative|ratio|keeps?|retain\w*)\b",
    re.I,
)
CLOCK = re.compile(r"sec|minute|hour|time|duration|_s$|wait|elapsed", re.I)
PRICE = re.compile(r"usd|cost|price|dollar|eur|budget", re.I)

KINDS_OF_THINGS = (
    re.compile(
        r"\b(rows?|examples?|items?|samples?|questions?|problems?|documents?|pairs?|prompts?|lines?|duplicates?|n|records?"
        r"|conversations?|texts?|completions?)\b"
    ),
    re.compile(r"\b(?:total )?(steps?|iterations?|updates?)\b"),
    re.compile(r"\b(params?|parameters?)\b"),
    re.compile(r"\btokens?\b"),
    re.compile(r"\bepochs?\b"),
    re.compile(r"\bseeds?\b"),
    re.compile(r"\b(experiments?|variants?|configurations?|trials?|comparisons?|replications?)\b"),
    re.compile(r"\b(jobs?|runs?|trainings?)\b"),
    re.compile(r"\b(gpus?|gpu)\b"),
    re.compile(r"\b(evals?|evaluations?|quer(?:y|ies))\b"),
)
"""What is counted, by words that mean nearly the same."""

APPROXIMATE = re.compile(
    r"(?:\b(?:about|around|roughly|approximately|approx\.?|circa|ca\.|nearly|almost|some"
    r"|close to|just)\s+|[~≈∼]\s*"
    r"|\\(?:approx|sim)\s*)(?:[$€£]\s?)?$",
    re.I,
)
ABOVE = re.compile(
    r"(?:\b(?:over|above|more than|at least|greater than|exceed\w*|beyond|minimum of)\s+|[>≥]=?\s*)$", re.I
)
BELOW = re.compile(
    r"(?:\b(?:under|below|less than|at most|fewer than|up to|within|maximum of)\s+|[<≤]=?\s*)$", re.I
)

SMALL_NOUNS = re.compile(
    r"(?:\w+\s+)?(?:experiments?|variants?|trials?|jobs?|seeds?|runs?|epochs?|trainings?|evals?|evaluations?|gpus?"
    r"|configurations?|replications?|comparisons?)\b",
    re.I,
)
"""What is counted so rarely that a small number of it is said of the session."""

NOUNS = re.compile(
    r"(?:[\w-]+\s+){0,2}?(?:rows?|examples?|items?|samples?|steps?|iterations?|epochs?|params?|parameters?|tokens?"
    r"|jobs?|experiments?|seeds?|trials?|runs?|variants?|questions?|problems?|duplicates?|documents?|files?|layers?"
    r"|heads?|bytes|characters|chars|words|labels|classes|pairs|prompts|completions|lines|batch(?:es)?|gpus?|cores)\b",
    re.I,
)

TIME = {
    "ms": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "day": 86400.0, "days": 86400.0,
    "gpu-hour": 3600.0, "gpu-hours": 3600.0, "gpu hours": 3600.0,
}  # fmt: skip
"""Seconds in a unit."""

SIZE = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
MONEY = re.compile(r"\s?(?:usd|dollars?|cents?|eur|euros?|€|\$)(?!\w)", re.I)

NAMED = re.compile(
    r"\b(python|py|torch|pytorch|cuda|cudnn|transformers|trl|peft|datasets|accelerate|numpy|polars|pandas|llama|qwen|"
    r"gemma|mistral|mixtral|phi|gpt|claude|gemini|deepseek|olmo|pythia|smollm|bert|debian|ubuntu|linux|h100|a100|"
    r"version|release|v|rev|revision|section|sec\.|chapter|table|figure|fig\.|page|pages|pp\.|step|port|issue|pull"
    r"|request|cell|line|lines|phase|stage|option|item|question|part|point|level|seed|layer|commit|appendix|eq\."
    r"|equation|algorithm|row|column|variant|experiment|exp|trial|run|job|day|week|round)[ \-]#?$",
    re.I,
)
"""A word before a number that makes it a name: Python 3.11, Table 3, step 2."""
