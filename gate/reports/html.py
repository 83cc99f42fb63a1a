"""The terminal's report as one page that needs nothing else, and below it all pictures."""

from collections.abc import Sequence

from gate.reports.attachments import Attachments
from gate.reports.pictures import pictures
from gate.reports.text import printed
from gate.values import Evidence, Verdict


def render(verdict: Verdict, evidence: Sequence[Evidence] = ()) -> str:
    """The page, in HTML with pictures in SVG."""
    console = printed(verdict, evidence, Attachments(verbosity="verbose"))
    page = console.export_html(inline_styles=True)
    before, end, after = page.rpartition("</body>")
    # in a page, SVG stands without its XML declaration
    shown = (svg[svg.index(b"<svg") :].decode() for svg in pictures(evidence).values())
    return "".join([before, *(f"<p>{svg}</p>\n" for svg in shown), end, after])
