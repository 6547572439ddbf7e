"""The order of the files: those with slow tests first."""


def pytest_collection_modifyitems(items):
    """Begin with what takes long, so that in the end no process waits long for another one."""
    slow = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in slow)
