"""`ml-intern reproduce CARD`: does again what a published model's card says, and holds the numbers together.

A card is somebody else's text. It is read into bounded, typed words (`card`), becomes a plan of steps
(`plan`), each step one cell whose arguments are Python literals (`cells`), played by a brain that is no
language model (`brain`) in a session like any other: journal, budget, gate, report and resume come with it.
"""
