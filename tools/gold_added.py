#!/usr/bin/env python3
"""Random added tokens and texts, cut by the `tokenizers` library: tests/fixtures/tok/added.json (tests/tokenizer/test_added.c).
usage: gold_added.py [sets texts-per-set seed file]"""
import json
import random
import sys

from tokenizers import AddedToken, Tokenizer, models

LETTERS = ["a", "b", "_", " ", "\t", "\u3000", "\u00e9", "<", "\u2581", "\u0301", "\u24d0", "\u200d", "\u00b2", "1", "\U0001f600"]
WEIGHTS = [6, 4, 1, 5, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 1]
SPECIAL, LSTRIP, RSTRIP, SINGLE_WORD, NORMALIZED = 1, 2, 4, 8, 16


def word(rnd, lo, hi):
    return "".join(rnd.choices(LETTERS, WEIGHTS, k=rnd.randint(lo, hi)))


def tokenizer(rnd):
    """A tokenizer whose model knows no text: what is cut stays whole, as id 0."""
    added = {}
    for _ in range(rnd.randint(1, 7)):
        flags = sum(f for f in (SPECIAL, LSTRIP, RSTRIP, SINGLE_WORD, NORMALIZED) if rnd.random() < 0.35)
        added.setdefault(word(rnd, 1, 4), flags)
    t = Tokenizer(models.WordLevel({"\0": 0}, unk_token="\0"))
    t.add_tokens([AddedToken(s, single_word=bool(f & SINGLE_WORD), lstrip=bool(f & LSTRIP), rstrip=bool(f & RSTRIP),
                             normalized=bool(f & NORMALIZED), special=bool(f & SPECIAL)) for s, f in added.items()])
    return t, [[s, t.token_to_id(s), f] for s, f in added.items()]


def cuts(t, text, special):
    t.encode_special_tokens = not special
    e = t.encode(text)
    return [text[lo:hi] if i == 0 else i for i, (lo, hi) in zip(e.ids, e.offsets)]


def main():
    n_set, n_text, seed = (int(x) for x in (sys.argv[1:4] or (150, 10, 1)))
    path = sys.argv[4] if len(sys.argv) > 4 else "tests/fixtures/tok/added.json"
    rnd = random.Random(seed)
    sets, panics = [], 0
    for _ in range(n_set):
        t, added = tokenizer(rnd)
        cases = []
        while len(cases) < n_text:
            text, special = word(rnd, 0, 24), rnd.random() < 0.7
            try:
                cases.append([text, special, cuts(t, text, special)])
            except BaseException as e:
                # an lstrip token inside white space that an rstrip token swallowed: the library itself panics
                if type(e).__name__ != "PanicException":
                    raise
                panics += 1
        sets.append({"added": added, "cases": cases})
    with open(path, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(s, ensure_ascii=False, separators=(",", ":")) for s in sets) + "\n]\n")
    print(f"{n_set * n_text} cases, {panics} texts left out on which the library panics")


main()
