"""Random and mutated messages: the console survives them, and its memory does not grow."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading

import psutil
import pytest

aiohttp = pytest.importorskip('aiohttp', reason='the console needs aiohttp (the extra console)')
pytest.importorskip('rclpy')

pytestmark = pytest.mark.ros

# FUZZ_MESSAGES=10000 sends more of them.
NUM_MESSAGES = int(os.environ.get('FUZZ_MESSAGES', '1000'))
NUM_WARM_UP = 500  # memory grows until every kind of message came
PER_SOCKET = 100  # below the limit at which a flood ends it
NUM_SOCKETS = 4
MAX_GROWTH_MB = 20
STAMP = [1_700_000_000, 5]
HELLO = {'type': 'hello', 'protocol': 1}
VALID = [
    HELLO,
    {'type': 'seen'},
    {'type': 'watch', 'id': 1, 'node': '/robust_vos'},
    {'type': 'freeze', 'stamp': STAMP},
    {'type': 'preview', 'id': 2, 'stamp': STAMP, 'points': [[80, 60, 1], [2, 2, 0]]},
    {'type': 'add', 'id': 3, 'stamp': STAMP, 'object_id': 'cup', 'box': [10, 10, 50, 50]},
    {'type': 'refine', 'id': 4, 'stamp': STAMP, 'object_id': 'cup', 'points': [[80, 60, 1]]},
    {'type': 'find', 'id': 9, 'text': 'the disc', 'max_objects': 2, 'mode': 'once'},
    {'type': 'remove', 'id': 5, 'object_ids': ['cup'], 'stamp': None},
    {'type': 'reset', 'id': 6},
    {'type': 'seek', 'id': 7, 'index': 3},
    {'type': 'delete', 'id': 8, 'number': 3},
]
ODD = [
    None, True, -1, 2**31, 2**63, 10**400, 1e308, 0.5, '', '\0', '\ud800', '/' * 300, 'x' * 20_000,
    [], [[]], {}, {'type': 'seen'}, [1e9] * 5, [[1, 2, 3]] * 100, '../../etc/passwd',
]  # fmt: skip


def make_message(rng):
    """Return a text, or bytes: a valid message, one with odd values, a damaged one, or noise."""
    message = dict(rng.choice(VALID))
    kind = rng.random()
    if kind < 0.1:
        return json.dumps(message)
    if kind < 0.55:
        for _ in range(rng.randint(1, 3)):
            key = rng.choice([*message, 'stamp', 'id', 'more'])
            message[key] = rng.choice(ODD)
        return json.dumps(message)
    text = json.dumps(message)
    if kind < 0.85:
        place, width = rng.randrange(len(text)), rng.randint(0, 5)
        return (
            text[:place] + ''.join(rng.choices('{}[]":,0a\\é\0', k=width)) + text[place + width :]
        )
    if kind < 0.99:
        return ''.join(chr(rng.choice((rng.randrange(128), 0x20AC, 0x1F600))) for _ in range(60))
    return rng.randbytes(50)


async def fuzz(port, count, rng):
    """Send messages over several sockets; each is opened again when it is used up."""

    async def send(messages):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f'http://127.0.0.1:{port}/ws') as socket,
        ):
            await socket.send_str(json.dumps(HELLO))
            reading = asyncio.create_task(read(socket))
            count = 0
            for count, message in enumerate(messages, 1):  # noqa: B007
                if socket.closed:  # by a message that is too long, or not a text
                    break
                sending = socket.send_str if isinstance(message, str) else socket.send_bytes
                try:
                    await sending(message)
                except (ConnectionError, aiohttp.ClientError):
                    break
            await socket.close()
            await reading
        return count

    async def read(socket):
        async for _ in socket:
            pass

    async def work():
        while left[0] > 0:
            batch = [make_message(rng) for _ in range(min(PER_SOCKET, left[0]))]
            left[0] -= await send(batch)

    left = [count]
    await asyncio.gather(*(work() for _ in range(NUM_SOCKETS)))


@pytest.fixture
def process(domain):
    """A console as users start it; it may not log an error, and ends when asked to."""
    command = [sys.executable, '-m', 'robust_vos_ros.console.program']
    with subprocess.Popen(
        [*command, '--ros-args', '-p', 'port:=0'], stderr=subprocess.PIPE, text=True
    ) as process:
        address = next(line for line in process.stderr if 'open http://' in line)
        process.port = int(re.search(r'http://127.0.0.1:(\d+)/', address)[1])
        lines = []
        reading = threading.Thread(target=lambda: lines.extend(process.stderr))
        reading.start()
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
            reading.join()
    assert not [line for line in lines if 'ERROR' in line or 'Traceback' in line]


def test_no_message_ends_the_console_or_fills_its_memory(process, robot, helpers):
    port = process.port
    rng, memory = random.Random(7), psutil.Process(process.pid).memory_info
    asyncio.run(fuzz(port, NUM_WARM_UP, rng))
    before = memory().rss
    asyncio.run(fuzz(port, NUM_MESSAGES - NUM_WARM_UP, rng))
    growth_mb = (memory().rss - before) / 1e6

    async def look():
        async with helpers.open_page(port) as page:
            return await page.frame()

    assert asyncio.run(look())['picture']
    assert growth_mb < MAX_GROWTH_MB
