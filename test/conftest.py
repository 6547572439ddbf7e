"""The order of the files, those with slow tests first; and the end of a crashed process."""


def pytest_collection_modifyitems(items):
    """Begin with what takes long, so that in the end no process waits long for another one."""
    slow = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in slow)


def pytest_testnodedown(node, error):
    """Say how a process of the tests ended, when it did not end by itself."""
    if error:
        code = node.gateway._io.popen.wait(10)  # negative: the number of a signal
        print(f'\n{node.gateway.id}: {error}; exit code {code}')  # noqa: T201
