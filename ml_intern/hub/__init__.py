"""The Hub: the client that every session uses, the embedded server, cards and reports."""
