"""The network: SAM 2 cut into the steps of online tracking.

model               `Model`: encode, attend, calibrate, decode, remember; all that touches sam2
memory_attention    its memory attention for objects with unequal memories in one batch
backbone            `MobileNetTrunk`, an image encoder for a CPU
object_calibration  `ObjectCalibration`: what sets an object apart from others
object_proxies      `Proxies` of objects in reference frames, the layers of the calibration
optimize            device, precision, and what makes a network fast there
checkpoints         `load_model`, model files and weights
"""
