"""The page in Chromium: fingers, mouse and keys, with a robot over DDS."""

import re
import shutil

import pytest

pytest.importorskip('aiohttp', reason='the console needs aiohttp (the extra console)')
pytest.importorskip('rclpy')
playwright = pytest.importorskip('playwright.sync_api', reason='pip install playwright')
CHROMIUM = shutil.which('chromium')
if CHROMIUM is None:
    pytest.skip('no chromium; apt install chromium', allow_module_level=True)
expect = playwright.expect
pytestmark = pytest.mark.ros

TOKEN = 'not-a-secret-in-a-test'
FLAGS = [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
]  # fmt: skip
TIMEOUT_MS = 30_000
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


def test_a_tap_on_a_phone(open_page, robot):
    """Nothing is too wide or too small for a finger; the object is named, tracked and removed."""
    page = wait_live(open_page(PHONE))
    assert page.evaluate('document.documentElement.scrollWidth') == 360
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
    (request,) = [request for kind, request in robot.requests if kind == 'add_objects']
    (prompt,) = request.prompts
    (point,) = prompt.points
    assert (abs(point.x - 80) < 1, abs(point.y - 60) < 1, list(prompt.point_labels)) == (1, 1, [1])
    page.get_by_role('button', name='Remove cup').tap()
    expect(rows(page)).to_have_count(0)
    assert robot.objects == {}


def test_a_box_with_the_mouse_and_points_that_are_not_on_it(open_page, robot):
    page = wait_live(open_page())
    page.mouse.move(*place(page, 105, 85))
    page.mouse.down()
    page.wait_for_timeout(600)  # who hesitates before the drag still makes a box
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


def test_what_is_refused_and_what_is_lost_is_told(open_page, robot):
    page = wait_live(open_page())
    robot.refuse = 'BAD_PROMPT', 'the point is outside of the image'
    page.mouse.click(*place(page, 80, 60))
    expect(page.get_by_role('alert')).to_have_text('the point is outside of the image')
    page.click('#cancel')
    robot.tell('LOST', 'cup')
    expect(page.get_by_role('log')).to_contain_text('cup: LOST (as told)')


def test_all_is_removed_after_a_question(open_page, robot):
    page = wait_live(open_page())
    robot.objects['cup'] = (10, 10, 30, 30, 1, '')
    page.click('#reset')
    page.get_by_role('button', name='Keep them').click()
    page.click('#reset')
    page.get_by_role('dialog').get_by_role('button', name='Remove all').click()
    expect(rows(page)).to_have_count(0)
    assert robot.objects == {}


def test_the_page_comes_back_by_itself(console, open_page, robot):
    """After a reload, and when the console ends and starts again."""
    port, stop = console.serve()
    page = wait_live(open_page(at=port))
    page.reload()
    wait_live(page)
    stop()
    expect(page.locator('#link')).to_have_text('console not reached')
    console.serve(port=port)
    wait_live(page)
    robot.objects['cup'] = (10, 10, 30, 30, 1, '')
    expect(rows(page)).to_contain_text(['cup'])


def test_a_token_is_taken_out_of_the_address(console, open_page):
    port, _ = console.serve(token=TOKEN)
    page = open_page(at=port, fragment='#token=wrong-wrong-wrong-wrong')
    expect(page.get_by_role('alert')).to_contain_text('no token or a wrong one')
    assert page.url.endswith('/')
    page = wait_live(open_page(at=port, fragment=f'#token={TOKEN}'))
    assert page.url.endswith('/')
    page.reload()
    wait_live(page)


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_texts_can_be_read(open_page, robot, scheme):
    """The contrast of texts is at least 4.5 (WCAG AA)."""
    robot.objects['cup'] = (10, 10, 30, 30, 1, 'mug')
    page = wait_live(open_page({**PHONE, 'color_scheme': scheme}))
    expect(rows(page)).to_have_count(1)
    page.touchscreen.tap(*place(page, 80, 60))
    expect(page.locator('#draft-text')).to_contain_text('Preview')
    for name in ('h1', '.who', '.who small', '.what', '.note', '#left', '#add', '#cancel', 'dd'):
        element = page.locator(name).locator('visible=true').first
        front, back = element.evaluate(
            """(element) => {
              const front = getComputedStyle(element).color;
              for (let e = element; ; e = e.parentElement) {
                const back = getComputedStyle(e).backgroundColor;
                if (!back.endsWith(', 0)')) return [front, back];
              }
            }"""
        )
        assert contrast(front, back) >= 4.5, (name, front, back)


def contrast(*colors):
    """Return the contrast of two colours, as WCAG 2 has it."""

    def luminance(color):
        values = [int(value) / 255 for value in re.findall(r'\d+', color)[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, colors))
    return (high + 0.05) / (low + 0.05)
