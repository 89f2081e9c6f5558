#!/usr/bin/env python3
"""Writes src/tokenizer/norm_table.h: what the normalizers of the `tokenizers` library do to each character.

Needs: pip install tokenizers unicodedata2==16.0.0 regex.  Usage: tools/make_norm.py > src/tokenizer/norm_table.h
The reference's parts have tables of different ages, so each is asked about every code point; unicodedata2 names only
the candidates of canonical pairs, and regex the grapheme properties, which the reference shows in part."""
import struct
import sys
import regex
import unicodedata2 as ud
from tokenizers import normalizers as N

ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
NFC, NFD, NFKD = (f().normalize_str for f in (N.NFC, N.NFD, N.NFKD))
BERT = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
strip = N.BertNormalizer(**{**BERT, "strip_accents": True}).normalize_str
clean = N.BertNormalizer(**{**BERT, "clean_text": True}).normalize_str
marks = N.StripAccents().normalize_str
lower = N.Lowercase().normalize_str
CCC, CANON, COMPAT, NFC_MAY, MN, MARK, OTHER, LOWER, JOIN = (1 << i for i in range(9))
GCB = "CR LF Control Extend ZWJ SpacingMark Prepend L V T LV LVT RI".split()
# trie bytes, 256 units (0: children at 1 and on; 96 = 1 ^ 'a': a leaf; 97: its value), then "X"
ONE_RULE = struct.pack("<I256I2s", 1024, *[{0: 1 << 10, 96: 0x100 | 1 << 10 | 0x61, 97: 1 << 31}.get(i, 0)
                                          for i in range(256)], b"X\0")
NAMES = {"RI": "Regional_Indicator"}


def pairs():
    """Canonical pairs, those with a surrogate of the algorithm (Hangul) aside."""
    for c in ALL:
        d = ud.decomposition(chr(c))
        if d and d[0] != "<" and " " in d:
            yield *(int(x, 16) for x in d.split()), c


def flags(c, seconds):
    s, f = chr(c), 0
    ordered = any(NFD("a" + s + p) == NFD("a" + p + s) for p in "\u0334\u0345")
    if NFD(s) != s:
        f |= CANON
    elif ordered:
        f |= CCC
    if NFKD(s) != NFD(s):
        f |= COMPAT
    if f & CCC or NFC(s) != s or c in seconds:
        f |= NFC_MAY
    if not f & CANON and strip("a" + s) == "a":
        f |= MN
    if marks("a" + s) == "a":
        f |= MARK
    if clean("a" + s) == "a":
        f |= OTHER
    return f


def prop(name):
    r = regex.compile(rf"\p{{{name}}}")
    return {c for c in ALL if r.match(chr(c))}


def table(kind, name, what, items):
    print(f"/* {what} */\nstatic const {kind} {name}[] = {{")
    line = "\t"
    for it in items:
        if len(line) + len(it) > 106:
            print(line.rstrip())
            line = "\t"
        line += it + ", "
    print(line.rstrip() + "\n};\n")


def runs(value, bits, start):
    out, last = [], 0
    for c in range(start, 0x110000):
        v = value(c)
        if v != last:
            out.append(f"0x{c << bits | v:X}")
            last = v
    return out


def lowers():
    """lo, hi, step, delta over characters beyond ASCII whose lower case is one character."""
    out = []
    for c in ALL:
        if c < 0x80 or lower(chr(c)) == chr(c) or c == 0x130:
            continue
        d = ord(lower(chr(c))) - c
        if out:
            lo, hi, step, delta = out[-1]
            if delta == d and (lo == hi and c - hi <= 2 or c - hi == step):
                out[-1] = lo, c, c - hi, delta
                continue
        out.append((c, c, 1, d))
    return out


ref_pairs = [(a, b) for a, b, c in pairs() if NFC(chr(a) + chr(b)) == chr(c)]
late = sorted({a for a, b, c in pairs() if NFD(chr(c)) == chr(c)})
seconds = {b for _, b in ref_pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
cls = {}
for i, g in enumerate(GCB):
    for c in prop("GCB=" + NAMES.get(g, g)):
        cls[c] = i + 1
# a charsmap of one rule, a -> X, drops what follows the letter in its cluster
joins = N.Precompiled(ONE_RULE).normalize_str
for c in [c for c, k in cls.items() if GCB[k - 1] in ("Extend", "ZWJ", "SpacingMark") and joins("a" + chr(c)) != "X"]:
    del cls[c]
for c in prop("Extended_Pictographic"):
    cls.setdefault(c, 14)
for c in prop("InCB=Consonant"):
    cls.setdefault(c, 15)
join = {c for c, k in cls.items() if GCB[k - 1:k] and GCB[k - 1] != "Control" and c >= 0x80
        and not 0xAC00 <= c <= 0xD7A3}
fl = {c: flags(c, seconds) | (JOIN if c in join else 0) for c in ALL}
linker = sorted(prop("InCB=Linker"))
incb = {c for c in ALL if cls.get(c) in (4, 5)} - set(linker) - prop("InCB=Extend")
print("/* norm_table.h - made by tools/make_norm.py by asking the `tokenizers` library about every character; do not\n"
      " * edit. */\n#pragma once\n#include <stdint.h>\n")
names = "CCC CANON COMPAT NFC_MAY MN MARK OTHER LOWER JOIN".split()
notes = ["moves among marks: a combining class other than 0", "decomposes canonically",
         "decomposes further under NFKD", "NFC may change it, move it or join it with the one before",
         "BertNormalizer's accent (Mn)", "StripAccents' mark (M)", "BertNormalizer's control character",
         "has a lower case (from norm_lowers)", "a grapheme cluster may go on before or after it"]
print("enum norm_flag {")
for i, (n, w) in enumerate(zip(names, notes)):
    print(f"\tNORM_{n} = {1 << i},{' ' * (12 - len(n) - len(str(1 << i)))}/* {w} */")
print("\tNORM_FLAG_BITS = 9\n};\nstruct norm_lower {\n\tuint32_t lo, hi, step;\n\tint32_t delta;\n};\n")
table("uint32_t", "norm_runs", "A run of equal characters begins at entry >> 9 and has flags entry & 511.",
      runs(lambda c: fl.get(c, 0), 9, 0))
table("uint32_t", "norm_late", "Characters that join with the next one in younger tables only: lo, hi each.",
      [f"0x{a:X}" for a in late])
table("struct norm_lower", "norm_lowers", "Lower case by adding `delta`, every `step` characters (U+0130 aside).",
      [f"{{0x{a:X}, 0x{b:X}, {s}, {d}}}" for a, b, s, d in lowers()])
table("uint32_t", "norm_gcb", "Grapheme_Cluster_Break (norm_cluster.c: enum gcb), entry >> 4 and entry & 15; Hangul "
      "syllables aside.", runs(lambda c: 0 if 0xAC00 <= c <= 0xD7A3 else cls.get(c, 0), 4, 0))
table("uint32_t", "norm_linker", "Indic_Conjunct_Break=Linker.", [f"0x{c:X}" for c in linker])
print(len(late), "late", len(lowers()), "lowers", len(incb), "extend without InCB", [hex(x) for x in sorted(incb)][:20],
      file=sys.stderr)
