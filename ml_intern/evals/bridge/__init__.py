"""Tasks of lm-eval as sealed evaluations: its prompts and metrics; our jobs, items and statistics."""
