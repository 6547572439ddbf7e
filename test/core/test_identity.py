import re

import pooch
import pytest

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.model_files import find_weights, load_spec
from robust_vos_ros.core.settings import ModelSettings, config_dir
from robust_vos_ros.ros_types.identity import identify, package_version, read_model_settings


def test_the_version_is_the_one_of_package_xml():
    text = (config_dir().parent / 'package.xml').read_text('utf-8')
    assert re.search(r'<version>(.*)</version>', text)[1] == package_version()


def test_what_is_noted_in_a_bag(tmp_path):
    path = tmp_path / 'rain.safetensors'
    path.write_bytes(b'an adapter')
    assert identify(ModelSettings(adapter=str(path))) == {
        'robust_vos.version': package_version(),
        'robust_vos.model': 'nano',
        'robust_vos.weights_sha256': pooch.file_hash(find_weights(load_spec('nano'))),
        'robust_vos.adapter': 'rain',
        'robust_vos.adapter_sha256': pooch.file_hash(path),
    }


@pytest.mark.parametrize(
    'text',
    [
        '/**: {ros__parameters: {model: {name: other, adapter: none}}}',
        '/robot/robust_vos: {ros__parameters: {model.name: other, autostart: true}}',
        'other: {ros__parameters: {}}\nrobust_vos: {ros__parameters: {model.name: other}}',
    ],
)
def test_parameter_files(tmp_path, text):
    path = tmp_path / 'params.yaml'
    path.write_text(text)
    assert read_model_settings(path).name == 'other'


def test_the_shipped_parameter_file_asks_for_the_defaults():
    assert read_model_settings(config_dir() / 'robust_vos.yaml') == ModelSettings()


def test_a_wrong_parameter_file(tmp_path):
    (tmp_path / 'params.yaml').write_text('/**: {ros__parameters: {model: {nme: nano}}}')
    with pytest.raises(ConfigError, match='nme'):
        read_model_settings(tmp_path / 'params.yaml')
