"""Types of columns as `datasets` writes them, in words."""

from __future__ import annotations

from typing import Any

_SHOWN_NAMES = 12
_WORDS = {
    "text": ("string", "large_string"),
    "integer": ("int", "uint"),
    "number": ("float", "double", "decimal"),
    "true or false": ("bool",),
    "time": ("timestamp", "date", "time"),
    "duration": ("duration",),
    "bytes": ("binary", "large_binary"),
    "nothing": ("null",),
}


def in_words(feature: Any, depth: int = 0) -> str:
    """``text``, ``list of integer``, ``class: neg, pos``, ``image``."""
    if depth > 20:
        return "…"
    if isinstance(feature, list):
        return f"list of {in_words(feature[0], depth + 1)}" if feature else "list"
    if not isinstance(feature, dict):
        return "unknown"
    kind = feature.get("_type")
    if kind == "Value":
        dtype = str(feature.get("dtype", ""))
        return next((word for word, starts in _WORDS.items() if dtype.startswith(starts)), dtype or "unknown")
    if kind == "ClassLabel":
        return _classes(feature.get("names"))
    if kind in ("List", "LargeList", "Sequence"):
        return f"list of {in_words(feature.get('feature'), depth + 1)}"
    if isinstance(kind, str):
        return kind.lower()
    return "{" + ", ".join(f"{name}: {in_words(inner, depth + 1)}" for name, inner in feature.items()) + "}"


def bare(value: Any, feature: Any) -> Any:
    """A cell as a reader wants it: of media what they are, since their addresses expire."""
    kind = feature.get("_type") if isinstance(feature, dict) else None
    if kind in ("Image", "Audio", "Video", "Pdf", "Nifti", "Mesh"):
        size = f" {value['width']}×{value['height']}" if isinstance(value, dict) and "width" in value else ""
        return None if value is None else f"({kind.lower()}{size})"
    if kind in ("List", "LargeList", "Sequence") and isinstance(value, list):
        return [bare(each, feature.get("feature")) for each in value]
    if kind is None and isinstance(feature, dict) and isinstance(value, dict):
        return {name: bare(each, feature.get(name)) for name, each in value.items()}
    return value


def _classes(names: Any) -> str:
    known = [str(name) for name in names] if isinstance(names, list) else []
    more = f", … ({len(known)})" if len(known) > _SHOWN_NAMES else ""
    return f"class: {', '.join(known[:_SHOWN_NAMES])}{more}" if known else "class"
