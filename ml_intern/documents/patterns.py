"""How papers write down settings, data, methods and results, for a reader without a language model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

Kind = Literal["data", "method", "hyperparameters", "results"]

SETTINGS = {
    "learning rate": (r"(?:peak |initial |maximum |max |base |"
        r"constant )?learning[- ]rates?(?: \(LR\))?|\blr\b"),
    "batch size": (r"(?:global |effective |total |mini-?|train(?:ing)? |"
        r"per-device )?batch[- ]sizes?|minibatch size"),
    "epochs": r"(?:number of |training |num\.? ?)?epochs?",
    "steps": (r"(?:number of |training |total |max(?:imum)? |gradient |"
        r"optimi[sz]ation )?(?:steps|iterations|updates)"),
    "warm-up": r"warm-?up(?: steps| ratio| proportion| fraction| epochs)?",
    "weight decay": r"weight[- ]decay",
    "optimizer": r"optimi[sz]er",
    "schedule": r"(?:learning[- ]rate |lr )?(?:scheduler?|decay schedule)",
    "dropout": r"(?:lora |attention )?dropout(?: rate| probability)?",
    "gradient clipping": r"(?:gradient |grad(?:ient)?[- ]norm )clipping|max(?:imum)? grad(?:ient)? norm",
    "sequence length": r"(?:max(?:imum)? )?(?:sequence|context|prompt|completion|response)[- ]length",
    "LoRA rank": r"(?:lora )?rank(?: r)?\b|lora[_ ]r\b",
    "LoRA alpha": r"(?:lora )?(?:\\?alpha|α)\b",
    "KL coefficient": (r"kl(?:[- ]divergence)?(?: penalty| loss)? (?:coefficient|weight|"
        r"coef\.?|penalty)|\\?beta\b|β"),
    "temperature": r"(?:sampling )?temperature",
    "top-p": r"top[- _]?p\b",
    "group size": (r"group size|(?:number of )?(?:rollouts|generations|completions|"
        r"samples) per (?:prompt|question)"),
    "clip range": r"clip(?:ping)? (?:range|ratio|parameter|epsilon)",
    "discount": r"discount(?: factor)?|\\?gamma\b",
    "seeds": r"(?:random )?seeds?",
    "layers": r"(?:number of |num\.? )?layers",
    "hidden size": (r"hidden (?:size|dim(?:ension)?s?)|d_?\{?model\}?|"
        r"(?:model |hidden |layer )?(?<!beam )width"),
    "heads": r"(?:number of )?(?:attention )?heads",
    "parameters": r"(?:number of )?parameters",
    "hardware": r"gpus?|tpus?|hardware|accelerators?",
}  # fmt: skip
MOST_SENTENCE = 1_500
"""Characters: what is longer is no sentence, and the forms here would take long over it."""

WORDED = ("optimizer", "schedule", "hardware")
"""Of sentences these are taken by the words that they may be, and not by a number."""

COUNTED = ("epochs", "steps", "seeds", "layers", "heads", "warm-up")
"""The number may stand before these: "3 epochs", "5% warm-up"."""

CLOSE = ("layers", "hidden size", "heads", "parameters", "steps", "discount", "LoRA alpha")
"""Common words: the number must follow at once."""

NUMBER = (
    r"\$?\s*[~≈]?\s*(?:10\s*\^\s*\{?\s*[-−–]\s*\d{1,4}\s*\}?|"
    r"(?<!\d)\d{1,15}(?:,\d{3}){0,5}(?:\.\d{1,15})?|\.\d{1,15})"
    r"(?:\s*(?:\\?(?:times|cdot)|[×·x*])\s*10\s*\^?\s*\{?\s*[-−–]?\s*\d+\s*\}?|"
    r"[eE][-−–+]?\d+)?\s*\$?(?:\s*[kKMB%]\b|\s*%)?"
)
_OPTIMIZERS = r"AdamW?(?:-?8bit)?|Adafactor|SGD|Lion|Muon|RMSProp|LAMB|Sophia|Shampoo"
_SCHEDULES = r"cosine(?: decay| annealing)?|linear(?: decay)?|constant|inverse square root|WSD"
_METHODS = (
    r"supervised fine-?tuning|SFT|DPO|direct preference optimization|GRPO|"
    r"group relative policy optimization|PPO|RLHF|"
    r"RLVR|KTO|ORPO|REINFORCE|RLOO|LoRA|QLoRA|DoRA|full fine-?tuning|distillation|"
    r"rejection sampling|best-of-\w+|"
    r"reward model(?:ing)?|pre-?training|continued pre-?training|instruction tuning|self-training|curriculum|"
    r"mixture of experts|MoE|in-context learning|chain-of-thought|self-consistency"
)
_SCORES = (
    r"accuracy|exact match|EM\b|F1|BLEU|ROUGE(?:-\w+)?|perplexity|pass@\d+|win[- ]rate|reward|"
    r"score|AUC|recall|"
    r"precision|bits per byte|bpb|loss|WER|mAP|success rate|error rate"
)
_BENCHMARKS = (
    r"GSM8?K|MATH(?:-?500)?|MMLU(?:-Pro)?|HumanEval\+?|MBPP\+?|AIME ?\d*|ARC(?:-\w+)?|"
    r"HellaSwag|TruthfulQA|IFEval|"
    r"MT-?Bench|AlpacaEval|BBH|GPQA|SQuAD|GLUE|SuperGLUE|ImageNet(?:-1K)?|CIFAR-?\d+|"
    r"WikiText-?\w*|C4|The Pile|"
    r"UltraFeedback|UltraChat|OpenHermes|Alpaca|ShareGPT|HH-RLHF|OpenWebText|FineWeb(?:-Edu)?|"
    r"RedPajama|Dolma|"
    r"LiveCodeBench|SWE-bench|WinoGrande|PIQA|BoolQ|XSum|CNN/DailyMail|WMT ?\d*|LibriSpeech|COCO"
)
_DATASET = re.compile(
    rf"\b({_BENCHMARKS})\b|\b([A-Z][\w./+-]*(?: [A-Z0-9][\w./+-]*){{0,3}}) (?:dataset|corpus|"
    rf"benchmark|data set)\b"
)
_COUNT = re.compile(
    rf"({NUMBER}\s*(?:training |test |human |labell?ed |preference |synthetic )*"
    r"(?:examples|samples|pairs|problems|questions|documents|tokens|instances|prompts|images|"
    r"sentences|rows))",
    re.I,
)
_DOES = re.compile(
    rf"\b(?:we|our|is|are|was|were|model|using|with|by|via)\b.*?\b({_METHODS})\b|"
    rf"\bwe (?:propose|introduce|present) ([^.,;]{{3,80}})",
)
_RESULT = re.compile(
    rf"\b(?:({_SCORES})\b[^.;]{{0,60}}?\b(?:of|to|is|at|reaches|=|:)\s+({NUMBER})|"
    rf"({NUMBER})\s*(?:\(?[^.;()]{{0,20}}\)?\s)?({_SCORES})\b)",
    re.I,
)
_COMPARES = re.compile(
    r"(?:\b(?:above|below|beyond|under|than|at least|at most|exceed\w*|from|between|by|within|"
    r"(?<!warm )(?<!warmed )up to)|[<>≤≥±])\s*(?:the |a |an |about |around |only )?$",
    re.I,
)
"""Before a number: it is a bound, a range or a difference, and not what was set or reached."""
_PASSES = re.compile(r"\b(?:every|each|per|first|last|after|over)\s+(?:the )?$", re.I)
"""Before a number: it counts a part of the training. Of a warm-up it does say how long that is."""
_RANGE = re.compile(rf"\s*(?:to|-|–|—|\.\.\.?|\\?dots)\s*{NUMBER}")
_IN_RANGE = re.compile(r"\d[\d.,eE%]*\s*(?:to|-|–|—)\s*$")
_MORE = (
    r"(?:gain|improvement|increase|decrease|drop|difference|reduction|boost|margin|change|deviation|gap|"
    r"advantage)s?"
)
_GAIN = re.compile(rf"\b{_MORE}\s+(?:of|is|was|to|in|=|:)\s*(?:about |around |only |up to )?$", re.I)
_POINTS = re.compile(
    rf"\s*%?\s*(?:(?:percentage |absolute |relative )*(?:points?|pp|pts|higher|lower|better|worse|more|less|"
    rf"fewer|times|{_MORE}|samples?|steps|epochs|tokens|examples|shots?|runs|seeds)\b|[x×](?!\w))",
    re.I,
)
"""After a number: it is a difference, or it counts something."""
_FAILS = re.compile(
    r"\b(?:hurts?|harm(?:s|ed|ful)|degrad\w+|worse\w*|ablat\w+|unstable|changed nothing|"
    r"(?:did|does|do|would)(?: not|n't) (?:help|improve|change|matter|work|converge)|"
    r"no (?:gain|improvement|benefit|difference|effect)|fail(?:s|ed) to|"
    r"(?<!avoid )(?<!prevent )(?:diverge[sd]?|collapse[sd]?)|"
    r"(?:lower|reduc|decreas|drop)(?:s|es|ed|ped)? (?:the |our |its |test |final ){0,2}"
    r"(?:accuracy|performance|scores?|results?|quality|reward))\b",
    re.I,
)
_ANY_SETTING = re.compile(
    rf"\b(?:{'|'.join(words for name, words in SETTINGS.items() if name not in WORDED)})", re.I
)
_LEARNING_RATE = re.compile(rf"\b(?:{SETTINGS['learning rate']})", re.I)
_TRIED_HEADS = re.compile(
    r"ablat|sensitivity|negative result|limitation|unsuccessful|fail|"
    r"(?:did|does|do)(?: not|n.t) (?:help|work)|what hurts",
    re.I,
)
_OWN_HEADS = re.compile(r"experiment|train|set-?up|implementation|detail|hyper-?param", re.I)
_DATA_HEADS = re.compile(
    r"data|corpus|benchmark|setup|set-up|experiment|abstract|task|train|implementation|evaluation", re.I
)
_METHOD_HEADS = re.compile(
    r"method|approach|train|abstract|model|setup|implementation|experiment|algorithm|fine-?tun", re.I
)
_RESULT_HEADS = re.compile(r"result|experiment|abstract|evaluat|analysis|ablation|conclusion|main", re.I)
_PAST = re.compile(
    r"\brelated\b(?! settings)|background|prior work|acknowledg|\breferences\b|ethic|broader", re.I
)


_SETTING_CAPTION = re.compile(r"hyper-?param|setting|configuration", re.I)
ABOVE = " / "
"""Between a heading and the one that it stands under."""


@dataclass(frozen=True)
class Hit:
    """Something told in a sentence or a row."""

    kind: Kind
    name: str
    value: str
    quote: str


def sentences(text: str) -> list[str]:
    """The sentences of a text; rows of tables and captions are left to the tables."""
    plain = "\n".join(
        line for line in text.splitlines() if not line.startswith(("|", "Table ", "[Figure", "$$"))
    )
    parts = re.split(r"(?<=[.!?])\s+(?=[A-Z(“])|\n{2,}|\n- ", plain)
    return [" ".join(part.split())[:MOST_SENTENCE] for part in parts if len(part.strip()) > 15]


def rank(heading: str, text: str) -> int | None:
    """How soon a reader shall see a section, 0 first; None where it tells of the work of others.

    Args:
        heading: With the headings above it.
        text: What stands in it.
    """
    if _PAST.search(heading):
        return None
    if _METHOD_HEADS.search(heading) or _DATA_HEADS.search(heading) or _LEARNING_RATE.search(text):
        return 0
    return 1 if _RESULT_HEADS.search(heading) else 2


def tried(heading: str) -> bool:
    """Whether settings under a heading are those of trials: an ablation, or what did not help."""
    parts = heading.split(ABOVE)
    return any(_TRIED_HEADS.search(part) and not _OWN_HEADS.search(part) for part in parts)


def settles(caption: str, heading: str) -> bool:
    """Whether a table of settings tells those that were used, and not those that were tried."""
    return bool(_SETTING_CAPTION.search(caption)) or not (tried(heading) or tried(caption))


def in_sentence(sentence: str, heading: str) -> Iterator[Hit]:
    """What a sentence tells. `heading` is its own with those above it."""
    if _PAST.search(heading):
        return
    if not (tried(heading) or _FAILS.search(sentence)):
        yield from _settings(sentence)
    if _METHOD_HEADS.search(heading):
        for hit in _DOES.finditer(sentence):
            yield Hit("method", hit[1] or "proposal", (hit[1] or hit[2]).strip(), sentence)
    if _DATA_HEADS.search(heading):
        for hit in _DATASET.finditer(sentence):
            counts = _COUNT.findall(sentence)
            yield Hit("data", hit[1] or hit[2], _clean(counts[0]) if counts else (hit[1] or hit[2]), sentence)
    if _RESULT_HEADS.search(heading):
        for hit in _RESULT.finditer(sentence):
            start, end = hit.span(2 if hit[2] else 3)
            if _is_set(sentence, start, end) and not _is_gain(sentence, start, end):
                yield Hit("results", (hit[1] or hit[4]).lower(), _clean(hit[2] or hit[3]), sentence)


def _settings(sentence: str) -> Iterator[Hit]:
    for name in SETTINGS:
        if name not in WORDED and (value := _value(name, sentence)):
            yield Hit("hyperparameters", name, _clean(value), sentence)
    if hit := re.search(rf"\b({_OPTIMIZERS})\b", sentence):
        yield Hit("hyperparameters", "optimizer", hit[1], sentence)
    if hit := re.search(rf"\b({_SCHEDULES})\b[^.;]{{0,40}}\b(?:schedul\w+|decay|annealing)", sentence, re.I):
        yield Hit("hyperparameters", "schedule", hit[1], sentence)
    if hit := re.search(
        r"\b(\d+\s*(?:[×x]\s*)?(?:NVIDIA |AMD |Google )?(?:[AHBV]\d{2,3}\w*|RTX ?\w+|"
        r"TPU ?v\d\w*)(?:[- ]\d+ ?GB)?)",
        sentence,
    ):
        yield Hit("hyperparameters", "hardware", hit[1], sentence)


def _value(name: str, sentence: str) -> str:
    """The number that a sentence sets something to; "" where it sets it to none."""
    for form in _forms(name):
        place = 0
        while hit := form.search(sentence, place):
            place = hit.end("words")
            start, end = hit.span("number")
            passes = name != "warm-up" and _PASSES.search(_before(sentence, start))
            other = _ANY_SETTING.search(sentence[place:start]) and name != "warm-up"
            if _is_set(sentence, start, end) and not passes and not other:
                return hit["number"]
    return ""


@cache
def _forms(name: str) -> tuple[re.Pattern[str], ...]:
    """How the number of a setting is written: "3 epochs" where it is one that is counted, "epochs: 3"."""
    words = rf"(?P<words>{SETTINGS[name]})"
    between = r"[^.;,\d]{0,30}?(?:\bof\b|\bis\b|\bwas\b|\bto\b|\bas\b|\bat\b|=|:|\()?\s*"
    if name in CLOSE:
        between = r"\s*(?:\s(?:of|is|are|was|to|=|set to|as|at)\s|=|:)\s*"
    if name == "hidden size":
        between = rf"(?:{between}|\s+)"
    after = rf"\b{words}{between}(?P<number>{NUMBER})"
    before = rf"(?P<number>{NUMBER})\s*(?:total |full |training |linear )?{words}\b"
    return tuple(re.compile(form, re.I) for form in ([before, after] if name in COUNTED else [after]))


def _before(sentence: str, start: int) -> str:
    """The words before a number, its own signs left out."""
    return sentence[max(0, start - 40) : start].rstrip("$~≈ ") + " "


def _is_set(sentence: str, start: int, end: int) -> bool:
    """Whether a number stands for itself, and is no bound and no end of a range."""
    before = _before(sentence, start)
    return not (_COMPARES.search(before) or _IN_RANGE.search(before) or _RANGE.match(sentence, end))


def _is_gain(sentence: str, start: int, end: int) -> bool:
    """Whether a number is a difference, or counts something."""
    return bool(_GAIN.search(_before(sentence, start)) or _POINTS.match(sentence, end))


def in_table(rows: list[list[str]], caption: str) -> Iterator[Hit]:
    """What the cells of a table tell: settings by rows or by columns, and scores."""
    if len(rows) < 2:
        return
    header, body = rows[0], rows[1:]
    by_row = [(name, row) for row in rows if (name := _setting(row[0] if row else ""))]
    if by_row and (len(by_row) * 2 >= len(body) or _SETTING_CAPTION.search(caption)):
        yield from _by_rows(header, by_row, rows)
        return
    by_column = {place: name for place, cell in enumerate(header) if place and (name := _setting(cell))}
    for place, name in by_column.items():
        for row in body:
            if place < len(row) and _is_value(row[place]):
                yield Hit("hyperparameters", _joined(name, row[0]), row[place], _quote(header, row))
    scored = re.search(_SCORES, f"{caption} {' '.join(header)}", re.I) or re.search(
        _BENCHMARKS, " ".join(header)
    )
    if scored or re.search(r"result|performance|comparison|evaluation|ablation", caption, re.I):
        for row in body:
            for place, cell in enumerate(row[1:], 1):
                column = header[place] if place < len(header) else ""
                if place not in by_column and re.search(r"\d", cell) and _is_value(cell):
                    yield Hit("results", _joined(row[0], column), cell, _quote(header, row))


def _by_rows(header: list[str], named: list[tuple[str, list[str]]], rows: list[list[str]]) -> Iterator[Hit]:
    headed = not _setting(header[0] if header else "")
    for name, row in named:
        for place, cell in enumerate(row[1:], 1):
            if cell.strip():
                column = header[place] if headed and place < len(header) and len(row) > 2 else ""
                yield Hit(
                    "hyperparameters", _joined(name, column), cell, _quote(header if headed else [], row)
                )


def _setting(cell: str) -> str:
    """The name of the setting that a cell names; "" where it names none."""
    text = cell.strip().strip("$:").strip()
    if not text or len(text) > 60:
        return ""
    for words in SETTINGS.values():
        if re.match(rf"(?:{words})(?![a-z])", text, re.I) or re.search(rf"\b(?:{words})$", text, re.I):
            return text
    return ""


def _is_value(cell: str) -> bool:
    return 0 < len(cell.strip()) <= 40


def _joined(first: str, second: str) -> str:
    return " / ".join(part for part in (first.strip(), second.strip()) if part)[:100]


def _quote(header: list[str], row: list[str]) -> str:
    return " | ".join(row) + (f"  ({' | '.join(header)})" if header else "")


def _clean(value: str) -> str:
    return " ".join(value.replace("$", " ").split()).strip(" ,.(")
