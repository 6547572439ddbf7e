"""All settings of the console, from which its ROS parameters and the file of a bag are made."""

from __future__ import annotations

import ipaddress
import string

import pydantic

from robust_vos_ros.core.settings import Settings, setting

MIN_TOKEN_LENGTH, MAX_TOKEN_LENGTH = 16, 256
# Characters that need no escaping in a URL fragment.
_TOKEN_CHARACTERS = frozenset(string.ascii_letters + string.digits + '-._~')


class PageSettings(Settings):
    """Settings of the page and its server, whatever it shows."""

    host: str = setting(
        '127.0.0.1', 'Address to listen on; 0.0.0.0 = all. Addresses other than loopback '
        '(127.0.0.1, ::1, localhost) need a token.', min_length=1,
    )  # fmt: skip
    port: int = setting(8080, 'TCP port; 0 = any free one.', ge=0, le=65535)
    token: str = setting(
        '', f'Secret that browsers must send, of at least {MIN_TOKEN_LENGTH} letters, digits or '
        '-._~; empty = none. Set it in a parameter file: other users can see command lines.'
    )  # fmt: skip
    max_clients: int = setting(8, 'Maximum number of connected browsers.', ge=1, le=64)
    picture_width: int = setting(
        960, 'Wider images are reduced to this width.', unit='px', ge=160, le=4096
    )
    jpeg_quality: int = setting(
        80, 'JPEG quality; images of a compressed topic are not encoded again.',
        ge=20, le=100,
    )  # fmt: skip

    @pydantic.field_validator('token')
    @classmethod
    def _check_token(cls, value: str) -> str:
        # Own messages: those of pydantic would quote the token.
        if value and not MIN_TOKEN_LENGTH <= len(value) <= MAX_TOKEN_LENGTH:
            raise ValueError(
                f'expected {MIN_TOKEN_LENGTH} to {MAX_TOKEN_LENGTH} characters, got {len(value)}; '
                'make one with: python3 -c "import secrets; print(secrets.token_urlsafe())"'
            )
        if not set(value) <= _TOKEN_CHARACTERS:
            raise ValueError('expected letters, digits and -._~ only; choose another token')
        return value

    @pydantic.model_validator(mode='after')
    def _check_host(self) -> ConsoleSettings:
        if not self.is_loopback and not self.token:
            raise ValueError(
                f'host {self.host} can be reached by other machines, which needs a token; set '
                'one, or listen on 127.0.0.1'
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether the server only accepts connections of this machine."""
        return is_loopback(self.host)


class ConsoleSettings(PageSettings):
    """Settings of `robust_vos_console`."""

    node: str = setting(
        'robust_vos', 'The robust_vos node that is shown first, with its namespace.',
        min_length=1,
    )  # fmt: skip
    picture_rate_hz: float = setting(
        10.0, 'Maximum number of images per second and camera.', unit='Hz', ge=0.2, le=60.0
    )


def is_loopback(host: str) -> bool:
    """Whether a host name or address is that of the machine itself."""
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
