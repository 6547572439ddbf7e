"""The steps of tracking as static graphs for other runtimes than torch.

steps     the steps as modules of flat tensors, which are exported
files     ONNX files of them
runtimes  `GraphModel`: a model that runs them in onnxruntime or openvino
"""
