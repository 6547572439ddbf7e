"""The network: SAM 2 cut into the steps of online tracking.

model               `Model`: encode, attend, calibrate, decode, remember
image_encoder       its image encoder, also with an adapter and with words
mask_decoder        its mask decoder
tensors             what passes between the steps: features, candidates, views of memory
memory_attention    its memory attention for memories of unequal length in one batch
two_way             the transformer of its mask decoder, faster on a CPU
backbone            `MobileNetTrunk`, an image encoder for a CPU
object_calibration  `ObjectCalibration`: separates objects from each other
object_proxies      `Proxies` of objects in reference frames, the layers of the calibration
object_classifier   a linear classifier of an object's cells
prompt_refiner      `PromptRefiner`: corrects the masks of prompted frames
optimize            device, precision and speed
graphs              the steps as static graphs for onnxruntime and openvino
model_files         `ModelSpec`; which files a model consists of
checkpoints         `load_model`: networks from model files and weights
"""
