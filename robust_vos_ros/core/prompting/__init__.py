"""From prompts to objects.

prompts              check prompts; make them tensors for the network; hold masks to them
segmentation         `Segmenter`: masks of prompts in the frame they were made on
starting             objects from prompts, and corrections of live ones
reference_pictures   objects given by a picture of them, which start LOST
"""
