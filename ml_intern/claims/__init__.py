"""Numbers that a text claims, held against what a session has measured.

`reading` finds the numbers of a text with the words around them, `evidence` holds what the session knows,
`gathering` collects that, `judging` says which numbers stand, and `answers` looks at the final answer.
"""
