"""The workspace on the disk: which paths may be touched, its history, and making it what it was."""
