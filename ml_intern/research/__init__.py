"""Sub-agents that read: each answers one question, with a memory and a kernel of its own."""
