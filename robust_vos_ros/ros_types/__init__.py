"""Conversion between messages (of rclpy or of bags) and the engine's types; imports no ROS.

images           sensor_msgs/Image and CompressedImage to `Frame`
messages         `MessageMaker`: results to messages
annotations      labels and outlines for viewers
discontinuities  breaks in a stream of images
invariants       what every published message satisfies
identity         which model, weights and version made a mask
"""
