"""Credentials: where they come from, which hosts they go to, and how no text shows them."""
