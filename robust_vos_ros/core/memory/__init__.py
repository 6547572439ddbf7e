"""What is remembered of each object.

object_memory  `ObjectMemory`: entries of prompted, anchor and recent frames
bank           `Bank`: such entries of one kind, preallocated, in a table
references     `References`: the frames that object calibration compares with
update_policy  which frames enter it, and how
hypotheses     `MemoryTree`: several memories of one object, which of them go on after a frame
"""
