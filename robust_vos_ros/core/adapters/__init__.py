"""Adapters of memory attention and image encoder for adverse weather.

settings  `AdapterSettings`
moga      `Moga`: parts of rank 1 of the memory attention, with a gate each
encoder   changes of the weights of the image encoder, and folding them in
gates     gates from object pointers
files     attach, detach, save and load an adapter
"""
