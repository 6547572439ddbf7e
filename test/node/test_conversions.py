"""Image and prompt messages to core types: golden pixels, and every way to be wrong."""

import array
import struct
import sys
import tracemalloc
import types
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs')
from geometry_msgs.msg import Point
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest

from robust_vos_ros.client.prompts import to_prompt_message
from robust_vos_ros.core.errors import ConfigError, ImageError, PromptError
from robust_vos_ros.core.settings import Scale16Settings
from robust_vos_ros.node.bridge import BRIDGED, load_converter
from robust_vos_ros.node.conversions import to_mask, to_prompt, to_reference_picture
from robust_vos_ros.ros_types.images import ENCODINGS, to_frame

pytestmark = pytest.mark.ros

HEIGHT, WIDTH = 6, 8
COLOR = (200, 100, 50)


def make_image(encoding, rows, *, height=HEIGHT, width=WIDTH, padding=0, extra=0, big=False):
    """Make a message from rows of bytes, each followed by padding."""
    rows = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    step = rows.shape[1] + padding
    padded = np.full((len(rows), step), 0xAB, np.uint8)
    padded[:, : rows.shape[1]] = rows
    msg = Image(height=height, width=width, encoding=encoding, step=step, is_bigendian=int(big))
    msg.data = array.array('B', padded.tobytes() + b'\xcd' * extra)
    msg.header.stamp.sec, msg.header.stamp.nanosec, msg.header.frame_id = 7, 9, 'camera'
    return msg


def gradient():
    """An RGB image in which every pixel is another one."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([10 * x + y, 100 + 10 * y + x, 200 - 3 * x - 7 * y], axis=-1).astype(np.uint8)


def flat():
    return np.broadcast_to(np.array(COLOR, np.uint8), (HEIGHT, WIDTH, 3)).copy()


def mosaic(order, dtype=np.uint8):
    """What a Bayer sensor sees of a uniform colour; `order` names the first 2 x 2 pixels."""
    value = dict(zip('rgb', COLOR, strict=True))
    block = np.array([[value[order[0]], value[order[1]]], [value[order[2]], value[order[3]]]])
    return np.tile(block, (HEIGHT // 2, WIDTH // 2)).astype(dtype)


def yuv_of(color):
    """BT.601, limited range, as cameras send it."""
    r, g, b = (value / 255 for value in color)
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = 128 - 37.797 * r - 74.203 * g + 112.0 * b
    v = 128 + 112.0 * r - 93.786 * g - 18.214 * b
    return tuple(round(value) for value in (y, u, v))


def packed(order):
    """Rows of 4:2:2 with two pixels per four bytes in the given order."""
    y, u, v = yuv_of(COLOR)
    pair = [{'y': y, 'u': u, 'v': v}[letter] for letter in order]
    return np.tile(np.array(pair, np.uint8), (HEIGHT, WIDTH // 2))


def semi_planar(order):
    y, u, v = yuv_of(COLOR)
    luma = np.full((HEIGHT, WIDTH), y, np.uint8)
    pair = [{'u': u, 'v': v}[letter] for letter in order]
    return np.concatenate([luma, np.tile(np.array(pair, np.uint8), (HEIGHT // 2, WIDTH // 2))])


def gray_of(values):
    return np.repeat(values[..., None], 3, axis=-1)


RGB = gradient()
GRAY = RGB[..., 0]
GRAY16 = (GRAY.astype(np.uint16) << 8) + 77
ALPHA = np.full((HEIGHT, WIDTH, 1), 17, np.uint8)
GOLDEN = [  # encoding, rows, expected pixels, tolerance
    ('rgb8', RGB, RGB, 0),
    ('bgr8', RGB[..., ::-1], RGB, 0),
    ('rgba8', np.concatenate([RGB, ALPHA], -1), RGB, 0),
    ('bgra8', np.concatenate([RGB[..., ::-1], ALPHA], -1), RGB, 0),
    ('8UC3', RGB[..., ::-1], RGB, 0),
    ('8UC4', np.concatenate([RGB[..., ::-1], ALPHA], -1), RGB, 0),
    ('mono8', GRAY, gray_of(GRAY), 0),
    ('8UC1', GRAY, gray_of(GRAY), 0),
    ('mono16', GRAY16, gray_of(GRAY), 0),
    ('16UC1', GRAY16, gray_of(GRAY), 0),
    *[(f'bayer_{order}8', mosaic(order), flat(), 0) for order in ('rggb', 'bggr', 'gbrg', 'grbg')],
    *[
        (f'bayer_{order}16', mosaic(order, np.uint16) << 8, flat(), 0)
        for order in ('rggb', 'bggr', 'gbrg', 'grbg')
    ],
    ('yuv422', packed('uyvy'), flat(), 3),
    ('uyvy', packed('uyvy'), flat(), 3),
    ('yuv422_yuy2', packed('yuyv'), flat(), 3),
    ('yuyv', packed('yuyv'), flat(), 3),
    ('nv12', semi_planar('uv'), flat(), 3),
    ('nv21', semi_planar('vu'), flat(), 3),
]


def noise_image(encoding, padding=0):
    """An image of any bytes."""
    layout = ENCODINGS[encoding]
    rows = HEIGHT * 3 // 2 if layout.planar else HEIGHT
    size = (rows, WIDTH * layout.channels * layout.bits // 8)
    return make_image(
        encoding, np.random.default_rng(1).integers(0, 256, size, np.uint8), padding=padding
    )


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_cv_bridge_gives_the_same_pixels(encoding):
    """Also of encodings and rows that are left to OpenCV."""
    pytest.importorskip('cv_bridge', reason='cv_bridge is part of a ROS 2 installation')
    try:
        convert = load_converter()
    except ConfigError as error:
        pytest.skip(str(error))
    for padding in (0, 5, 12):
        msg = noise_image(encoding, padding)
        assert encoding not in BRIDGED or padding == 5 or convert(msg) is not None
        np.testing.assert_array_equal(to_frame(msg, convert=convert).rgb, to_frame(msg).rgb)


class StandIn:
    """For cv_bridge, which the wheels lack: all pixels are 9."""

    def encoding_to_cvtype2(self, _encoding):
        return 16

    def imgmsg_to_cv2(self, msg, desired_encoding):
        assert desired_encoding == 'rgb8'
        if msg.width == 1:
            raise TypeError('of any kind')
        return np.full((msg.height, msg.width, 3), 9, np.uint8)


def test_cv_bridge_converts_what_was_checked_and_what_it_knows(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', types.SimpleNamespace(CvBridge=StandIn))
    convert = load_converter()
    for encoding in ENCODINGS:
        asked = (to_frame(noise_image(encoding), convert=convert).rgb == 9).all()
        assert asked == (encoding in BRIDGED), encoding
    within_a_pixel = noise_image('rgb8', padding=2)
    np.testing.assert_array_equal(
        to_frame(within_a_pixel, convert=convert).rgb, to_frame(within_a_pixel).rgb
    )
    cut_off = noise_image('rgb8')
    cut_off.height += 1
    with pytest.raises(ImageError, match='cut off'):
        to_frame(cut_off, convert=convert)
    with pytest.raises(ImageError, match='cv_bridge: no mono8 to rgb8: of any kind'):
        to_frame(make_image('mono8', GRAY[:, :1], width=1), convert=convert)


def test_cv_bridge_that_does_not_work_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)
    with pytest.raises(ConfigError, match=r'input.cv_bridge is on, but .* or switch it off'):
        load_converter()


def test_every_encoding_has_a_golden_row():
    assert {row[0] for row in GOLDEN} == set(ENCODINGS)


@pytest.mark.parametrize('extra', [0, 5], ids=['exact', 'longer buffer'])
@pytest.mark.parametrize('padding', [0, 6], ids=['packed', 'padded step'])
@pytest.mark.parametrize('row', GOLDEN, ids=[row[0] for row in GOLDEN])
def test_encoding(row, padding, extra):
    encoding, rows, expected, tolerance = row
    frame = to_frame(make_image(encoding, rows, padding=padding, extra=extra))
    assert frame.rgb.shape == (HEIGHT, WIDTH, 3)
    difference = np.abs(frame.rgb.astype(int) - expected.astype(int))
    assert difference.max() <= tolerance
    assert (frame.stamp_ns, frame.frame_id) == (7_000_000_009, 'camera')


@pytest.mark.parametrize('encoding', ['mono16', '16UC1', 'bayer_rggb16'])
def test_big_endian(encoding):
    rows = mosaic('rggb', np.uint16) << 8 if 'bayer' in encoding else GRAY16
    little = to_frame(make_image(encoding, rows.astype('<u2'), padding=2))
    big = to_frame(make_image(encoding, rows.astype('>u2'), padding=2, big=True))
    np.testing.assert_array_equal(big.rgb, little.rgb)


@pytest.mark.parametrize('padding', [0, 9])
def test_rgb8_is_not_copied(padding):
    msg = make_image('rgb8', RGB, padding=padding)
    assert np.shares_memory(to_frame(msg).rgb, np.frombuffer(msg.data, np.uint8))


def change(**fields):
    def apply(msg):
        for name, value in fields.items():
            setattr(msg, name, value)

    return apply


def cut(count):
    def apply(msg):
        msg.data = msg.data[:-count]

    return apply


def huge(msg):
    msg.width, msg.height, msg.step, msg.data = 8001, 8000, 8001, bytes(8001 * 8000)


def long_name(msg):
    msg.header.frame_id = 'x' * 257


@pytest.mark.parametrize(
    ('encoding', 'spoil', 'words'),
    [
        ('rgb8', change(encoding='32FC1'), '32FC1.*not supported.*rgb8'),  # names what is
        ('rgb8', change(encoding=''), 'not supported'),  # never filled in
        ('rgb8', change(height=0), '8 x 0 pixels'),
        ('rgb8', change(width=0), '0 x 6 pixels'),
        ('rgb8', change(step=0), 'step is 0.*24 bytes'),  # cv_bridge returns garbage here
        ('rgb8', change(step=23), 'step is 23.*24 bytes'),  # one byte short: skewed
        ('rgb8', change(width=9), 'step is 24.*27 bytes'),  # wider than the rows
        ('rgb8', change(height=7), 'need 168; the image is cut off'),
        ('rgb8', change(height=2**32 - 1), 'the image is cut off'),  # must not allocate
        ('mono8', huge, '8001 x 8000 pixels; expected at most 64 million'),
        ('rgb8', long_name, 'frame_id of at most 256 characters, got 257'),
        ('rgb8', change(width=2**32 - 1), 'step is 24'),
        ('rgb8', cut(1), '143 bytes'),
        ('rgb8', change(data=array.array('B')), '0 bytes'),
        ('rgb8', change(encoding='rgba8'), 'step is 24.*32 bytes'),  # another depth than declared
        ('mono8', change(encoding='mono16'), 'step is 8.*16 bytes'),
        ('nv12', change(encoding='nv21', height=5), 'even width and height'),
        ('nv12', cut(1), '9 rows of step 8 need 72'),  # the chroma plane counts
        ('yuv422', change(width=7), 'even width'),
    ],
)
def test_malformed_images(encoding, spoil, words):
    msg = make_image(encoding, {row[0]: row[1] for row in GOLDEN}[encoding])
    spoil(msg)
    tracemalloc.start()
    with pytest.raises(ImageError, match=words):
        to_frame(msg)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def compress(extension, pixels, form, options=()):
    ok, data = cv2.imencode(extension, pixels, list(options))
    assert ok
    return CompressedImage(format=form, data=array.array('B', data.tobytes()))


def smooth():
    """An image JPEG keeps well."""
    y, x = np.mgrid[:48, :64]
    return np.stack([3 * x, 4 * y, 120 + x // 2], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ('extension', 'pixels', 'form', 'expected', 'tolerance'),
    [
        ('.png', RGB[..., ::-1], 'png', RGB, 0),
        ('.png', RGB[..., ::-1], 'bgr8; png compressed bgr8', RGB, 0),  # image_transport
        ('.png', RGB[..., ::-1], 'rgb8; png compressed bgr8', RGB, 0),  # camera was RGB
        ('.png', RGB, 'rgb8; png compressed rgb8', RGB, 0),  # compressed without swapping
        ('.png', GRAY, 'mono8; png compressed ', gray_of(GRAY), 0),
        ('.png', GRAY16, '16UC1; png compressed ', gray_of(GRAY), 0),
        ('.png', RGB[..., ::-1].astype(np.uint16) << 8, 'png', RGB, 0),  # 48-bit colour
        ('.png', np.concatenate([RGB[..., ::-1], ALPHA], -1), 'bgra8; png', RGB, 0),
        ('.png', mosaic('gbrg'), 'bayer_gbrg8; png compressed ', flat(), 0),
        ('.jpg', smooth()[..., ::-1], 'jpeg', smooth(), 12),
        ('.jpg', smooth()[..., ::-1], 'rgb8; jpeg compressed bgr8', smooth(), 12),
        ('.jpg', smooth()[..., 0], 'mono8; jpeg compressed mono8', gray_of(smooth()[..., 0]), 4),
        ('.jpg', smooth()[..., ::-1], '', smooth(), 12),  # cameras forget the format
        ('.tiff', RGB[..., ::-1], 'tiff', RGB, 0),
        ('.bmp', RGB[..., ::-1], 'bmp', RGB, 0),
        ('.ppm', RGB[..., ::-1], 'ppm', RGB, 0),
    ],
)
def test_compressed(extension, pixels, form, expected, tolerance):
    quality = (cv2.IMWRITE_JPEG_QUALITY, 98) if extension == '.jpg' else ()
    frame = to_frame(compress(extension, pixels, form, quality))
    assert np.abs(frame.rgb.astype(int) - expected.astype(int)).max() <= tolerance


def head_of_png(width, height, *between):
    """The first bytes of a PNG, as a bomb has them: small data, a huge image."""
    parts = [b'\x89PNG\r\n\x1a\n']
    head = struct.pack('>2I5B', width, height, 8, 2, 0, 0, 0)
    for kind, content in ((b'IHDR', head), *between, (b'IDAT', zlib.compress(bytes(1000)))):
        parts += [struct.pack('>I', len(content)), kind, content]
        parts.append(struct.pack('>I', zlib.crc32(kind + content)))
    return b''.join(parts)


@pytest.mark.parametrize(
    'data',
    [
        head_of_png(60_000, 60_000),
        head_of_png(9_000, 9_000),
        cv2.imencode('.png', np.zeros((8_100, 8_000), np.uint8))[1].tobytes(),  # a whole one
    ],
    ids=['11 GB', '243 MB', 'whole'],
)
def test_images_too_large_to_decode(data, monkeypatch):
    msg = CompressedImage(format='png', data=array.array('B', data))
    assert len(data) < 100_000
    monkeypatch.setattr(cv2, 'imdecode', None)  # calling it would be a failure
    with pytest.raises(ImageError, match='pixels'):
        to_frame(msg)


@pytest.mark.parametrize(
    'data',
    [
        # PIL refuses so much text, OpenCV skips it.
        head_of_png(9_000, 9_000, (b'zTXt', b'a\0\0' + zlib.compress(bytes(2**21)))),
        b'P7\nWIDTH 9000\nHEIGHT 9000\nDEPTH 1\nMAXVAL 255\nTUPLTYPE NULL\nENDHDR\n',
        b'#?RADIANCE\n\n-Y 9000 +X 9000\n',
    ],
    ids=['PNG with much text', 'PAM', 'HDR'],
)
def test_images_whose_size_is_not_known_are_not_decoded(data, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', None)  # calling it would be a failure
    with pytest.raises(ImageError, match='its size cannot be read; expected JPEG or PNG'):
        to_frame(CompressedImage(format='png', data=array.array('B', data)))


THERMAL = np.linspace(7000, 8000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)


@pytest.mark.parametrize(
    ('fields', 'darkest', 'brightest'),
    [
        ({}, 7000 >> 8, 8000 >> 8),  # the full range: the upper byte
        ({'low': 7000, 'high': 8000}, 0, 255),
        ({'low': 0, 'high': 8000}, 223, 255),
        ({'low': 7500, 'high': 7600}, 0, 255),  # cut at both ends
        ({'method': 'percentiles'}, 0, 255),
        ({'method': 'percentiles', 'percentile_low': 0.0, 'percentile_high': 100.0}, 0, 255),
    ],
)
@pytest.mark.parametrize('compressed', [False, True])
def test_scaling_of_16_bits(fields, darkest, brightest, compressed):
    settings = Scale16Settings(**fields)
    msg = make_image('16UC1', THERMAL)
    if compressed:
        msg = compress('.png', THERMAL, '16UC1; png compressed ')
    gray = to_frame(msg, settings).rgb[..., 0]
    assert (gray.min(), gray.max()) == (darkest, brightest)
    assert (np.diff(gray.ravel().astype(int)) >= 0).all()
    if fields.get('method'):
        assert len(np.unique(gray)) > 40  # of 48 values


def test_percentiles_cut_single_hot_pixels():
    values = np.tile(THERMAL, (10, 10))
    values[0, 0] = 65535
    settings = Scale16Settings(method='percentiles')
    gray = to_frame(make_image('16UC1', values, height=60, width=80), settings).rgb[..., 0]
    assert gray[0, 0] == 255
    assert np.median(gray) == pytest.approx(128, abs=8)


def test_a_constant_16_bit_image():
    settings = Scale16Settings(method='percentiles')
    frame = to_frame(make_image('16UC1', np.full((HEIGHT, WIDTH), 7000, np.uint16)), settings)
    assert len(np.unique(frame.rgb)) == 1


def test_jpeg_with_padding_after_its_end():
    msg = compress('.jpg', smooth(), 'jpeg')
    whole = to_frame(msg).rgb
    msg.data.extend(bytes(700))
    np.testing.assert_array_equal(to_frame(msg).rgb, whole)


@pytest.mark.parametrize(
    ('extension', 'spoil', 'words'),
    [
        ('.jpg', lambda data: data[: len(data) // 2], 'cut off'),  # OpenCV would fill up with grey
        ('.jpg', lambda data: data[:2] + b'\xff\xd9', 'damaged'),  # nothing between the markers
        ('.jpg', lambda _: b'', 'without data'),
        ('.jpg', lambda _: b'not an image at all', 'damaged or not an image'),
        ('.png', lambda data: data[:40], 'damaged'),
        ('.png', lambda data: b'\0' * 12 + data, 'damaged'),  # compressedDepth has such a header
    ],
)
def test_damaged_compressed_images(extension, spoil, words):
    msg = compress(extension, smooth(), 'bgr8; something')
    msg.data = array.array('B', spoil(msg.data.tobytes()))
    with pytest.raises(ImageError, match=words):
        to_frame(msg)


def make_prompt(**fields):
    from robust_vos.msg import ObjectPrompt

    return ObjectPrompt(object_id='cup', class_id='thing', **fields)


def test_prompt_of_points_and_box():
    box = RegionOfInterest(x_offset=2, y_offset=3, width=10, height=20)
    msg = make_prompt(points=[Point(x=1.5, y=2.5), Point(x=3.0, y=4.0)], box=[box])
    msg.point_labels = [1, 0]
    prompt = to_prompt(msg)
    assert (prompt.object_id, prompt.class_id, prompt.mask) == ('cup', 'thing', None)
    np.testing.assert_array_equal(prompt.points, [[1.5, 2.5], [3, 4]])
    np.testing.assert_array_equal(prompt.point_labels, [1, 0])
    np.testing.assert_array_equal(prompt.box, [2, 3, 12, 23])


def test_points_without_labels_are_on_the_object():
    prompt = to_prompt(make_prompt(points=[Point(), Point()]))
    np.testing.assert_array_equal(prompt.point_labels, [1, 1])


def test_empty_prompt_is_left_to_the_engine():
    prompt = to_prompt(make_prompt())
    assert prompt.points.shape == (0, 2)
    assert prompt.box is None


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'object_id': ''}, 'non-empty object_id'),
        ({'object_id': 'x' * 257}, 'object_id of at most 256 characters, got 257'),
        ({'class_id': 'x' * 10**6}, 'class_id of at most 256 characters, got 1000000'),
        ({'points': [Point()] * 65}, 'at most 64 points, got 65'),
    ],
)
def test_prompts_are_bounded_before_they_are_converted(fields, words, monkeypatch):
    from robust_vos.msg import ObjectPrompt

    msg = ObjectPrompt(**{'object_id': 'cup', **fields})
    monkeypatch.setattr(np, 'array', None)  # calling it would be a failure
    with pytest.raises(PromptError, match=words) as caught:
        to_prompt(msg)
    assert len(str(caught.value)) < 200


def test_labels_must_match_points():
    msg = make_prompt(points=[Point()], point_labels=[1, 1])
    with pytest.raises(PromptError, match="'cup': 1 points but 2 point_labels"):
        to_prompt(msg)


def test_points_beyond_float32_become_infinite():
    assert np.isinf(to_prompt(make_prompt(points=[Point(x=1e300)])).points[0, 0])


@pytest.mark.parametrize('encoding', ['mono8', '8UC1', 'mono16', '16UC1'])
def test_mask(encoding):
    values = np.zeros((HEIGHT, WIDTH), np.uint16 if '16' in encoding else np.uint8)
    values[2:4, 3:5] = 1  # in 16 bits too small to survive a conversion to 8
    mask = to_mask(make_image(encoding, values, padding=2))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, values > 0)


@pytest.mark.parametrize(
    ('encoding', 'spoil', 'words'),
    [
        ('rgb8', change(), "one of mono8, 8UC1, mono16, 16UC1, got 'rgb8'"),
        ('mono8', change(step=0), 'mask: step is 0'),
        ('mono8', cut(1), 'cut off'),
    ],
)
def test_bad_masks(encoding, spoil, words):
    msg = make_image(encoding, {row[0]: row[1] for row in GOLDEN}[encoding])
    spoil(msg)
    with pytest.raises(PromptError, match=words):
        to_mask(msg)


def make_reference(**fields):
    from robust_vos.msg import ObjectPrompt

    box = RegionOfInterest(x_offset=0, y_offset=0, width=2, height=2)
    picture = make_image('rgb8', {row[0]: row[1] for row in GOLDEN}['rgb8'])
    for name, value in fields.items():
        setattr(picture, name, value)
    return ObjectPrompt(object_id='cup', box=[box], reference=[picture])


def test_a_reference_picture():
    picture = to_reference_picture(make_reference(), Scale16Settings())
    assert picture.prompt.object_id == 'cup'
    assert picture.frame.size_hw == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'step': 1}, "'cup': reference picture: step is 1"),
        ({'encoding': '32FC1'}, "'cup': reference picture: encoding '32FC1' is not supported"),
        ({'data': array.array('B')}, 'cut off'),
        ({'height': 10_000, 'width': 10_000}, 'picture of 10000 x 10000 pixels; .* 64 million'),
    ],
)
def test_bad_reference_pictures(fields, words):
    with pytest.raises(PromptError, match=words):
        to_reference_picture(make_reference(**fields), Scale16Settings())


def test_only_add_takes_reference_pictures():
    with pytest.raises(PromptError, match=r"'cup': expected a prompt on an image of the stream"):
        to_prompt(make_reference())


def test_a_client_sends_pictures():
    rgb = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    msg = to_prompt_message('cup', box=(0, 0, 2, 2), reference=rgb)
    np.testing.assert_array_equal(to_frame(msg.reference[0]).rgb, rgb)
    picture = make_reference().reference[0]
    assert to_prompt_message('cup', box=(0, 0, 2, 2), reference=picture).reference == [picture]
    with pytest.raises(PromptError, match=r'shape \(H, W, 3\) uint8 RGB, got \(2, 4\)'):
        to_prompt_message('cup', reference=rgb[..., 0])
