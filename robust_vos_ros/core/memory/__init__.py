"""The memory of each object.

object_memory  `ObjectMemory`: entries of prompted, anchor and recent frames
bank           `Bank`, `ReferenceTable`: preallocated tables of entries and references
update_policy  which frames enter memory
hypotheses     `MemoryTree`: several memory hypotheses per object, and pruning
"""
