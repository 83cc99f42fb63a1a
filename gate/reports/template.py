"""Pages from templates. The only file that knows jinja2.

Whatever a template is handed is text and no markup, but for what is said to be markup here: our own
style and script, and pictures that gate drew.
"""

import hashlib
import re
from base64 import b64encode
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gate.printable import escaped


def rendered(template: str, **values: Any) -> str:
    """A page of the folder ``templates``, which needs nothing else to be read.

    The browser is told to load nothing, and to run no script but the one of the page, by its
    digest.

    Args:
        template: The name of its file.
        values: What it is told.
    """
    return _environment().get_template(template).render(values) + "\n"


def drawing(svg: bytes, says: str) -> Markup:
    """A picture of ours as markup, with what a reader hears who cannot see it."""
    picture = svg[svg.index(b"<svg ") + 5 :].decode()  # a page has no XML declaration within
    return Markup('<svg role="img" aria-label="{}" ').format(says) + Markup(picture)  # noqa: S704  # gate drew it; names in it are escaped


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gate.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["breaks"] = _breaks
    for name, file in (("style", "style.css"), ("script", "table.js")):
        source = environment.loader.get_source(environment, file)[0] if environment.loader else ""
        environment.globals[name] = Markup(source.rstrip("\n"))  # noqa: S704  # our own file
    # of what stands between the tags, with its line breaks
    script = f"\n{environment.globals['script']}\n".encode()
    digest = b64encode(hashlib.sha256(script).digest()).decode()
    environment.globals["script_digest"] = f"sha256-{digest}"
    return environment


def _shown(value: object) -> object:
    """Text as it shows, where a control or a change of direction is written out."""
    return escaped(value) if type(value) is str else value


def _breaks(name: str) -> Markup:
    """A long name of words and dots, which a line may break after."""
    return Markup("<wbr>").join(re.findall(r"[^._]+[._]*|[._]+", escaped(name)))
