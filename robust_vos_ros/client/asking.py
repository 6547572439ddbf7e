"""Questions to the services of a node, and what its refusals say."""

from __future__ import annotations

import time
from typing import Any

from robust_vos.msg import ErrorCode

from robust_vos_ros.client.connection import ClientError, Connection

# An image may reach this program before it reaches the node.
ARRIVAL_S = 2.0
RETRY_S = 0.05
_NOT_ARRIVED = ('NO_IMAGE', 'STAMP_IN_FUTURE')
_CODES = {value: name for name, value in vars(ErrorCode).items() if isinstance(value, int)}


class RefusedError(ClientError):
    """The node refused a request.

    Attributes:
        code: Name of the ErrorCode, such as UNKNOWN_ID.
        sentence: What the node says.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f'{message} ({code})')
        self.code = code
        self.sentence = message


class NotFoundError(ClientError):
    """Nothing in view fits the words of a prompt."""


def ask(connection: Connection, name: str, request: Any, timeout_s: float) -> Any:
    """Return the answer of a service that was not refused.

    Args:
        connection: Has a client of that service.
        name: Full name of the service.
        request: Of the service.
        timeout_s: How long to wait.

    Raises:
        RefusedError: The node refuses; `code` and text say why.
        ClientError: There is no answer.
    """
    answer = connection.call(name, request, timeout_s)
    if answer is None:
        raise ClientError(
            f'no answer of {name} within {timeout_s:g} s: {why_silent(connection, name)}'
        )
    if answer.success:
        return answer
    if hasattr(answer, 'error_code'):
        raise RefusedError(_CODES[answer.error_code], answer.message)
    code, _, message = answer.message.partition(': ')  # of std_srvs
    raise RefusedError(code, message)


def ask_about_image(connection: Connection, name: str, request: Any, timeout_s: float) -> Any:
    """As `ask`, and again as long as the image may still be on its way to the node."""
    end_s = time.monotonic() + ARRIVAL_S
    while True:
        try:
            return ask(connection, name, request, timeout_s)
        except RefusedError as error:
            if error.code not in _NOT_ARRIVED or time.monotonic() > end_s:
                raise
        time.sleep(RETRY_S)


def why_silent(connection: Connection, service: str) -> str:
    """Return why a service did not answer, and what to do."""
    if connection.sees(service):
        return (
            'it is there but does not answer; it answers nothing while it loads its model, '
            'so wait longer (timeout_s), else look at its log'
        )
    return 'there is no such node; check its name and ROS_DOMAIN_ID (ros2 node list)'
