"""Mathematics on tensors: batched, differentiable, exact where it is arithmetic.

Nothing here knows of attention. A room of this one imports the files beside it and, where its
first lines say so, another room; its laws and golden values are its tests.
"""
