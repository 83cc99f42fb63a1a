"""The decision as a small picture in SVG, for a README or an index.

It loads nothing: no fonts, no scripts, no links. White on its colours has a contrast above 4.5 : 1.
"""

from collections.abc import Sequence
from html import escape

from gate.printable import escaped
from gate.reports.attachments import NONE, Attachments
from gate.values import Evidence, Verdict

_COLOUR = {"accept": "#1b6e2f", "reject": "#b3261e", "inconclusive": "#8a5300"}
_LETTER, _ROOM, _LONGEST = 7, 12, 40  # pixels of a letter and of a side's edges; letters of a name


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),  # noqa: ARG001  # it has no room for any
    attachments: Attachments = NONE,
) -> str:
    """Left the policy, right the decision and, where it leans on a waiver, its last day."""
    policy = escaped(verdict.policy.name)
    left = f"{_cut(policy)} v{verdict.policy.version}"
    leans = verdict.decision == "accept" and verdict.valid_until
    right = verdict.decision + (f" until {verdict.valid_until}" if leans else "")
    of = f"{escaped(attachments.candidate)}: " if attachments.candidate else ""
    title = escape(f"gate: {of}{right} under policy {policy} v{verdict.policy.version}")
    middle = _LETTER * len(left) + _ROOM
    width = middle + _LETTER * len(right) + _ROOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" '
        f'viewBox="0 0 {width} 20" role="img" aria-label="{title}">\n'
        f"<title>{title}</title>\n"
        f'<rect width="{width}" height="20" rx="3" fill="#444"/>\n'
        f'<path d="M{middle} 0h{width - middle - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{middle}z" '
        f'fill="{_COLOUR[verdict.decision]}"/>\n'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" '
        'text-anchor="middle" aria-hidden="true">\n'
        f"{_words(left, middle / 2)}{_words(right, (middle + width) / 2)}</g>\n</svg>\n"
    )


def _words(text: str, middle: float) -> str:
    """Words that fill their side, whatever font is there."""
    length = _LETTER * len(text)
    return (
        f'<text x="{middle:g}" y="14" textLength="{length}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(text)}</text>\n"
    )


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
