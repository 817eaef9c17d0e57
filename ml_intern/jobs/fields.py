"""Which fields the installed libraries know; the recipes' own reader under the host's name."""

from ml_intern.jobs.recipes._sources import (
    causal_types,
    choices_of,
    lora_choices,
    lora_fields,
    model_fields,
    model_types,
    other_trainers,
    package_folder,
    scored_types,
    trainer_class,
    trainer_fields,
)

__all__ = [
    "causal_types",
    "choices_of",
    "lora_choices",
    "lora_fields",
    "model_fields",
    "model_types",
    "other_trainers",
    "package_folder",
    "scored_types",
    "trainer_class",
    "trainer_fields",
]
