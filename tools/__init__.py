"""What the intern can do; one file a subject."""
