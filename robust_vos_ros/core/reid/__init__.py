"""Re-identification: what objects look like, and which one is which.

appearance   `AppearanceEmbedder` describes masks, `Gallery` remember them per object
association  compare masks with objects; two objects are not the same thing
redetection  look for objects out of sight in the whole image
"""
