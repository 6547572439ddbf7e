"""The docs are true as far as a program can tell: what they name exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from robust_vos_ros.cli import app
from robust_vos_ros.node.settings import NodeSettings, leaves

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/*.md')])
# A changelog also names what is gone.
CURRENT = [page for page in PAGES if page.name != 'CHANGELOG.md']
FENCE = re.compile(r'^```.*?^```$', re.MULTILINE | re.DOTALL)
# Options of other programs.
FOREIGN_OPTIONS = {
    '--break-system-packages',
    '--enclave',
    '--ros-args',
    '--show-args',
    '--system-site-packages',
    # of docker run
    '--device',
    '--gpus',
    '--ipc',
    '--net',
    '--no-healthcheck',
    '--restart',
    # of docker build
    '--build-arg',
}
CLI = typer.main.get_command(app)


def each_page(pages):
    return pytest.mark.parametrize('page', pages, ids=lambda page: page.name)


def prose(page):
    return FENCE.sub('', page.read_text(encoding='utf-8'))


def spans(page):
    """Return the pieces of inline code, with line breaks as blanks."""
    return [' '.join(span.split()) for span in re.findall(r'`([^`]+)`', prose(page))]


def shell_lines(page):
    """Return the lines of code blocks, those that end in a backslash joined, and inline code."""
    blocks = '\n'.join(FENCE.findall(page.read_text(encoding='utf-8')))
    return [*re.sub(r'\\\n\s*', '', blocks).splitlines(), *spans(page)]


def anchors(page):
    """Return the anchors of the headings, as GitHub makes them."""
    titles = re.findall(r'^#+ (.*)$', prose(page), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


@each_page(PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', prose(page)):
        if re.match(r'\w+:', target):
            continue
        name, _, anchor = target.partition('#')
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def options_of(command):
    names = {name for item in command.params for name in (*item.opts, *item.secondary_opts)}
    return names | {'--help'}


def options_below(command):
    below = [options_below(item) for item in getattr(command, 'commands', {}).values()]
    return options_of(command).union(*below)


def check_command(words):
    """Follow the words of a command line; `...` stands for any words."""
    command = CLI
    for word in words:
        if word in {'|', '>', '&&', ';'}:
            return
        if word.startswith('--'):
            known = options_below(command) if '...' in words else options_of(command)
            assert word.partition('=')[0] in known, words
        elif hasattr(command, 'commands') and word != '...' and not word.isupper():
            assert word in command.commands, words
            command = command.commands[word]


@each_page(CURRENT)
def test_commands_and_their_options_exist(page):
    for line in shell_lines(page):
        start = r'(?:^(?:\$ |scripts/env\.sh )?robust-vos|-m robust_vos_ros\.cli) (.*)'
        if found := re.search(start, line):
            check_command(shlex.split(found[1], comments=True))


@each_page(CURRENT)
def test_options_named_alone_exist(page):
    known = options_below(CLI) | FOREIGN_OPTIONS
    alone = {span.split()[0].partition('=')[0] for span in spans(page) if span.startswith('--')}
    assert alone <= known


@each_page(CURRENT)
def test_make_targets_and_variables_exist(page):
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    targets = set(re.findall(r'^([a-z]+):', makefile, re.MULTILINE))
    variables = set(re.findall(r'\b[A-Z_0-9]{3,}\b', makefile))
    for line in shell_lines(page):
        if found := re.match(r'((?:[A-Z]+=\S+ )*)make ([a-z]+)(.*)', line):
            before, target, after = found.groups()
            assert target in targets, line
            assert set(re.findall(r'\b([A-Z_]+)=', before + after)) <= variables, line


@each_page(CURRENT)
def test_launch_files_and_arguments_exist(page):
    # By themselves, or in a table of arguments.
    declared = re.compile(r"(?:DeclareLaunchArgument\(|^    \()\s*'(\w+)',", re.MULTILINE)
    known = {
        path.name: set(declared.findall(path.read_text('utf-8')))
        for path in ROOT.glob('launch/*.py')
    }
    known['demo.launch.py'] |= known['robust_vos.launch.py']
    for line in shell_lines(page):
        if found := re.search(r'ros2 launch robust_vos (\S+)(.*)', line):
            assert set(re.findall(r'(\w+):=', found[2])) <= known[found[1]], line
        elif re.match(r'\w+:=', line):
            assert set(re.findall(r'(\w+):=', line)) <= known['robust_vos.launch.py'], line


def names_in(settings, prefix=''):
    """Return the dotted names of sections and values, also of sections that may be null."""
    names = set()
    for name, field in settings.model_fields.items():
        names.add(prefix + name)
        for kind in (field.annotation, *getattr(field.annotation, '__args__', ())):
            if hasattr(kind, 'model_fields'):
                names |= names_in(kind, f'{prefix}{name}.')
    return names


@each_page(CURRENT)
def test_parameters_exist(page):
    """`tracking.` may be left out, and those of a training file count as well."""
    from robust_vos_ros.train.config import TrainSettings

    known = {leaf.name for leaf in leaves(NodeSettings)}
    known |= {name.removeprefix('tracking.') for name in known}
    known |= {name.rpartition('.')[0] for name in known}
    known |= names_in(TrainSettings)
    groups = {name.partition('.')[0] for name in known if '.' in name}
    for span in spans(page):
        name = span.removeprefix('ros2 param set /robust_vos ').split(' ')[0].rstrip(':')
        if name.endswith('.safetensors'):
            continue
        if re.fullmatch(r'[a-z]\w*(\.[a-z]\w*)+', name) and name.split('.')[0] in groups:
            assert name in known, span


@each_page(CURRENT)
def test_files_of_the_repository_exist(page):
    made = {'out', 'build', 'install', 'log'}  # by commands
    folders = '|'.join({path.name for path in ROOT.iterdir() if path.is_dir()} - made)
    inside = '|'.join(path.name for path in (ROOT / 'robust_vos_ros').iterdir() if path.is_dir())
    for span in spans(page):
        if re.fullmatch(rf'({folders}|{inside})/[\w./-]+\.\w+', span):
            paths = [ROOT / span, ROOT / 'robust_vos_ros' / span]
            assert any(path.exists() for path in paths), span


@each_page(CURRENT)
def test_topics_are_in_the_table_of_interfaces(page):
    known = set(spans(ROOT / 'docs' / 'interfaces.md'))
    assert {span for span in spans(page) if re.fullmatch(r'~/[\w/<>]+', span)} <= known
