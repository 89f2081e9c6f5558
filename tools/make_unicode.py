#!/usr/bin/env python3
"""Writes src/tokenizer/unicode_table.h: the character classes that pre-tokenizer patterns name, Unicode 16.

Needs: pip install unicodedata2==16.0.0 tokenizers.  Usage: tools/make_unicode.py > src/tokenizer/unicode_table.h
The `late` ranges are punctuation that the reference's Punctuation pre-tokenizer (an older table) does not know."""
import sys
import unicodedata2 as ud
from tokenizers.pre_tokenizers import Punctuation

assert ud.unidata_version == "16.0.0", f"unicodedata2 has Unicode {ud.unidata_version}, 16.0.0 is wanted"
WHITE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
CLASS = {"Lu": 2, "Ll": 3, "Lt": 4, "Lm": 5, "Lo": 6, "Nd": 8, "Nl": 9, "No": 9}


def cls(c):
    if c in WHITE:
        return 1
    if c == 0x17F:
        return 12
    cat = ud.category(chr(c))
    return CLASS.get(cat) or {"M": 7, "P": 10, "S": 11}.get(cat[0], 0)


def ranges(pred):
    out, c = [], 0
    while c <= 0x10FFFF:
        if pred(c):
            lo = c
            while c < 0x10FFFF and pred(c + 1):
                c += 1
            out.append((lo, c))
        c += 1
    return out


def table(name, what, items):
    print(f"/* {what} */\nstatic const uint32_t {name}[] = {{")
    line = "\t"
    for it in items:
        if len(line) + len(it) > 106:
            print(line.rstrip())
            line = "\t"
        line += it + ", "
    print(line.rstrip() + "\n};\n")


runs, last = [], None
for c in range(0x80, 0x110000):
    k = cls(c)
    if k != last:
        runs.append(f"0x{c << 4 | k:X}")
        last = k
flat = lambda rs: [f"0x{lo:X}, 0x{hi:X}" for lo, hi in rs]
punct = Punctuation()
late = ranges(lambda c: c >= 0x80 and ud.category(chr(c))[0] == "P"
              and len(punct.pre_tokenize_str(chr(c) + "a")) == 1)
han = ranges(lambda c: ud.name(chr(c), "").startswith(("CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH",
             "CJK RADICAL", "KANGXI RADICAL", "HANGZHOU NUMERAL")) or c in (0x3005, 0x3007, 0x3021, 0x303B,
             0x16FE2, 0x16FE3, 0x16FF0, 0x16FF1))
# NFC may change text only around these: a non-zero combining class, or not allowed / maybe in NFC
forms = ranges(lambda c: not 0xD800 <= c < 0xE000 and (ud.combining(chr(c)) or ud.normalize("NFC", chr(c)) != chr(c)))
seconds = set()
for c in range(0x110000):
    d = ud.decomposition(chr(c))
    if d and d[0] != "<" and " " in d:
        seconds.add(int(d.split()[1], 16))
seconds |= set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
inform = {c for lo, hi in forms for c in range(lo, hi + 1)} | seconds
print("/* unicode_table.h - made by tools/make_unicode.py from Unicode 16.0.0; do not edit. */\n#pragma once\n"
      "#include <stdint.h>\n")
table("uni_run", "A run begins at entry >> 4 and has class entry & 15 (pretok.c: enum cls).", runs)
table("uni_late", "Punctuation too young for the reference's Punctuation pre-tokenizer: lo, hi.", flat(late))
table("uni_han", "Script Han: lo, hi.", flat(han))
table("uni_nfc", "Characters that NFC may change, move or join with the one before: lo, hi.",
      flat(ranges(lambda c: c in inform)))
print(f"{len(runs)} runs, {len(late)} late, {len(han)} han", file=sys.stderr)
