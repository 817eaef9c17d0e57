"""Our tools for any assistant that speaks MCP: over stdin and stdout, or over HTTP with a token.

A client has a session of its own: a folder with journal, ledger, jobs and budget, and the same router and
gate as every other. What it has not is a brain: the assistant at the other end decides what is called next.

The files, from the outside in: `stdio` and `http` carry messages, `door` says who may come in; `server`
answers; `seats` keeps who has which session; `running` is one call on its way, and `cells` one that runs
Python; `asking` puts the gate's questions to the person.
"""
