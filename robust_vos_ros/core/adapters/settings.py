"""Settings of an adapter; an adapter file holds them."""

from __future__ import annotations

from typing import Literal

from robust_vos_ros.core.settings import Settings, setting

Mode = Literal['paper', 'per_object', 'released']
Condition = Literal['pointers', 'objects', 'aggregated', 'features', 'none']
Place = Literal['attention', 'neck', 'trunk']
EncoderPart = Literal['affine', 'rank', 'whole']


class AdapterSettings(Settings):
    """Structure of an adapter."""

    places: list[Place] = setting(
        ['attention'],
        'Adapted parts of the network: memory attention, neck and trunk of the image encoder.',
        min_length=1,
    )
    encoder: list[EncoderPart] = setting(
        ['affine', 'rank'],
        'How neck and trunk are changed: affine = scale and shift of the LayerNorms, or where '
        'there are none of the convolutions, into which batch norms are folded; rank = rank-1 '
        'parts of the 1x1 convolutions; whole = all weights of the convolutions.',
        min_length=1,
    )
    encoder_gates: bool = setting(
        False,
        'Gates on the rank-1 parts of neck and trunk, averaged over objects; false = always open.',
    )
    encoder_switch: bool = setting(
        False,
        'Use the changes of neck and trunk only on images that look corrupted; false = always.',
    )
    encoder_rank: int = setting(16, 'Rank-1 parts per 1x1 convolution.', ge=1, le=256)
    mode: Mode = setting(
        'paper',
        'paper = Q, K, V of self-attention and Q of cross-attention, parallel to their weights, '
        'gates averaged over objects; per_object = the same, each object its own gates; released '
        '= as in the published code: on the inputs, Q and K sharing one, no V.',
    )
    condition: Condition = setting(
        'pointers',
        'What gates depend on: pointers = MoGA, a gate per pointer; objects = the mean of the '
        'pointers of each object; aggregated = the mean of all pointers, so that objects do not '
        'differ; features = the image, as in GaRA; none = always open, LoRA.',
    )
    rank: int = setting(128, 'Rank-1 parts per adapted projection; 0 = none.', ge=0, le=1024)
    layer_norms: Literal['none', 'memory_attention'] = setting(
        'memory_attention', 'LayerNorms of the memory attention, which belong to its adapter.'
    )
    gate_bias: float = setting(
        1.0,
        'Bias of the logits of untrained gates: above 0 they begin open, as in LoRA, and may '
        'learn to close.',
        ge=-5.0,
        le=5.0,
    )
    gate_spread: float = setting(
        0.0, 'Standard deviation of the logits of untrained gates.', ge=0.0, le=10.0
    )
    standardize: bool = setting(
        False, 'Standardize pointers by their mean and deviation over the training.'
    )
    noise: Literal['gumbel', 'logistic'] = setting(
        'gumbel', 'Noise on the gates in training; logistic has no shift against inference.'
    )
    temperature: float = setting(
        1.0, 'Temperature of the gates at the start of the training.', gt=0.0, le=10.0
    )
    final_temperature: float = setting(
        0.3, 'Temperature at its end; falls linearly.', gt=0.0, le=10.0
    )

    @property
    def attention_rank(self) -> int:
        """Rank-1 parts per projection of the memory attention; 0 if it is not adapted."""
        return self.rank if 'attention' in self.places else 0
