"""What is remembered of each object.

bank           `ObjectMemory`: entries of prompted, anchor and recent frames, preallocated
update_policy  which frames enter it, and how
hypotheses     `MemoryTree`: several memories of one object, which of them go on after a frame
"""
