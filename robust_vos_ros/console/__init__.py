"""A page in the browser: shows the camera, points at objects, shows how they are tracked.

program    the program robust_vos_console: parameters, start, end
settings   what can be set
server     pages and sockets: who may connect, what is served
session    one browser: its commands, and what is sent to it
hub        the nodes on the graph, those that are watched, and who watches them
camera     one watched node: its pictures and results, and calls of its services
graph      which nodes there are, and which images they see
protocol   what a browser may say; no ROS, no network
mailbox    what waits for a browser, bounded; no ROS, no network
views      messages of ROS as JSON; nothing of ROS is imported
pictures   images of ROS as JPEG; nothing of ROS is imported
static/    the page
"""
