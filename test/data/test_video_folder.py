import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.labels import LabelMap
from robust_vos_ros.data.layouts import LAYOUTS, read_split
from robust_vos_ros.data.video_folder import open_dataset

DAVIS = Path(__file__).resolve().parents[3] / 'shared' / 'davis2016_train'
HEIGHT, WIDTH = 6, 9


def save(path, values, *, palette=False, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(values, np.uint8))
    if palette:
        # Colours that differ from the indices, and repeat: only an index tells objects apart.
        picture.putpalette([200, 0, 0] * 256)
    if mode:
        picture = picture.convert(mode)
    picture.save(path)
    return path


def save_image(path, value=0):
    return save(path, np.full((HEIGHT, WIDTH, 3), value))


def square(value, column=0):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[1:4, column : column + 2] = value
    return mask


def merged(*masks):
    return np.max(masks, axis=0)


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def make_folders(root, sequence='bear', masks=(), *, images=None, palette=False):
    """ROOT/JPEGImages + ROOT/Annotations; a mask of None is not written."""
    for i in range(len(masks) if images is None else images):
        save_image(root / f'JPEGImages/{sequence}/{i:05d}.jpg', i)
    for i, mask in enumerate(masks):
        if mask is not None:
            save(root / f'Annotations/{sequence}/{i:05d}.png', mask, palette=palette)
    return root


def make_davis2016(root):
    for name in ('bear', 'cow', 'dog'):
        for i in range(3):
            save_image(root / f'JPEGImages/480p/{name}/{i:05d}.jpg')
            save(root / f'Annotations/480p/{name}/{i:05d}.png', square(255, i))
    folder = root / 'ImageSets/480p'
    pair = '/JPEGImages/480p/{0}/{1:05d}.jpg /Annotations/480p/{0}/{1:05d}.png'
    write(folder / 'train.txt', *(pair.format(n, i) for n in ('dog', 'bear') for i in range(3)))
    write(folder / 'val.txt', *(pair.format('cow', i) for i in range(3)))
    return root


def make_davis2017(root):
    for name in ('bear', 'cow'):
        for i in range(3):
            save_image(root / f'JPEGImages/480p/{name}/{i:05d}.jpg')
            mask = merged(square(1, i), square(2, 6))
            save(root / f'Annotations/480p/{name}/{i:05d}.png', mask, palette=True)
    write(root / 'ImageSets/2017/train.txt', 'bear', '', ' cow ', 'bear')
    return root


def make_split_folders(root):
    """11 frames, every 5th labelled, object 2 from the second label on."""
    for i in range(11):
        save_image(root / f'train/JPEGImages/003234408d/{i:05d}.jpg', i)
    for i, mask in {0: square(1), 5: merged(square(1), square(2, 4)), 10: square(2)}.items():
        save(root / f'train/Annotations/003234408d/{i:05d}.png', mask, palette=True)
    write(root / 'train/meta.json', '{"videos": {}}')
    return root


def make_sa_v(root):
    """9 frames, every 4th labelled, two overlapping objects; the second begins at frame 4."""
    for i in range(9):
        save_image(root / f'JPEGImages_24fps/sav_000001/{i:05d}.jpg', i)
    for i in (0, 4, 8):
        folder = root / 'Annotations_6fps/sav_000001'
        save(folder / f'000/{i:05d}.png', square(255, 2))
        save(folder / f'001/{i:05d}.png', square(255, 3) if i else square(0))
    write(root / 'sav_val.txt', 'sav_000001')
    return root


MAKERS = {
    'davis2016': make_davis2016,
    'davis2017': make_davis2017,
    'youtube_vos': make_split_folders,
    'mose': make_split_folders,
    'lvos': make_split_folders,
    'sa_v': make_sa_v,
    'folders': lambda root: make_folders(root, masks=[square(1), square(2)], palette=True),
}
# Layout, split -> sequences, frames, labelled frames, first appearances.
CONTENTS = [
    ('davis2016', 'train', ['dog', 'bear'], 3, (0, 1, 2), {1: 0}, '255 is object 1'),
    ('davis2016', 'val', ['cow'], 3, (0, 1, 2), {1: 0}, 'the other split'),
    ('davis2017', 'train', ['bear', 'cow'], 3, (0, 1, 2), {1: 0, 2: 0}, 'palette indices are ids'),
    ('youtube_vos', 'train', ['003234408d'], 11, (0, 5, 10), {1: 0, 2: 5}, 'a late object'),
    ('mose', 'train', ['003234408d'], 11, (0, 5, 10), {1: 0, 2: 5}, 'the same arrangement'),
    ('lvos', 'train', ['003234408d'], 11, (0, 5, 10), {1: 0, 2: 5}, 'the same arrangement'),
    ('sa_v', '', ['sav_000001'], 9, (0, 4, 8), {0: 0, 1: 4}, 'folders count from 0'),
    ('sa_v', 'sav_val', ['sav_000001'], 9, (0, 4, 8), {0: 0, 1: 4}, 'with its split file'),
    ('folders', '', ['bear'], 2, (0, 1), {1: 0, 2: 1}, 'no split'),
]  # fmt: skip


@pytest.mark.parametrize(
    ('layout', 'split', 'names', 'num_frames', 'labelled', 'first', 'reason'), CONTENTS
)
def test_layouts(tmp_path, layout, split, names, num_frames, labelled, first, reason):
    dataset = open_dataset(MAKERS[layout](tmp_path), layout=layout, split=split)
    assert [sequence.name for sequence in dataset] == names, reason
    assert len(dataset) == len(names)
    assert dataset.sequences == tuple(dataset)
    for name in names:
        assert name in dataset
        sequence = dataset[name]
        assert sequence.num_frames == len(sequence.frames) == num_frames, reason
        assert sequence.labelled == labelled, reason
        assert sequence.first_appearance == first, reason
        assert sequence.object_ids == tuple(first), reason
        for i in range(num_frames):
            assert sequence.image(i).shape == (HEIGHT, WIDTH, 3)
            assert sequence.image(i).dtype == np.uint8
            assert (sequence.masks(i) is not None) == (i in labelled), reason
            assert sequence.void(i) is None


def test_every_layout_is_tested():
    assert LAYOUTS.keys() == {row[0] for row in CONTENTS} == MAKERS.keys()


def test_images_are_rgb(tmp_path):
    make_folders(tmp_path, masks=[square(1)])
    (tmp_path / 'JPEGImages/bear/00000.jpg').unlink()
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 0] = 200
    save(tmp_path / 'JPEGImages/bear/00000.png', pixels)
    image = open_dataset(tmp_path, layout='folders')['bear'].image(0)
    assert np.array_equal(image, pixels)


def test_grey_images_become_rgb(tmp_path):
    make_folders(tmp_path, masks=[square(1)])
    save(tmp_path / 'JPEGImages/bear/00000.jpg', np.full((HEIGHT, WIDTH), 77))
    image = open_dataset(tmp_path, layout='folders')['bear'].image(0)
    assert np.array_equal(image, np.full((HEIGHT, WIDTH, 3), 77))


def test_masks_of_sa_v_overlap(tmp_path):
    masks = open_dataset(make_sa_v(tmp_path), layout='sa_v')['sav_000001'].masks(4)
    assert np.array_equal(masks[0], square(1, 2))
    assert np.array_equal(masks[1], square(1, 3))
    assert (masks[0] & masks[1]).any()


def test_masks_of_sa_v_have_no_label_map(tmp_path):
    sequence = open_dataset(make_sa_v(tmp_path), layout='sa_v')['sav_000001']
    assert sequence.label_map(1) is None
    with pytest.raises(DatasetError, match=r'may overlap; ask for masks instead'):
        sequence.label_map(0)


def test_davis2016_masks_with_the_colours_of_davis2017_are_one_object(tmp_path):
    root = make_davis2016(tmp_path)
    mask = merged(square(1), square(2, 5))
    save(root / 'Annotations/480p/cow/00000.png', mask, palette=True)
    masks = open_dataset(root, layout='davis2016', split='val')['cow'].masks(0)
    assert list(masks) == [1]
    assert np.array_equal(masks[1], mask > 0)


@pytest.mark.parametrize(
    ('values', 'mode', 'reason'),
    [
        (square(255), 'L', 'as published'),
        (square(255), 'RGB', 'some tools save grey as colour'),
        (square(255), 'RGBA', 'and some with opacity'),
        (square(255), '1', 'one bit'),
        (square(1), 'L', '0/1 instead of 0/255'),
        (merged(square(255), square(100, 4)), 'L', 'smoothed edges below the middle'),
        (np.where(square(1), 200, 0), 'L', 'smoothed edges above the middle'),
    ],
)
def test_masks_of_one_object(tmp_path, values, mode, reason):
    root = make_davis2016(tmp_path)
    save(root / 'Annotations/480p/cow/00000.png', values, mode=mode)
    masks = open_dataset(root, layout='davis2016', split='val')['cow'].masks(0)
    assert np.array_equal(masks[1], square(1)), reason


@pytest.mark.parametrize(
    ('masks', 'palette', 'ids', 'reason'),
    [
        ([square(255)], False, (1,), '0/255 is one object'),
        ([square(0), square(255), square(0)], False, (1,), 'the first object decides'),
        ([square(7), square(0)], False, (7,), 'grey ids'),
        ([merged(square(3), square(254, 4))], False, (3, 254), 'the largest id'),
        ([square(1)], True, (1,), 'palette ids'),
        ([square(0)], False, (), 'nothing to see'),
        ([None, square(4), None], True, (4,), 'frames without labels'),
    ],
)
def test_kind_of_masks_is_found_out(tmp_path, masks, palette, ids, reason):
    make_folders(tmp_path, masks=masks, palette=palette)
    sequence = open_dataset(tmp_path, layout='folders')['bear']
    assert sequence.object_ids == ids, reason
    for i, mask in enumerate(masks):
        found = sequence.masks(i)
        if mask is None:
            assert found is None, reason
            assert sequence.label_map(i) is None, reason
            continue
        for value in filter(None, np.unique(mask)):
            object_id = 1 if value == 255 else value
            assert np.array_equal(found[object_id], mask == value), reason
            assert found[object_id].dtype == bool


@pytest.mark.parametrize('palette', [True, False])
def test_void_is_no_object(tmp_path, palette):
    mask = merged(square(2), square(255, 4))
    make_folders(tmp_path, masks=[square(255, 4), mask, None], images=3, palette=palette)
    sequence = open_dataset(tmp_path, layout='folders', void_value=255)['bear']
    assert sequence.object_ids == (2,)
    assert sequence.first_appearance == {2: 1}
    assert sequence.masks(0) == {}
    assert np.array_equal(sequence.masks(1)[2], mask == 2)
    assert np.array_equal(sequence.void(1), mask == 255)
    assert sequence.void(2) is None
    label_map = sequence.label_map(1)
    assert np.array_equal(label_map.ids, square(2))
    assert np.array_equal(label_map.void, mask == 255)


@pytest.mark.parametrize(
    ('stride', 'kept', 'labelled', 'first', 'reason'),
    [
        (1, range(11), (0, 5, 10), {1: 0, 2: 5}, 'all'),
        (5, (0, 5, 10), (0, 1, 2), {1: 0, 2: 1}, 'only labelled frames'),
        (10, (0, 10), (0, 1), {1: 0, 2: 1}, 'the last frame is kept'),
        (2, (0, 2, 4, 6, 8, 10), (0, 5), {1: 0, 2: 5}, 'a label is left out with its frame'),
        (100, (0,), (0,), {1: 0}, 'an object of frames left out does not exist'),
    ],
)
def test_stride_counts_from_the_first_frame(tmp_path, stride, kept, labelled, first, reason):
    root = make_split_folders(tmp_path)
    dataset = open_dataset(root, layout='mose', split='train', frame_stride=stride)
    sequence = dataset['003234408d']
    assert [int(path.stem) for path in sequence.frames] == list(kept), reason
    assert sequence.labelled == labelled, reason
    assert sequence.first_appearance == first, reason
    assert [int(sequence.image(i).mean()) for i in range(sequence.num_frames)] == list(kept)


def test_only_the_first_of_the_kept_frames_are_read(tmp_path):
    root = make_split_folders(tmp_path)
    dataset = open_dataset(root, layout='mose', split='train', frame_stride=5, max_frames=2)
    sequence = dataset['003234408d']
    assert [int(path.stem) for path in sequence.frames] == [0, 5]
    assert sequence.labelled == (0, 1)


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    numbers = [1, 2, 9, 10, 11, 100]
    for number in numbers:
        save_image(tmp_path / f'JPEGImages/bear/frame{number}.{["JPG", "jpeg"][number % 2]}')
        save(tmp_path / f'Annotations/bear/frame{number}.png', square(number))
    sequence = open_dataset(tmp_path, layout='folders')['bear']
    assert [path.stem for path in sequence.frames] == [f'frame{n}' for n in numbers]
    assert sequence.first_appearance == {n: i for i, n in enumerate(numbers)}


def test_other_files_are_ignored(tmp_path):
    make_folders(tmp_path, masks=[square(1)])
    for folder in (tmp_path / 'JPEGImages', tmp_path / 'Annotations'):
        for name in ('.DS_Store', 'bear/._00000.jpg', 'bear/._00000.png', 'bear/Thumbs.db'):
            (folder / name).write_bytes(b'\0')
        (folder / '.ipynb_checkpoints').mkdir()
        (folder / 'readme.txt').write_text('read me')
    (sequence,) = open_dataset(tmp_path, layout='folders')
    assert sequence.num_frames == 1
    assert sequence.object_ids == (1,)


def make_three(root):
    for name in ('v1', 'v2', 'v10'):
        make_folders(root, name, [square(1)])
    write(root / 'val.txt', 'v10', 'v1')
    return root


@pytest.mark.parametrize(
    ('arguments', 'names', 'reason'),
    [
        ({}, ['v1', 'v2', 'v10'], 'all, in the order of their numbers'),
        ({'split': 'val'}, ['v10', 'v1'], 'a split, in the order of its file'),
        ({'split': 'val.txt'}, ['v10', 'v1'], 'with its ending'),
        ({'include': Path('val.txt')}, ['v1', 'v10'], 'a split file to keep'),
        ({'exclude': Path('val.txt')}, ['v2'], 'the same file to leave out'),
        ({'include': ['v10', 'v2']}, ['v2', 'v10'], 'names to keep, order of the data set'),
        ({'exclude': ['v2']}, ['v1', 'v10'], 'names to leave out'),
        ({'split': 'val', 'exclude': ['v1']}, ['v10'], 'a split without a sequence'),
        ({'include': ['v1', 'v2'], 'exclude': ['v1']}, ['v2'], 'exclude comes last'),
    ],
)
def test_sequences_are_chosen(tmp_path, arguments, names, reason):
    dataset = open_dataset(make_three(tmp_path), layout='folders', **arguments)
    assert [sequence.name for sequence in dataset] == names, reason


def test_split_file_elsewhere(tmp_path):
    write(tmp_path / 'mine.txt', 'v2')
    root = make_three(tmp_path / 'data')
    dataset = open_dataset(root, layout='folders', include=tmp_path / 'mine.txt')
    assert [sequence.name for sequence in dataset] == ['v2']
    assert read_split(tmp_path / 'mine.txt') == ('v2',)


def test_sequences_that_are_left_out_may_be_broken(tmp_path):
    root = make_three(tmp_path)
    shutil.rmtree(root / 'Annotations/v2')
    assert len(open_dataset(root, layout='folders', exclude=['v2'])) == 2


def test_opening_reads_no_picture(tmp_path):
    make_folders(tmp_path, masks=[square(1), None])
    for path in tmp_path.rglob('*.*g'):
        path.write_bytes(b'no picture')
    sequence = open_dataset(tmp_path, layout='folders')['bear']
    assert sequence.labelled == (0,)
    assert sequence.masks(1) is None


# How a good data set is made bad or asked for wrongly, layout, split, other arguments, the error.
OPENING_ERRORS = [
    ('', 'davis2018', '', {}, r"layout: expected one of davis2016, .* got 'davis2018'"),
    ('', 'davis2016', '', {}, r'split: expected a name.*davis2016.*has train, val'),
    ('', 'mose', '', {}, r'split: expected a name.*mose.*has train'),
    ('', 'mose', 'valid', {}, r'valid/JPEGImages: expected a folder .*folders in .* are train'),
    ('ImageSets/480p/val.txt', 'davis2016', 'val', {},
     r'val\.txt: expected a split file.*No such file.*its folder has train\.txt'),
    ('', 'davis2017', 'val', {}, r'2017/val\.txt: expected a split file.*has train\.txt'),
    ('', 'sa_v', 'test', {}, r'test\.txt: expected a split file.*has sav_val\.txt'),
    ('', 'folders', 'val', {}, r'val\.txt: expected a split file.*its folder has nothing'),
    ('JPEGImages', 'folders', '', {}, r'JPEGImages: expected a folder of .* are Annotations'),
    ('Annotations', 'folders', '', {}, r'Annotations: expected a folder of .* are JPEGImages'),
    ('Annotations/bear', 'folders', '', {}, r'Annotations/bear: expected a folder, got nothing'),
    ('JPEGImages/bear', 'folders', '', {}, r'JPEGImages/bear: expected a folder, got nothing'),
    ('JPEGImages/480p/cow', 'davis2016', 'val', {}, r'480p/cow: expected .* are bear, dog'),
    ('JPEGImages/bear/00001.jpg', 'folders', '', {},
     r'00001\.png: expected an image of the same name .* its images are 00000\.jpg to 00000\.jpg'),
    ('Annotations/bear/*.png', 'folders', '', {}, r'bear: expected PNG masks of some frames'),
    ('JPEGImages/bear/*.jpg', 'folders', '', {}, r'bear: expected \.jpg, .* images, got none'),
    ('Annotations/bear/00000.png', 'folders', '', {'frame_stride': 2},
     r'got none with frame_stride=2'),
    ('', 'folders', '', {'frame_stride': 0}, r'frame_stride: expected 1 or more, got 0'),
    ('', 'folders', '', {'max_frames': -1}, r'max_frames: expected 0 or more, got -1'),
    ('', 'folders', '', {'void_value': 0}, r'void_value: expected 1 to 255, got 0'),
    ('', 'folders', '', {'void_value': 256}, r'void_value: expected 1 to 255, got 256'),
    ('', 'davis2016', 'val', {'void_value': 255}, r'void_value: expected none, .*davis2016.* 255'),
    ('', 'sa_v', '', {'void_value': 255}, r'void_value: expected none, .*sa_v'),
    ('', 'folders', '', {'include': ['beer']}, r'include: expected .* like bear, got beer'),
    ('', 'folders', '', {'exclude': ['beer']}, r'exclude: expected .* like bear, got beer'),
    ('', 'folders', '', {'exclude': 'bear'}, r"exclude: expected a list .* got the text 'bear'"),
    ('', 'folders', '', {'exclude': ['bear']}, r'exclude: expected to leave .* all 1 excluded'),
    ('', 'folders', '', {'include': Path('no.txt')}, r'no\.txt: expected a split file'),
]  # fmt: skip


@pytest.mark.parametrize(('removed', 'layout', 'split', 'arguments', 'text'), OPENING_ERRORS)
def test_errors_of_opening(tmp_path, removed, layout, split, arguments, text):
    root = MAKERS.get(layout, make_davis2016)(tmp_path)
    for path in list(root.glob(removed)) if removed else []:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DatasetError, match=text):
        open_dataset(root, layout=layout, split=split, **arguments)


def test_missing_root(tmp_path):
    with pytest.raises(DatasetError, match=r'root: expected the folder of a data set, got .*no'):
        open_dataset(tmp_path / 'no', layout='folders')


def test_data_set_without_sequences(tmp_path):
    for name in ('JPEGImages', 'Annotations'):
        (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match=r'JPEGImages: expected a folder per sequence'):
        open_dataset(tmp_path, layout='folders')


def test_masks_of_an_unknown_sequence(tmp_path):
    make_folders(tmp_path, masks=[square(1)])
    save(tmp_path / 'Annotations/cow/00000.png', square(1))
    with pytest.raises(DatasetError, match=r'JPEGImages/cow: expected a folder, got nothing'):
        open_dataset(tmp_path, layout='folders')


@pytest.mark.parametrize(
    ('lines', 'text'),
    [
        (['bear'], r"expected lines like .* got 'bear'; .* are for the layout davis2017"),
        (['a.jpg a.png'], r"got 'a\.jpg a\.png'"),
        (['', ' '], r'expected the names of sequences, got an empty file'),
    ],
)
def test_split_of_pairs_with_other_lines(tmp_path, lines, text):
    root = make_davis2016(tmp_path)
    write(root / 'ImageSets/480p/val.txt', *lines)
    with pytest.raises(DatasetError, match=text):
        open_dataset(root, layout='davis2016', split='val')


def test_split_file_that_is_no_text(tmp_path):
    make_folders(tmp_path, masks=[square(1)])
    (tmp_path / 'val.txt').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DatasetError, match=r'val\.txt: expected a split file.*decode'):
        open_dataset(tmp_path, layout='folders', split='val')


def test_two_images_of_one_frame(tmp_path):
    make_folders(tmp_path, masks=[square(1)])
    save_image(tmp_path / 'JPEGImages/bear/00000.png')
    with pytest.raises(DatasetError, match=r'one file per frame, got 00000\.\w+ and 00000\.\w+'):
        open_dataset(tmp_path, layout='folders')


@pytest.mark.parametrize(
    ('folder', 'text'),
    [
        ('person', r"person: expected a folder named by the number of an object, got 'person'"),
        ('1', r'expected one folder per object, got 0*1 and 0*1; remove one'),
    ],
)
def test_object_folders_with_other_names(tmp_path, folder, text):
    root = make_sa_v(tmp_path)
    (root / 'Annotations_6fps/sav_000001' / folder).mkdir()
    with pytest.raises(DatasetError, match=text):
        open_dataset(root, layout='sa_v')


def test_unknown_sequence(tmp_path):
    dataset = open_dataset(make_three(tmp_path), layout='folders')
    assert 'v3' not in dataset
    with pytest.raises(DatasetError, match=r'sequence: expected .* like .*v1.*, got v3'):
        dataset['v3']


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize('share', [0.0, 0.02, 0.5, 0.9])
@pytest.mark.parametrize('ending', ['jpg', 'png'])
def test_truncated_image(tmp_path, share, ending):
    make_folders(tmp_path, masks=[square(1)])
    (tmp_path / 'JPEGImages/bear/00000.jpg').unlink()
    path = tmp_path / f'JPEGImages/bear/00000.{ending}'
    save(path, np.random.default_rng(0).integers(0, 256, (HEIGHT * 9, WIDTH * 9, 3)))
    cut(path, share)
    sequence = open_dataset(tmp_path, layout='folders')['bear']
    with pytest.raises(DatasetError, match=rf'00000\.{ending}: expected a whole .* copy it again'):
        sequence.image(0)


@pytest.mark.parametrize('layout', ['folders', 'davis2016', 'sa_v'])
@pytest.mark.parametrize('share', [0.0, 0.1, 0.5])
def test_truncated_mask(tmp_path, layout, share):
    root = MAKERS[layout](tmp_path)
    for path in root.glob('Annotations*/**/*.png'):
        cut(path, share)
    split = 'val' if layout == 'davis2016' else ''
    (sequence,) = open_dataset(root, layout=layout, split=split)
    with pytest.raises(DatasetError, match=r'00000\.png: expected a whole .* copy it again'):
        sequence.masks(0)
    with pytest.raises(DatasetError, match=r'00000\.png: expected a whole'):
        _ = sequence.object_ids


@pytest.mark.parametrize('layout', ['folders', 'davis2016', 'sa_v'])
def test_mask_of_another_size(tmp_path, layout):
    root = MAKERS[layout](tmp_path)
    for path in root.glob('Annotations*/**/*.png'):
        save(path, np.ones((HEIGHT, WIDTH + 1)))
    split = 'val' if layout == 'davis2016' else ''
    (sequence,) = open_dataset(root, layout=layout, split=split)
    with pytest.raises(DatasetError, match=r'00000\.png: .* of 00000\.jpg, 9x6, got 10x6; use'):
        sequence.masks(0)


@pytest.mark.parametrize(
    ('masks', 'palette', 'index', 'text', 'reason'),
    [
        ([merged(square(1), square(255, 4))], True, 0, r'ids from 1 to 254.* pass void_value=255',
         'void or an object?'),
        ([square(255)], True, 0, r'pass void_value=255', 'a palette mask is never 0/255'),
        ([square(1), square(255)], False, 1, r'pass void_value=255', 'grey ids, then 255'),
        ([square(255), square(7)], False, 1, r'00001.*expected only 0 and 255.*the value 7',
         '0/255, then ids'),
        ([np.zeros((HEIGHT, WIDTH, 3))], False, 0, r'expected a palette .* pixel type RGB',
         'colours are no ids'),
    ],
)  # fmt: skip
def test_masks_that_mean_nothing(tmp_path, masks, palette, index, text, reason):
    make_folders(tmp_path, masks=masks, palette=palette)
    sequence = open_dataset(tmp_path, layout='folders')['bear']
    with pytest.raises(DatasetError, match=text):
        sequence.masks(index)


def test_label_maps_check_their_shape():
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    with pytest.raises(ValueError, match=r'ids: expected \(H, W\) uint8, got \(6, 9\) int64'):
        LabelMap(ids.astype(np.int64))
    with pytest.raises(ValueError, match=r'void: expected \(6, 9\), got \(9, 6\)'):
        LabelMap(ids, ids.T.astype(bool))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ids=hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
        elements=st.integers(0, 254),
    ),
    palette=st.booleans(),
)
def test_random_masks_come_back(tmp_path, ids, palette):
    shutil.rmtree(tmp_path)
    for i, mask in enumerate(ids):
        save(tmp_path / f'JPEGImages/v/{i}.png', np.zeros((*mask.shape, 3)))
        save(tmp_path / f'Annotations/v/{i}.png', mask, palette=palette)
    sequence = open_dataset(tmp_path, layout='folders')['v']
    assert sequence.object_ids == tuple(np.unique(ids[ids > 0]))
    for i, mask in enumerate(ids):
        assert np.array_equal(sequence.label_map(i).ids, mask)
        masks = sequence.masks(i)
        assert list(masks) == sorted(set(mask[mask > 0]))
        for object_id, one in masks.items():
            assert np.array_equal(one, mask == object_id)
            assert sequence.first_appearance[object_id] <= i


@pytest.mark.skipif(not DAVIS.is_dir(), reason=f'{DAVIS} is absent')
def test_real_davis_sequences():
    train = open_dataset(DAVIS, layout='folders', exclude=Path('val.txt'))
    held_out = open_dataset(DAVIS, layout='folders', split='val')
    names = {sequence.name for sequence in train} | {sequence.name for sequence in held_out}
    assert (len(train), len(held_out), len(names)) == (21, 6, 27)
    assert sum(s.num_frames for s in (*train, *held_out)) == 1930
    sequence = train['bear']
    assert sequence.labelled == tuple(range(sequence.num_frames))
    assert sequence.first_appearance == {1: 0}
    image, masks = sequence.image(0), sequence.masks(0)
    assert image.shape[1] == 512
    assert masks[1].shape == image.shape[:2]
    assert 0.02 < masks[1].mean() < 0.5
