"""An exploration with findings of every kind, for the tests of its page."""

from textclf.findings.finding import KINDS, Exploration, Finding, Lengths, ShownRow

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
TEXTS = (
    HOSTILE,
    "끝에 빈칸이 있는 글 ",
    "مرحبا بالعالم",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\ufeffmark \x07 \ud83d",
    "",
)


def exploration(classes=3, recipe=("DropRepeats",)):
    names = tuple(f"분류 {place}" if place % 2 else f"class {place}" for place in range(classes))
    splits = {
        "train": {name: 100 + 7 * place for place, name in enumerate(names)},
        "test": {name: 10 + place for place, name in enumerate(names)},
    }
    findings = []
    for place, kind in enumerate(KINDS):
        rows = [
            ShownRow(str(row), "train", text, names[row % classes] if row else None, note="looks like class 0 (0.93)")
            for row, text in enumerate(TEXTS)
        ]
        groups = (tuple(rows[:1]), tuple(rows[1:3]), (rows[3], rows[4], rows[5]))
        remedy = ("DropRepeats", "StripWhitespace", None)[place % 3]
        ids = tuple(map(str, range(1000)))
        detail = f"{kind}: 1,234 rows (5.0 %) {HOSTILE}"
        findings.append(Finding(kind, "train", 1234, ids, detail, remedy, groups, mended=remedy in recipe))
    lengths = []
    for unit in ("characters", "words", "tokens"):
        for split in splits:
            for label in (None, *names):
                quantiles = (1, 2, 5, 8, 13, 30, 200)
                histogram = (20, 50, 20, 5, 5)
                edges = (0, 8, 16, 24, 32, 40)
                lengths.append(Lengths(unit, split, label, 100, 9.5, quantiles, histogram, edges))
    notes = ["The tokenizer 'none' cannot be loaded: lengths in tokens are left out."]
    rows = {split: sum(counts.values()) + 1 for split, counts in splits.items()}
    return Exploration("invented", names, splits, rows, recipe, findings, lengths, notes)
