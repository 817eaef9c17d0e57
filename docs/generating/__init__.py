"""What docs/generate.py is made of: one file a page, and the Markdown that they share."""
