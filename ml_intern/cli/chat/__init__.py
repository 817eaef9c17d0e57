"""The chat in a terminal: a line to write on that stays below, and what the session does above it."""
