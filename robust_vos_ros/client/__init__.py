"""A client of the node for Python programs: `from robust_vos_ros.client import RobustVos`."""

from robust_vos_ros.client.asking import NotFoundError, RefusedError
from robust_vos_ros.client.client import RobustVos
from robust_vos_ros.client.connection import ClientError
from robust_vos_ros.client.frames import MaskedFrame

__all__ = ['ClientError', 'MaskedFrame', 'NotFoundError', 'RefusedError', 'RobustVos']
