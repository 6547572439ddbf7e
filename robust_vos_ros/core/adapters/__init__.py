"""Low-rank adapters of the memory attention for adverse weather.

moga   `Moga`: parts of rank 1 with a gate each; `AdapterSettings`
files  attach, detach, save and load an adapter
"""
