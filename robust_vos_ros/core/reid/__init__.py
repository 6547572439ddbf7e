"""Re-identification of objects by appearance.

appearance   `AppearanceEmbedder` embeds masks, `Gallery` stores embeddings per object
association  compares masks with objects, suppresses duplicates, associates candidates
redetection  searches the whole image for unseen objects
"""
