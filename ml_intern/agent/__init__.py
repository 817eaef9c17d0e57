"""The loop of brain and cell: what the brain is told, what it sees, and when a run is turned round."""
