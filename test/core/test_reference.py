"""The engine agrees with the `sam2` package's own SAM2VideoPredictor."""

import cv2
import pytest
import torch

from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.network import checkpoints, model_files
from robust_vos_ros.core.network.checkpoints import build_network
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import load_spec
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.core.zoom.window import make_record

NUM_FRAMES = 30
PREDICTOR = 'sam2.sam2_video_predictor.SAM2VideoPredictor'
LOGIT_TOLERANCE = 1e-3
AS_SAM2 = TrackerSettings.plain()  # which remembers every frame


@pytest.fixture
def exact_memory(monkeypatch):
    """Keep memories in fp32 on both sides.

    Both round them to bf16. The engine sums in another order than the reference; now and then such
    a difference of 1e-6 moves a memory to the next bf16 number, which shows in the logits.
    """
    monkeypatch.setattr(torch, 'bfloat16', torch.float32)


@pytest.fixture
def model(model, monkeypatch):
    """The network without what the reference has not: the mask before, and object calibration."""
    monkeypatch.setattr(model, 'previous_mask', False)
    monkeypatch.setattr(model, 'object_calibration', None)
    return model


@pytest.fixture(scope='module')
def predictor():
    """SAM2VideoPredictor with nano's configuration and weights."""
    spec = load_spec('nano')
    net = build_network(spec, target=PREDICTOR)
    net.load_state_dict(checkpoints.read_state_dict(model_files.find_weights(spec)))
    return net.eval()


def reference_logits(predictor, tmp_path, frames, mask):
    """Run the reference on one object; (T, h, w) low-resolution logits."""
    for index, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f'{index:05d}.jpg'), frame.rgb[..., ::-1])
    state = predictor.init_state(str(tmp_path))
    # The reference resizes with PIL; give it the engine's pixels, to compare the networks alone.
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    images = [make_record(f, predictor.image_size, 0).image.permute(2, 0, 1) for f in frames]
    state['images'] = torch.stack([(image / 255.0 - mean) / std for image in images])
    state['cached_features'] = {}
    predictor.add_new_mask(state, frame_idx=0, obj_id=1, mask=torch.from_numpy(mask))
    for _ in predictor.propagate_in_video(state):
        pass
    outputs = state['output_dict_per_obj'][0]
    outputs = {**outputs['cond_frame_outputs'], **outputs['non_cond_frame_outputs']}
    return torch.stack([outputs[index]['pred_masks'][0, 0] for index in range(len(frames))])


def track(model, scene, num_objects, num_frames=NUM_FRAMES):
    """Run the engine; (num_objects, T, h, w) logits and the frames."""
    frames = [scene.frame(index) for index in range(num_frames)]
    tracker = VideoTracker(model, AS_SAM2)
    tracker.step(frames[0])
    prompts = [Prompt(str(i), mask=mask) for i, mask in enumerate(scene.masks(0))]
    results = [tracker.add(prompts[:num_objects])]
    results += [tracker.step(frame) for frame in frames[1:]]
    return torch.stack([result.mask_logits for result in results], dim=1), frames


def iou(ours, theirs):
    ours, theirs = ours > 0, theirs > 0
    assert (ours | theirs).sum() > 400, 'the comparison must be about real masks'
    return mask_iou(ours, theirs).min()  # of all frames


@pytest.mark.parametrize('num_objects', [1, 4])
def test_logits_equal_those_of_one_reference_run_per_object(
    model, predictor, make_scene, tmp_path, exact_memory, num_objects
):
    scene = make_scene(num_objects)
    ours, frames = track(model, scene, num_objects)
    for index in range(num_objects):
        theirs = reference_logits(predictor, tmp_path, frames, scene.masks(0)[index])
        assert (ours[index] - theirs).abs().max() < LOGIT_TOLERANCE
        assert iou(ours[index], theirs) > 0.999


@pytest.mark.parametrize('num_objects', [1, 4])
def test_rounded_memories_change_no_mask(model, predictor, make_scene, tmp_path, num_objects):
    scene = make_scene(num_objects)
    ours, frames = track(model, scene, num_objects)
    for index in range(num_objects):
        theirs = reference_logits(predictor, tmp_path, frames, scene.masks(0)[index])
        error = (ours[index] - theirs).abs()
        assert (error < LOGIT_TOLERANCE).float().mean() > 0.99
        assert error.max() < 0.02
        assert iou(ours[index], theirs) > 0.999


def test_an_object_added_later_equals_its_own_reference_run(
    model, predictor, make_scene, tmp_path, exact_memory
):
    scene = make_scene(2)
    frames = [scene.frame(index) for index in range(NUM_FRAMES)]
    late = 11  # the older object has a full memory by then, the younger one none
    tracker = VideoTracker(model, AS_SAM2)
    tracker.step(frames[0])
    tracker.add([Prompt('early', mask=scene.masks(0)[0])])
    for frame in frames[1 : late + 1]:
        tracker.step(frame)
    results = [tracker.add([Prompt('late', mask=scene.masks(late)[1])])]
    results += [tracker.step(frame) for frame in frames[late + 1 :]]
    ours = torch.stack([result.mask_logits[1] for result in results])

    theirs = reference_logits(predictor, tmp_path, frames[late:], scene.masks(late)[1])
    assert (ours - theirs).abs().max() < LOGIT_TOLERANCE
    assert iou(ours, theirs) > 0.999


def test_sam2s_own_trunk_equals_the_reference(make_scene, tmp_path, exact_memory):
    """SAM 2.1's trunk, widths and six recent memories, with random weights at 128 px.

    The logits are small, so is the tolerance: without one of the memories' temporal encodings,
    which are made large for that, they would differ by 5e-4.
    """
    torch.manual_seed(0)
    spec = load_spec('sam2.1_hiera_tiny').model_copy(update={'overrides': {'image_size': 128}})
    net = build_network(spec).eval().requires_grad_(False)
    net.maskmem_tpos_enc *= 500.0
    predictor = build_network(spec, target=PREDICTOR).eval()
    predictor.load_state_dict(net.state_dict())
    model = Model(net, name='test', weights_hash='', device=torch.device('cpu'), precision='fp32')
    scene = make_scene(1)
    ours, frames = track(model, scene, 1, num_frames=9)
    theirs = reference_logits(predictor, tmp_path, frames, scene.masks(0)[0])
    assert theirs[1:].std() > 0.05
    assert (ours[0] - theirs).abs().max() < 1e-4
