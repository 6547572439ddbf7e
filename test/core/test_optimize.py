import platform

from robust_vos_ros.core.network.optimize import keep_freed_memory


def test_glibc_takes_the_settings():
    assert keep_freed_memory() is (platform.libc_ver()[0] == 'glibc')
