"""The memory of each object.

object_memory  `ObjectMemory`: entries of prompted, anchor and recent frames bank           `Bank`,
`References`: preallocated tables of entries, and of the references of object calibration update_policy  which
frames enter it, and how hypotheses     `MemoryTree`: several memories of one object, which of them
go on after a frame
"""
