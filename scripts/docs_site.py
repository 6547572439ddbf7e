"""A hook of mkdocs (mkdocs.yml): adds to the site what docs/ links outside of itself.

Links in README.md and docs/ are paths in the repository, so that they work in its own view. On
the site README.md is the first page, the other pages of the top folder are in project/, and every
other linked file is in files/, with `.txt` after its name, so that a browser shows it.
"""

import os
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / 'docs'
FENCE = re.compile(r'(^```.*?^```$)', re.MULTILINE | re.DOTALL)
TARGET = re.compile(r'(?<=\]\()[^)\s#:]+(?=[)#])')  # of a link, without its anchor


def name_on_site(path):
    """Return where a file of the repository is on the site, relative to its top."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    if path == ROOT / 'README.md':
        return 'index.md'
    name = path.relative_to(ROOT).as_posix()
    if path.suffix == '.md':
        return f'project/{name}'
    return f'files/{name.lstrip(".")}.txt'  # mkdocs leaves hidden folders out


def linked_files(page):
    """Return the files of the repository that a page links."""
    text = ''.join(FENCE.split(page.read_text(encoding='utf-8'))[::2])
    paths = {(page.parent / target).resolve() for target in TARGET.findall(text)}
    return {path for path in paths if path.is_file()}


def on_files(files, config):
    """Add the pages of the top folder, and the other files that pages link."""
    pages = [*ROOT.glob('*.md'), *DOCS.glob('*.md')]
    wanted = set(pages).union(*map(linked_files, pages))
    for path in sorted(path for path in wanted if not path.is_relative_to(DOCS)):
        files.append(File.generated(config, name_on_site(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, **_):
    """Return the text of a page, with links to where the files are on the site."""
    source = Path(page.file.abs_src_path)
    folder = Path(page.file.src_uri).parent

    def move(match):
        path = (source.parent / match[0]).resolve()
        return os.path.relpath(name_on_site(path), folder) if path.is_file() else match[0]

    parts = FENCE.split(markdown)
    parts[::2] = [TARGET.sub(move, part) for part in parts[::2]]
    return ''.join(parts)
