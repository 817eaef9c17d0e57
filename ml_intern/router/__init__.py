"""Every tool call passes here, once: the gate, approvals, the budget, and what is known of it from before."""
