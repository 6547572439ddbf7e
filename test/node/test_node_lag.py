"""Fixed lag in the node: each result goes out under the header of its own image."""

import pytest

pytest.importorskip('rclpy')
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from robust_vos.srv import ListObjects
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

pytestmark = pytest.mark.ros

LAG = 2


@pytest.fixture(scope='module')
def lagging(make_bench):
    return make_bench({'tracking.tree.lag_frames': LAG})


def send(bench, helpers, count):
    """Let the node process some images, one after the other; return their stamps."""
    stamps = []
    for _ in range(count):
        processed = bench.counts.processed
        stamps.append(bench.next_stamp())
        bench.publish(helpers.make_image(stamps[-1], frame_id=f'camera {stamps[-1]}'))
        bench.wait(lambda n=processed: bench.counts.processed > n, 'an image to be processed')
    return stamps


def test_results_have_the_headers_and_pixels_of_their_images(lagging, helpers):
    bench = lagging
    overlays = bench.listen(Image, '/robust_vos/overlay')
    first = send(bench, helpers, 1)
    assert bench.add(helpers.make_box_prompt()).success
    stamps = first + send(bench, helpers, 5)
    newest = bench.call(ListObjects, '/robust_vos/list_objects')
    assert helpers.stamp_ns(newest.header) == stamps[-1]  # services answer on the newest frame
    bench.wait(lambda: len(bench.objects) == len(stamps) - LAG, 'the final results')
    for topic in (bench.objects, overlays):
        bench.wait(lambda topic=topic: len(topic) == len(stamps) - LAG, 'a message per image')
        for msg, stamp in zip(topic, stamps, strict=False):
            assert (helpers.stamp_ns(msg.header), msg.header.frame_id) == (
                stamp, f'camera {stamp}',
            )  # fmt: skip
    assert [msg.frame_index for msg in bench.objects] == list(range(len(stamps) - LAG))
    assert bench.objects[-1].objects[0].area_px > 0

    transition = Transition(id=Transition.TRANSITION_DEACTIVATE)  # publishes the rest
    assert bench.call(ChangeState, '/robust_vos/change_state', transition=transition).success
    bench.wait(lambda: len(bench.objects) == len(stamps), 'the results that waited')
    assert [helpers.stamp_ns(msg.header) for msg in bench.objects] == stamps


def test_a_reset_publishes_what_waits_before(lagging, helpers):
    bench = lagging
    transition = Transition(id=Transition.TRANSITION_ACTIVATE)
    assert bench.call(ChangeState, '/robust_vos/change_state', transition=transition).success
    bench.wait_for_input()
    bench.objects.clear()
    stamps = send(bench, helpers, 1)
    assert bench.call(Trigger, '/robust_vos/reset').success
    assert bench.add(helpers.make_box_prompt('again')).success  # on the frame that was forgotten
    stamps += send(bench, helpers, 1 + LAG)
    bench.wait(lambda: len(bench.objects) == 2, 'the results')
    assert [helpers.stamp_ns(msg.header) for msg in bench.objects] == stamps[:2]
    assert [item.object_id for item in bench.objects[1].objects] == ['again']
    assert bench.failures == []
