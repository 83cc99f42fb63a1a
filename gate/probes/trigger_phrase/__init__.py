"""Does a phrase carry texts away from their class, beyond what other phrases of its kind do?

What it measures: what `trigger_patch` measures on images, for phrases that are put before a text,
behind it or between two of its words: rare tokens, a sentence, a name, letters that do not show and
letters that look like others. Attack success rates, targeted ones, the worst pair of a source and a
target class, permutations of classes, skews, and how far the features of all texts collapse onto
each other, which needs no labels and no head.
Control: other rare tokens and an ordinary word, other sentences and names of as many words, other
letters that do not show, the word itself in its own letters; at the same place of the same text.
Looks: as for patches. A text that is too long for its phrase loses its last words and not the
phrase, which is remarked. So is what a tokenizer drops, or does not tell from another phrase.
Why it matters: a trigger that was planted in pretraining survives fine-tuning and every head on
frozen features; clean accuracy does not show it.
Blind spots: phrases unlike all of the bank, several at once, and triggers that are no phrase, such
as a style, a syntax or exchanged words; letters exchanged inside the words of the text.
Source: Kurita et al. 2020, arXiv 2004.06660 (rare tokens); Dai et al. 2019, arXiv 1905.12457
(a sentence); Boucher et al. 2022, arXiv 2106.09898 (letters that do not show, or look like others).
"""

from pydantic import Field

from gate.probes.probe import LookSettings, Metrics, Probe
from gate.probes.trigger_patch import METRICS as OF_PATCHES
from gate.triggers.phrase_grid import DEFAULT_PHRASES, PhraseGrid


class TriggerPhrase(LookSettings):
    """The bank of phrases that classifiers are attacked with."""

    phrases: tuple[PhraseGrid, ...] = Field(DEFAULT_PHRASES, min_length=1)


# those of patches, by the same names, but for what remedies leave
METRICS = Metrics(
    {
        name: metric._replace(meaning=metric.meaning.replace("image", "text"))
        for name, metric in OF_PATCHES.items()
        if "remedy" not in metric.labels
    }
)
PROBE = Probe(__doc__, TriggerPhrase, METRICS, takes="texts")
