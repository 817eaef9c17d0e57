"""The one way to pages of the internet: polite, cached, bounded, and closed towards private addresses."""
