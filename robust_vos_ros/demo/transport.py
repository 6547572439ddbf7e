"""Size of the shared memory of Fast DDS, the default middleware of ROS 2.

The default is half a megabyte, less than one raw VGA image: a best-effort subscriber loses a
quarter of the images on an idle machine, and most on a busy one. Other middlewares ignore these
settings.
"""

from __future__ import annotations

import os
from pathlib import Path

_SEGMENT_BYTES = 32 * 2**20
_PROFILES = f"""<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>large_shm</transport_id>
      <type>SHM</type>
      <segment_size>{_SEGMENT_BYTES}</segment_size>
    </transport_descriptor>
    <transport_descriptor>
      <transport_id>udp</transport_id>
      <type>UDPv4</type>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="large_images" is_default_profile="true">
    <rtps>
      <userTransports>
        <transport_id>large_shm</transport_id>
        <transport_id>udp</transport_id>
      </userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
    </rtps>
  </participant>
</profiles>
"""
# Fast DDS 2 and 3.
_PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
_TRANSPORT_VARIABLE = 'FASTDDS_BUILTIN_TRANSPORTS'


def make_room_for_images(path: Path) -> None:
    """Write the settings to a file, for this process, before ROS starts, and for its children.

    Nothing is changed if the environment already configures the transports of Fast DDS.
    """
    if any(name in os.environ for name in (*_PROFILE_VARIABLES, _TRANSPORT_VARIABLE)):
        return
    path.write_text(_PROFILES, encoding='utf-8')
    for name in _PROFILE_VARIABLES:
        os.environ[name] = str(path.resolve())
