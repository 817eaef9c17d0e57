"""Where the intern's code runs: the kernel, and the walls around it."""
