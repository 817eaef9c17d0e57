"""What the intern is told."""
