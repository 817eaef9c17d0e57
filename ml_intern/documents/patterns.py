"""How papers write down settings, data, methods and results, for a reader without a language model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
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
    "hidden size": r"hidden (?:size|dim(?:ension)?s?)|d_?\{?model\}?",
    "heads": r"(?:number of )?(?:attention )?heads",
    "parameters": r"(?:number of )?parameters",
    "hardware": r"gpus?|tpus?|hardware|accelerators?",
}  # fmt: skip
MOST_SENTENCE = 1_500
"""Characters: what is longer is no sentence, and the forms here would take long over it."""

WORDED = ("optimizer", "schedule", "hardware")
"""Of sentences these are taken by the words that they may be, and not by a number."""

NUMBER = (
    r"\$?\s*[~≈]?\s*(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
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
    rf"\b(?:({_SCORES})\b[^.;]{{0,60}}?\b(?:of|to|is|at|reaches|=|:|by)\s+({NUMBER})|"
    rf"({NUMBER})\s*(?:\(?[^.;()]{{0,20}}\)?\s)?({_SCORES})\b)",
    re.I,
)
_DATA_HEADS = re.compile(
    r"data|corpus|benchmark|setup|set-up|experiment|abstract|task|train|implementation|evaluation", re.I
)
_METHOD_HEADS = re.compile(
    r"method|approach|train|abstract|model|setup|implementation|experiment|algorithm|fine-?tun", re.I
)
_RESULT_HEADS = re.compile(r"result|experiment|abstract|evaluat|analysis|ablation|conclusion|main", re.I)
_PAST = re.compile(r"related|background|acknowledg|reference|ethic|broader", re.I)


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


def telling(heading: str, text: str) -> bool:
    """Whether a section may say something of the recipe."""
    if _PAST.search(heading):
        return False
    heads = (_DATA_HEADS, _METHOD_HEADS, _RESULT_HEADS)
    return any(head.search(heading) for head in heads) or bool(re.search(_named("learning rate"), text, re.I))


def _named(name: str) -> str:
    return rf"\b(?:{SETTINGS[name]})"


def in_sentence(sentence: str, heading: str) -> Iterator[Hit]:
    """What a sentence tells."""
    if _PAST.search(heading):
        return
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
            yield Hit("results", (hit[1] or hit[4]).lower(), _clean(hit[2] or hit[3]), sentence)


def _settings(sentence: str) -> Iterator[Hit]:
    numeric = (item for item in SETTINGS.items() if item[0] not in WORDED)
    for name, words in numeric:
        if name in (
            "layers",
            "hidden size",
            "heads",
            "parameters",
            "hardware",
            "steps",
            "discount",
            "LoRA alpha",
        ):
            between = r"\s*(?:\s(?:of|is|are|was|to|=|set to|as|at)\s|=|:)\s*"
        else:
            between = r"[^.;,\d]{0,30}?(?:\bof\b|\bis\b|\bwas\b|\bto\b|\bas\b|\bat\b|=|:|\()?\s*"
        after = re.search(rf"\b(?:{words}){between}({NUMBER})", sentence, re.I)
        before = re.search(rf"({NUMBER})\s*(?:total |full |training )?(?:{words})\b", sentence, re.I)
        hit = before if name in ("epochs", "steps", "seeds", "layers", "heads") and before else after
        if hit:
            yield Hit("hyperparameters", name, _clean(hit[1]), sentence)
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


def in_table(rows: list[list[str]], caption: str) -> Iterator[Hit]:
    """What the cells of a table tell: settings by rows or by columns, and scores."""
    if len(rows) < 2:
        return
    header, body = rows[0], rows[1:]
    by_row = [(name, row) for row in rows if (name := _setting(row[0] if row else ""))]
    if by_row and (
        len(by_row) * 2 >= len(body) or re.search(r"hyper-?param|setting|configuration", caption, re.I)
    ):
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
