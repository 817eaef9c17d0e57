"""Tasks of lm-eval as sealed evaluations: its prompts, filters and metrics; our jobs, items and statistics."""
