"""The append-only record of a session, written and read."""
