import pytest

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.settings import (
    ModelSettings,
    Scale16Settings,
    Settings,
    config_dir,
    load_yaml,
    parse_settings,
)
from robust_vos_ros.core.tracking_sections import MemorySettings, ReacquireSettings, TreeSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings


@pytest.mark.parametrize(
    ('cls', 'values', 'message'),
    [
        (TrackerSettings, {'max_object': 3}, 'max_object'),  # a typing error is no silence
        (TrackerSettings, {'max_objects': 65}, 'less than or equal to 64, got 65'),
        (TrackerSettings, {'tracked_on': 0.3}, 'tracked_off must be at most tracked_on'),
        (TrackerSettings, {'lost_after_s': 'soon'}, "lost_after_s: .* got 'soon'"),
        (ModelSettings, {'precision': 'fp8'}, "precision: .* got 'fp8'"),
        (
            Scale16Settings,
            {'low': 9, 'high': 9},
            'low must be below high, got 9 and 9; lower low or raise high',
        ),
        (
            Scale16Settings,
            {'percentile_low': 50.0, 'percentile_high': 50.0},  # nothing between black and white
            'percentile_low must be below percentile_high, got 50 and 50; lower percentile_low or',
        ),
    ],
)
def test_wrong_settings_are_named(cls, values, message):
    with pytest.raises(ConfigError, match=message):
        parse_settings(cls, values)


def test_every_setting_is_described():
    for cls in (
        ModelSettings, Scale16Settings, TrackerSettings, TreeSettings, MemorySettings,
        ReacquireSettings,
    ):  # fmt: skip
        for name, field in cls.model_fields.items():
            if isinstance(field.default, Settings):
                continue  # a group: its settings are looked at by themselves
            assert field.description, f'{cls.__name__}.{name}'
            assert field.description.endswith('.'), f'{cls.__name__}.{name}'
            assert set(field.json_schema_extra) == {'unit', 'dynamic'}, f'{cls.__name__}.{name}'


@pytest.mark.parametrize(
    ('text', 'message'),
    [('[1, 2]', 'a mapping'), ('a: [', 'not valid YAML'), (None, 'cannot read')],
)
def test_wrong_yaml_files_are_named(tmp_path, text, message):
    path = tmp_path / 'file.yaml'
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_yaml(path)
    assert str(path) in str(caught.value)


def test_the_configuration_folder_is_found():
    assert (config_dir() / 'models' / 'nano.yaml').is_file()
