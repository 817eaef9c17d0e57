"""Tools from outside: smolagents tools in a person's folder, and MCP servers that the settings name.

Each becomes a `ToolSpec` and takes the same way as a native tool: router, gate, budget, journal. What such a
tool says of itself (names, descriptions, schemas, errors, results) is untrusted: it is bounded, marked with
its source, and decides nothing. What a call may do is decided by the person alone.
"""
