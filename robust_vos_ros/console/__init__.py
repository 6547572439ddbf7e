"""A web page that shows a camera or a bag with the tracked objects, on which users prompt objects.

settings     settings of page, server and program
serving      runs a server for a source
server       HTTP and WebSocket server, access control
session      one browser: its commands, and the messages to it
protocol     messages of a browser
mailbox      bounded queue of messages to a browser
source       what a server shows: nodes (hub) or a bag (bag_source)
views        ROS messages as JSON
pictures     ROS images as JPEG
static/      the page

program      the program robust_vos_console: serves the nodes of the ROS graph
hub          these nodes, the watched ones, and their browsers
camera       one watched node: its images and results, and calls of its services
graph        finds robust_vos nodes and their image topics

bag_source   a bag: its images, results and prompts; used by the command `robust-vos console`
preview      segments prompts in images of a bag

Only program, hub, camera and graph import ROS, only server imports aiohttp, and only preview and
bag_source load torch.
"""
