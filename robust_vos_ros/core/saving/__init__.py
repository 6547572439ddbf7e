"""Save the tracks of a tracker as bytes, and load them.

saved_tracks    one format for two uses: go on with the same bits, or re-detect after a restart
format          their bytes
named_tensors   tensors by name: check and find them
"""
