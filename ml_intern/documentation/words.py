"""Words of names, questions and texts, and which of them mean the same in this field."""

from __future__ import annotations

import re

_PIECE = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_WORD = re.compile(r"[A-Za-z0-9_]+")

_COMMON = """
a about after all also an and any are as at be before being by can do does during each every for from get has
have how i if in into is it its just me my no not of off on once one or our out over per should so such than
that the their them then there these they this to up use used using via was way we what when where which while
who why will with without you your don t s give show want need make
"""
STOP = frozenset(_COMMON.split())
"""Words that say nothing of what is asked for."""

MEANS: dict[str, tuple[str, ...]] = {
    "4": ("4bit",),
    "8": ("8bit",),
    "4bit": ("quantization", "bitsandbytes"),
    "accumulate": ("accumulation",),
    "adapter": ("peft", "lora"),
    "append": ("concatenate",),
    "assistant": ("completion",),
    "batchsize": ("batch", "size"),
    "bf16": ("bfloat16", "mixed", "precision"),
    "bit": ("4bit", "8bit", "quantization"),
    "callback": ("callbacks",),
    "checkpoint": ("save", "resume"),
    "chatml": ("conversational", "messages"),
    "coefficient": ("weight", "beta"),
    "combine": ("concatenate", "merge", "weighted", "interleave"),
    "completion": ("generation", "response"),
    "condition": ("filter",),
    "dataframe": ("pandas",),
    "dedupe": ("unique", "duplicates"),
    "disk": ("save", "load", "path"),
    "distill": ("distillation", "teacher"),
    "embedding": ("embeddings",),
    "evaluate": ("eval",),
    "evaluation": ("eval",),
    "finetune": ("sft", "supervised"),
    "finetuning": ("sft", "supervised"),
    "fine": ("sft",),
    "folder": ("dir", "directory"),
    "frequency": ("steps", "strategy"),
    "generate": ("generation", "sample", "completions"),
    "gradient": ("gradients",),
    "grpo": ("group", "relative"),
    "improve": ("patience", "early", "stopping"),
    "join": ("concatenate", "merge"),
    "keep": ("filter", "limit", "select", "total"),
    "kl": ("beta", "divergence"),
    "last": ("limit", "total"),
    "layer": ("modules", "target"),
    "learning": ("lr",),
    "length": ("max_length", "tokens"),
    "logging": ("report", "log"),
    "lr": ("learning", "rate"),
    "mask": ("mlm", "masked"),
    "maximum": ("max",),
    "messages": ("conversational", "chat", "conversation"),
    "mix": ("interleave", "mixture"),
    "mixed": ("bf16", "fp16"),
    "multiple": ("several",),
    "number": ("num", "count"),
    "often": ("steps", "strategy", "interval"),
    "optimizer": ("optim",),
    "pairs": ("preference", "dpo"),
    "parallel": ("num_proc", "multiprocessing", "workers"),
    "preference": ("dpo", "chosen", "rejected"),
    "print": ("stream", "log", "stdout"),
    "process": ("num_proc", "processes"),
    "processes": ("num_proc", "process"),
    "quantize": ("quantization", "kbit", "4bit"),
    "quantized": ("kbit", "quantization", "4bit", "8bit"),
    "random": ("seed", "shuffle"),
    "rank": ("r",),
    "rename": ("column", "renamed"),
    "reproducibility": ("seed", "deterministic", "determinism"),
    "row": ("example", "examples", "rows"),
    "rows": ("example", "examples"),
    "sample": ("sampling", "generation"),
    "schedule": ("scheduler",),
    "scheduler": ("schedule",),
    "several": ("multiple",),
    "sft": ("supervised", "finetuning"),
    "stop": ("stopping", "early"),
    "stream": ("streaming", "streamer", "iterable"),
    "supervised": ("sft",),
    "text": ("string", "formatted"),
    "tokens": ("token", "text"),
    "upload": ("push", "hub"),
    "wandb": ("report",),
    "write": ("save", "to", "export"),
}
"""For a word of a question, words that libraries use for the same thing."""


def pieces(name: str) -> list[str]:
    """``SFTTrainer`` → sft, trainer; ``lr_scheduler_type`` → lr, scheduler, type."""
    return [piece.lower() for piece in _PIECE.findall(name)]


def split_name(name: str) -> str:
    """A name's words, and the name in one piece, for the index."""
    whole = name.rpartition(".")[2].lower()
    return " ".join(dict.fromkeys([*pieces(name), whole, whole.replace("_", "")]))


def asked_words(question: str) -> list[str]:
    """The words of a question that say something, names taken apart, in order."""
    found: list[str] = []
    for word in _WORD.findall(question):
        parts = pieces(word)
        found += [word.lower()] if len(parts) < 2 else [*parts, word.lower()]
    kept = [word for word in dict.fromkeys(found) if word not in STOP]
    return kept or list(dict.fromkeys(found))


def like(word: str) -> tuple[str, ...]:
    """Other words for it."""
    for form in (
        word,
        word.removesuffix("s"),
        word.removesuffix("ing"),
        word.removesuffix("ing") + "e",
        word.removesuffix("d"),
    ):
        if form in MEANS:
            return tuple(other for other in MEANS[form] if other != word)
    return ()
