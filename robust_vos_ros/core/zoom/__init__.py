"""A window around small objects that the network gets instead of the whole image.

zoom        `Zoom` chooses the window of a tracker
window      crops of an image, and mapping of coordinates
sources     the frames from which memory was encoded
rebuilding  encodes memory again when the window changes
"""
