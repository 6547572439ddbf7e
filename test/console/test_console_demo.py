"""`make console`: camera, node and console as they are started for people."""

import asyncio
import os
import random
import re
import signal
import subprocess
import sys

import pytest

pytest.importorskip('aiohttp', reason='the console needs aiohttp (the extra console)')
pytest.importorskip('rclpy')
from robust_vos_ros.demo.processes import find_free_domain

pytestmark = pytest.mark.ros

FISH = [15, 140, 160, 240]  # where it swims in the first 35 frames


def test_the_fish_of_the_demo_is_pointed_at(helpers, tmp_path):
    """With the real node: preview, add, and masks; then Ctrl-C ends all three."""
    command = [sys.executable, '-m', 'robust_vos_ros.demo.console', '--port', '0', '--rate', '2']
    # Robots of other tests have the same name.
    environment = dict(os.environ, ROS_DOMAIN_ID=str(find_free_domain(random.Random())))
    with subprocess.Popen(
        [*command, '--out', tmp_path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment,
    ) as process:  # fmt: skip
        try:
            address = next(line for line in process.stdout if 'open http://' in line)
            port = int(re.search(r'http://127.0.0.1:(\d+)/', address)[1])
            item = asyncio.run(asyncio.wait_for(track(helpers, port), 240))
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    assert (item['id'], item['class']) == ('fish', 'animal')
    assert item['area'] > 1000


async def track(helpers, port):
    """Point at the fish in the first frame that is shown; return it in a later one."""
    async with helpers.open_page(port) as page:
        frame = (await page.frame())['head']
        pointing = {'stamp': frame['stamp'], 'box': FISH}
        preview = await page.ask('preview', **pointing)
        assert preview['ok'], preview
        added = await page.ask('add', object_id='fish', class_id='animal', **pointing)
        assert added['ok'], added
        seen = await page.frame(lambda head: head['objects'] and head['objects'][0]['outlines'])
        return seen['head']['objects'][0]
