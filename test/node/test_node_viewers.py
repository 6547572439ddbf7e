"""What the node publishes for viewers, where their message packages are installed."""

import pytest

pytest.importorskip('rclpy')
from rclpy.qos import DurabilityPolicy, QoSProfile

pytestmark = pytest.mark.ros


def test_label_info_reaches_late_subscribers_once_per_change(bench, helpers):
    vision_msgs = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is an extra')
    received = []
    bench.show()
    assert bench.add(helpers.make_box_prompt('disc', class_id='plate')).success
    bench.show()
    bench.show()
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    bench.node.create_subscription(
        vision_msgs.LabelInfo, '/robust_vos/label_info', received.append, latched
    )
    bench.wait(lambda: received, 'the label info of before')
    assert [item.class_name for item in received[-1].class_map] == ['plate']
    assert received[-1].class_map[0].class_id == bench.objects[-1].objects[0].label
    bench.show()
    assert len(received) == 1


def test_annotations_have_the_outline(bench, helpers):
    foxglove_msgs = pytest.importorskip('foxglove_msgs.msg', reason='foxglove_msgs is an extra')
    received = bench.listen(foxglove_msgs.ImageAnnotations, '/robust_vos/annotations')
    bench.show()
    assert bench.add(helpers.make_box_prompt('disc')).success
    shown = bench.show()
    bench.wait(lambda: any(item.points for item in received), 'annotations')
    drawn = next(item for item in received if item.points)
    xs = [point.x for point in drawn.points[0].points]
    assert min(xs) == pytest.approx(shown.objects[0].roi.x_offset + 0.5, abs=2)
    assert drawn.texts[0].text.startswith('disc ')
