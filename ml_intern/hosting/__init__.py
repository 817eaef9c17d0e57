"""Sessions that live in this process for faces that come and go: a chat, a web page, a notebook."""

from ml_intern.hosting.hosted import Hosted, State
from ml_intern.hosting.past import past_events

__all__ = ["Hosted", "State", "past_events"]
