"""Re-identification of objects by appearance.

appearance        `AppearanceEmbedder` embeds masks, `Gallery` stores embeddings per object
reidentifier      compares masks with objects, learns their appearance
duplicates        suppresses objects with the mask of another one
association       associates candidates with objects
redetection       searches the whole image for unseen objects
reinitialization  unseen objects from candidates, such as the boxes of a detector
"""
