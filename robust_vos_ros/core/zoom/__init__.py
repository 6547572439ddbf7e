"""A window around small objects, which the network sees in place of the whole image.

zoom        `Zoom` chooses the window of a tracker
window      parts of an image, and what lies where in them
sources     the frames that memory is made of
rebuilding  memory made again when the window changes
"""
