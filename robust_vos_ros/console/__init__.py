"""A web page that shows the camera and the tracked objects, and on which users prompt objects.

program    the program robust_vos_console
settings   its settings
server     HTTP and WebSocket server, access control
session    one browser: its commands, and the messages to it
hub        the nodes of the ROS graph, the watched ones, and their browsers
camera     one watched node: its images and results, and calls of its services
graph      finds robust_vos nodes and their image topics
protocol   messages of a browser; no ROS, no network
mailbox    bounded queue of messages to a browser; no ROS, no network
views      ROS messages as JSON; imports no ROS
pictures   ROS images as JPEG; imports no ROS
static/    the page
"""
