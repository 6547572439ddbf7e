"""The console over HTTP, with a robot over DDS: access, and the messages to the page."""

import asyncio
import contextlib
import json
import random
import time
import types

import pytest

aiohttp = pytest.importorskip('aiohttp', reason='the console needs aiohttp (the extra console)')
pytest.importorskip('rclpy')
from robust_vos_ros.console import mailbox, protocol, server, session
from robust_vos_ros.console.camera import Camera
from robust_vos_ros.console.program import main
from robust_vos_ros.console.serving import describe_address
from robust_vos_ros.console.settings import ConsoleSettings

pytestmark = pytest.mark.ros

TOKEN = 'not-a-secret-in-a-test'


def visit(port, path, **headers):
    """Return status, headers and text of a page."""

    async def get():
        async with (
            aiohttp.ClientSession() as client,
            client.get(f'http://127.0.0.1:{port}{path}', headers=headers) as response,
        ):
            return response.status, response.headers, await response.text()

    return asyncio.run(get())


def test_the_page_needs_nothing_from_elsewhere(port):
    status, headers, page = visit(port, '/')
    assert status == 200
    assert "default-src 'none'" in headers['Content-Security-Policy']
    assert headers['X-Content-Type-Options'] == 'nosniff'
    for name in ('main.js', 'stage.js', 'console.css'):
        status, headers, text = visit(port, f'/{name}')
        assert status == 200
        assert headers['Content-Type'].startswith(server.TYPES[name[name.index('.') :]])
        page += text
    assert 'http:' not in page.replace("'https:'", '')


@pytest.mark.parametrize(
    'path',
    [
        '/server.py',  # a file of the package, but none of the page
        '/../server.py',
        '/%2e%2e/server.py',
        '/..%2fserver.py',
        '/%2fetc%2fpasswd',
        '/static/main.js',
        '/main.js/',
        '/__init__.py',
    ],
)
def test_no_request_reads_a_file(port, path):
    status, headers, _ = visit(port, path)
    assert status == 404
    assert "default-src 'none'" in headers['Content-Security-Policy']


@pytest.mark.parametrize(
    ('headers', 'has_token', 'words'),
    [
        ({'Host': '127.0.0.1:8080'}, False, ''),  # a program
        ({'Host': 'localhost:8080', 'Origin': 'http://localhost:8080'}, False, ''),
        ({'Host': '[::1]:8080', 'Origin': 'http://[::1]:8080'}, False, ''),
        # a page of another site
        ({'Host': 'localhost:8080', 'Origin': 'https://evil.example'}, False, 'expected a page'),
        ({'Host': 'localhost:8080', 'Origin': 'http://localhost:9090'}, False, 'expected a page'),
        ({'Host': 'localhost:8080', 'Origin': 'null'}, True, 'expected a page'),
        # its name was made to point here
        ({'Host': 'evil.example', 'Origin': 'http://evil.example'}, False, 'expected the host'),
        ({'Host': '[::1', 'Origin': 'http://x'}, False, 'expected a page'),  # nonsense
        ({'Host': 'localhost', 'Origin': 'http://[x'}, False, 'expected a page'),
        ({}, False, 'expected the host'),
        # with a token any name will do, also that of a proxy with TLS
        ({'Host': 'robot.local', 'Origin': 'https://robot.local'}, True, ''),
    ],
)
def test_sockets_are_for_pages_of_this_console(headers, has_token, words):
    refusal = server.check_origin(headers, has_token=has_token)
    assert words in refusal
    assert bool(words) == bool(refusal)


def test_a_page_of_another_site_gets_no_socket(port, helpers):
    async def attempt():
        async with helpers.open_page(port, headers={'Origin': 'http://evil.example'}):
            pass

    with pytest.raises(aiohttp.WSServerHandshakeError, match='403'):
        asyncio.run(attempt())


@pytest.fixture(scope='module')
def guarded(console):
    return console.serve(token=TOKEN, max_clients=3)[0]


def test_a_token_lets_in(guarded, helpers, robot):
    async def enter(headers=None, **fields):
        async with helpers.open_page(guarded, headers=headers, **fields) as page:
            return await page.wait(lambda note: note['type'] == 'nodes', 'the nodes')

    assert asyncio.run(enter(token=TOKEN))
    assert asyncio.run(enter(headers={'Authorization': f'Bearer {TOKEN}'}))


def test_without_the_token_a_browser_is_refused(guarded, helpers, monkeypatch, capfd):
    monkeypatch.setattr(server, 'WRONG_TOKEN_S', 0.01)

    async def enter(fields):
        async with helpers.open_page(guarded, **fields) as page:
            note = await page.receive()
            await page.socket.receive()
            return note, page.socket.close_code

    for fields in ({}, {'token': 'wrong'}, {'token': TOKEN[:-1]}, {'token': TOKEN + 'x'}):
        note, code = asyncio.run(enter(fields))
        assert (note['type'], note['code'], code) == ('refused', 'WRONG_TOKEN', 4401)
    output = capfd.readouterr()
    assert 'no token or a wrong one' in output.err + output.out
    assert TOKEN[:-1] not in output.err + output.out


@pytest.mark.parametrize(
    ('first', 'code'),
    [
        ({'type': 'seen'}, 'BAD_MESSAGE'),  # not a hello
        ({'type': 'hello', 'protocol': 99}, 'WRONG_VERSION'),
        ({'type': 'hello', 'protocol': 1, 'node': 'no name!'}, 'BAD_MESSAGE'),
        ('nonsense', 'BAD_MESSAGE'),
    ],
)
def test_a_hello_comes_first(port, helpers, first, code):
    async def enter():
        async with helpers.open_page(port, hello=False) as page:
            await page.socket.send_str(first if isinstance(first, str) else json.dumps(first))
            note = await page.receive()
            await page.socket.receive()
            return note['code'], page.socket.close_code

    assert asyncio.run(enter()) == (code, server.WRONG_HELLO)


def test_the_number_of_browsers_is_limited(guarded, helpers, robot):
    """Sockets without a hello do not count."""

    async def enter():
        async with contextlib.AsyncExitStack() as stack:

            async def come(**options):
                return await stack.enter_async_context(helpers.open_page(guarded, **options))

            for _ in range(5):
                await come(hello=False)
            for _ in range(3):
                page = await come(token=TOKEN)
                await page.wait(lambda note: note['type'] == 'nodes', 'the nodes')
            return (await (await come(token=TOKEN)).receive())['code']

    assert asyncio.run(enter()) == 'FULL'


def test_prompts_apply_to_the_image_that_was_shown(port, helpers, robot):
    """From the first picture to a removed object."""

    async def tell():
        async with helpers.open_page(port) as page:
            frame = await page.frame()
            head, stamp = frame['head'], frame['head']['stamp']
            assert frame['picture'].startswith(b'\xff\xd8')
            assert (head['size'], head['objects'], head['node']) == ([160, 120], [], '/robust_vos')
            assert (head['latency_ms'], head['engine_ms'], head['dropped']) == (40.0, 30.0, 3)

            await page.send(type='freeze', stamp=stamp)
            points = [[*helpers.center, 1], [2, 2, 0]]
            preview = await page.ask('preview', stamp=stamp, points=points)
            assert preview['ok']
            assert preview['objects'][0]['box'] == [70, 50, 20, 20]
            assert preview['objects'][0]['outlines'] == [[70, 50, 70, 69, 89, 69, 89, 50]]

            added = await page.ask(
                'add', stamp=stamp, object_id='disc', class_id='toy', box=[55, 35, 105, 85]
            )
            assert added['ok'], added
            await page.event('ADDED')
            (item,) = (await page.frame(lambda head: head['objects']))['head']['objects']
            assert (item['id'], item['class'], item['state']) == ('disc', 'toy', 'TRACKED')
            assert (item['confidence'], item['box']) == (0.9, [55, 35, 50, 50])

            again = await page.ask('add', stamp=stamp, object_id='disc', points=points)
            assert (again['code'], again['message']) == ('DUPLICATE_ID', 'disc is already tracked')
            corrected = await page.ask('refine', stamp=stamp, object_id='disc', points=points)
            assert corrected['ok'], corrected
            outside = await page.ask('add', stamp=stamp, object_id='x', box=[-90, 0, 10, 10])
            assert outside['code'] == 'BAD_PROMPT'
            assert 'is inside the image' in outside['message']
            gone = await page.ask('remove', object_ids=['cup'])
            assert (gone['code'], gone['message']) == ('UNKNOWN_ID', 'there is no cup')
            assert (await page.ask('remove', object_ids=['disc']))['removed'] == ['disc']
            assert (await page.ask('reset'))['ok']
            robot.refuse = 'NOT_ACTIVE', 'the node is inactive'
            reset = await page.ask('reset')
            assert (reset['code'], reset['message']) == ('NOT_ACTIVE', 'the node is inactive')
            status = await page.wait(
                lambda note: note['type'] == 'status' and note['buffer_s'] is not None, 'a status'
            )
            assert (status['level'], status['buffer_s'], status['present']) == ('OK', 20.0, True)
            return stamp

    stamp = asyncio.run(tell())
    named = [
        request for kind, request in robot.requests if kind in {'add_objects', 'segment_once'}
    ]
    assert {(item.header.stamp.sec, item.header.stamp.nanosec) for item in named} == {tuple(stamp)}


def test_a_preview_works_on_an_image_that_the_node_no_longer_has(port, helpers, robot):
    async def tell():
        async with helpers.open_page(port) as page:
            stamp = (await page.frame())['head']['stamp']
            await page.send(type='freeze', stamp=stamp)
            for _ in range(3):
                await page.frame()
            robot.refuse = 'STAMP_TOO_OLD', 'too old'
            preview = await page.ask('preview', stamp=stamp, points=[[80, 60, 1]])
            robot.refuse = 'STAMP_TOO_OLD', 'too old; prompt sooner'
            late = await page.ask('add', stamp=stamp, object_id='disc', points=[[80, 60, 1]])
            return preview, late

    preview, late = asyncio.run(tell())
    assert preview['ok'], preview
    assert (late['code'], late['message']) == ('STAMP_TOO_OLD', 'too old; prompt sooner')
    (image,) = [
        request.image[0] for kind, request in robot.requests if kind[0] == 's' and request.image
    ]
    assert (image.width, image.height, image.encoding) == (160, 120, 'rgb8')
    assert list(image.data[3 * (60 * 160 + 80) :][:3]) == [230, 200, 40]


def test_things_are_found_by_words(port, helpers, robot):
    async def tell():
        async with helpers.open_page(port) as page:
            await page.frame()
            found = await page.ask('find', text='the disc', max_objects=3)
            frame = await page.frame(lambda head: head['objects'])
            absent = await page.ask('find', text='a mug', mode='until_found')
            robot.refuse = 'BAD_PROMPT', 'words need a text encoder; install it'
            refused = await page.ask('find', text='a mug')
            status = await page.wait(lambda note: note['type'] == 'status', 'the status')
            return found, frame['head']['objects'], absent, refused, status

    found, (item,), absent, refused, status = asyncio.run(tell())
    assert (found['message'], found['found']) == ('found the disc (0.83)', [['the disc', 0.83]])
    assert not found['searching']
    assert (item['id'], item['class']) == ('the disc', 'toy')
    assert (absent['ok'], absent['found'], absent['searching']) == (True, [], True)
    assert absent['message'] == "nothing like 'a mug' in view"
    assert (refused['code'], refused['message']) == (
        'BAD_PROMPT',
        'words need a text encoder; install it',
    )
    assert status['no_words'] == ''
    asked = [request for kind, request in robot.requests if kind == 'find']
    assert [(item.text, item.max_objects, item.mode) for item in asked] == [
        ('the disc', 3, 'once'), ('a mug', 1, 'until_found'), ('a mug', 1, 'once'),
    ]  # fmt: skip


def test_a_node_without_words_says_so(port, helpers, make_robot):
    async def tell():
        async with helpers.open_page(port, node='/wordless') as page:
            status = await page.wait(lambda note: note.get('no_words'), 'the reason')
            return status['no_words'], await page.ask('find', text='the disc')

    with contextlib.closing(make_robot('wordless', words=False)):
        why, answer = asyncio.run(tell())
    assert 'has no service ~/find' in why
    assert (answer['ok'], answer['code'], answer['message']) == (False, 'NO_ANSWER', why)


def test_a_class_is_changed_without_marks_on_any_image(port, helpers, robot):
    robot.objects['disc'] = (10, 10, 30, 30, 1, 'toy')

    async def tell():
        async with helpers.open_page(port) as page:
            await page.frame()
            asked = {'stamp': [5, 5], 'object_id': 'disc'}
            answer = await page.ask('refine', **asked, class_id='lid')
            empty = await page.ask('refine', **asked)
            frame = await page.frame(lambda head: head['objects'][0]['class'] != 'toy')
            return answer, empty, frame['head']['objects'][0]['class']

    answer, empty, kind = asyncio.run(tell())
    assert answer['ok'], answer
    assert 'expected points or a box' in empty['message']
    assert kind == 'lid'
    (request,) = [request for kind, request in robot.requests if kind == 'refine_object']
    assert request.header.stamp.sec == 0  # now, not on an image that may be gone


def test_two_browsers_get_the_same_objects_and_events(port, helpers, robot):
    async def tell():
        async with helpers.open_page(port) as one, helpers.open_page(port) as other:
            stamp = (await one.frame())['head']['stamp']
            await other.frame()
            await one.ask('add', stamp=stamp, object_id='disc', points=[[80, 60, 1]])
            frame = await other.frame(lambda head: head['objects'])
            assert frame['head']['objects'][0]['id'] == 'disc'
            robot.tell('LOST', 'disc')
            for page in (one, other):
                assert (await page.event('LOST'))['object_id'] == 'disc'

    asyncio.run(tell())


def test_a_slow_browser_gets_fewer_frames(port, helpers, robot):
    async def count():
        async with helpers.open_page(port) as slow, helpers.open_page(port) as quick:
            slow.thanks = False
            frames = [note for note in [await quick.frame() for _ in range(8)] if note]
            robot.tell('LOST', 'end')
            received = []
            await slow.wait(
                lambda note: received.append(note) or note.get('event') == 'LOST', 'the event'
            )
            return len(frames), sum(note['type'] == 'frame' for note in received)

    assert asyncio.run(count()) == (8, mailbox.MAX_UNSEEN)


def test_too_many_or_too_long_messages_end_the_socket(port, helpers, robot):
    async def flood():
        async with helpers.open_page(port) as page:
            await page.frame()
            with contextlib.suppress(ConnectionError):  # it may be ended before all is sent
                for _ in range(session.BURST + 100):
                    await page.send(type='reset', id=1)
            codes = []
            with pytest.raises(ConnectionError, match='1008'):
                await page.wait(lambda note: codes.append(note.get('code')), 'the end')
            return set(codes) - {None}

    async def send_giant():
        async with helpers.open_page(port) as page:
            await page.socket.send_str('x' * (protocol.MAX_MESSAGE_BYTES + 1))
            with pytest.raises(ConnectionError, match='1009'):
                await page.wait(lambda _: False, 'the end')

    assert asyncio.run(flood()) <= {'BUSY'}
    asyncio.run(send_giant())


def test_invalid_messages_are_answered_and_the_socket_stays_open(port, helpers, robot):
    rng = random.Random(2)

    async def tell():
        async with helpers.open_page(port) as page:
            await page.frame()
            for _ in range(60):
                await page.socket.send_str(''.join(rng.choices('{}[]":,0a\\', k=30)))
            await page.send(type='hello', protocol=1)
            await page.frame()
            assert (await page.ask('reset'))['ok']
            return [note['code'] for note in page.notes if note.get('ok') is False]

    codes = asyncio.run(tell())
    assert set(codes) == {'BAD_MESSAGE'}
    assert len(codes) >= mailbox.MAX_ANSWERS


def test_several_nodes_can_be_watched(port, helpers, robot, make_robot):
    """The images of a compressed topic are sent unchanged."""
    other = make_robot('eyes', '/left', compressed=True)
    both = {'/left/eyes', '/robust_vos'}  # DDS may still see those of other tests

    async def tell():
        async with helpers.open_page(port) as page:
            nodes = await page.wait(
                lambda note: note['type'] == 'nodes' and both <= set(note['nodes']), 'two nodes'
            )
            assert nodes['nodes'] == sorted(nodes['nodes'])
            bad = await page.ask('watch', node='no name!')
            assert (bad['code'], '/robust_vos' in bad['message']) == ('BAD_MESSAGE', True)
            assert (await page.ask('watch', node='left/eyes'))['ok']
            frame = await page.frame(lambda head: head['node'] == '/left/eyes')
            assert frame['picture'] in other.jpegs
            stamp = frame['head']['stamp']
            other.refuse = 'STAMP_TOO_OLD', 'too old'
            assert (await page.ask('preview', stamp=stamp, points=[[80, 60, 1]]))['ok']
            await page.ask('add', stamp=stamp, object_id='disc', points=[[80, 60, 1]])

    asyncio.run(tell())
    assert (set(other.objects), robot.objects) == ({'disc'}, {})


def test_a_node_that_restarts_is_shown_again(port, helpers, make_robot):
    """The page shows that it is silent in between."""
    robots = [make_robot('brief')]

    async def tell():
        async with helpers.open_page(port, node='/brief') as page:
            await page.frame()
            robots[0].close()  # DDS may take long to see that
            await page.wait(lambda note: note.get('silent'), 'silence')
            robots.append(make_robot('brief'))
            stamp = (await page.frame())['head']['stamp']
            added = await page.ask('add', stamp=stamp, object_id='disc', points=[[80, 60, 1]])
            assert added['ok'], added

    asyncio.run(tell())


def test_a_closed_connection_is_opened_again(console, port, helpers, robot):
    async def tell():
        async with helpers.open_page(port) as page:
            await page.frame()
            camera = console.hubs[port]._cameras['/robust_vos']
            camera._connection.close()  # as when its thread failed
            before = (await page.frame())['head']['stamp']
            after = await page.frame(lambda head: head['stamp'][0] > before[0] + 1)
            assert console.hubs[port]._cameras['/robust_vos'] is not camera
            assert after['picture']

    asyncio.run(tell())


@pytest.mark.parametrize(
    ('rate', 'told_s', 'heard_s', 'is_disconnected'),
    [
        ('10.00', 0.5, 20.0, True),  # it works, and nothing arrives
        ('10.00', 0.5, 3.0, False),  # not for long
        ('0.00', 0.5, 20.0, False),  # it gets no images
        ('', 0.5, 20.0, False),  # it just began
        ('fast', 0.5, 20.0, False),
        ('10.00', 30.0, 20.0, False),  # it is gone
    ],
)
def test_a_connection_without_results_of_a_working_node_is_found(
    rate, told_s, heard_s, is_disconnected
):
    now_s = time.monotonic()
    health = {'values': {'processed rate (Hz)': rate}}
    state = types.SimpleNamespace(health=(health, now_s - told_s), _heard_s=now_s - heard_s)
    assert Camera.is_disconnected.fget(state) == is_disconnected


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        ({}, 'http://127.0.0.1:81/ '),
        ({'host': '::1'}, 'http://[::1]:81/ '),
        ({'host': '0.0.0.0', 'token': TOKEN}, 'http://0.0.0.0:81/#token=<the token> '),
    ],
)
def test_the_printed_address_has_no_token(settings, text):
    assert text in describe_address(ConsoleSettings(**settings), 81)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'host': '0.0.0.0'}, 'needs a token'),
        ({'host': '0.0.0.0', 'token': 'hunter2'}, 'expected 16 to 256 characters'),
        ({'token': '"1234567"'}, 'expected 16 to 256 characters'),  # a number, for ROS
        ({'port': 'eighty'}, 'port: '),
        ({'node': 'no-name'}, "got '/no-name'"),
        ({'port': 'TAKEN'}, 'choose another port'),
    ],
)
def test_a_console_that_cannot_start_says_why(port, capfd, values, words):
    values = {name: port if value == 'TAKEN' else value for name, value in values.items()}
    options = [part for name, value in values.items() for part in ('-p', f'{name}:={value}')]
    assert main(['--ros-args', *options]) == 1
    output = capfd.readouterr()
    assert words in output.err + output.out
    for token in ('hunter2', '1234567'):
        assert token not in output.err + output.out
