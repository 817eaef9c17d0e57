"""`ml-intern reproduce CARD`: does again what a published model's card says, and holds the numbers together.

A card is somebody else's text. It is read into bounded, typed words (`card`), becomes a plan of steps
(`plan`), each step one cell whose arguments are Python literals (`cells`), played by a brain that is no
language model (`brain`) in a session like any other: journal, budget, gate, report and resume come with it.

When are the weights bit for bit the same? On a CPU with the same versions, the same number of threads and the
same rows in the same order, always: every recipe draws from one seed. Otherwise not:

- other versions of torch, Transformers or TRL sum and shuffle in another order;
- another number of threads adds up floating-point numbers in other groups (a reproduction asks for as many
  threads as there were, where the machine has them), and so may another processor's vector units;
- on a GPU some kernels add in the order in which their threads happen to finish;
- a run that recovered (from too little memory, say) went on with other batches, or stopped early by a rule
  that looked at its curves at another moment;
- data that a language model wrote comes out otherwise each time: it is asked for by its hash.

Then the numbers decide: each must lie within the interval that the card states.
"""
