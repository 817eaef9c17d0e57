"""What a session tells outside of its faces: to Slack, to any webhook of the person's."""

from ml_intern.notifying.messages import KINDS, Message
from ml_intern.notifying.notifier import Notifier
from ml_intern.notifying.targets import Target, read_targets

__all__ = ["KINDS", "Message", "Notifier", "Target", "read_targets"]
