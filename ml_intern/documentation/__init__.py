"""What the installed libraries say of themselves: read in the sandbox, from their sources, and searched."""
