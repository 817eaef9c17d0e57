"""Searches over a training's config: what may differ, how it is searched, and the trials as jobs."""
