#!/usr/bin/env python3
"""Writes src/tokenizer/unicode_prop.h and unicode_script.h: what the patterns of tokenizer files can ask of a
character, Unicode 16.

Needs: pip install unicodedata2==16.0.0 regex==2024.11.6 tokenizers
Usage: tools/make_unicode_prop.py
Categories from unicodedata2 (and `regex`, which must agree), scripts, properties and case from `regex`; what the
reference decides by tables of other ages (its Punctuation, Digits and UnicodeScripts) is asked of the reference."""
import sys
import regex
import unicodedata2 as ud
from regex import _regex_core as core
from tokenizers import Regex, pre_tokenizers

assert ud.unidata_version == "16.0.0", f"unicodedata2 has Unicode {ud.unidata_version}, 16.0.0 is wanted"
ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(map(chr, ALL))
CATS = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
WHITE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
# name in the reference: the same in `regex`; Other_*: what Alphabetic and the like hold beyond categories
PROPS = {"whitespace": "White_Space", "emoji": "Emoji", "emojipresentation": "Emoji_Presentation",
         "emojimodifier": "Emoji_Modifier", "emojimodifierbase": "Emoji_Modifier_Base",
         "emojicomponent": "Emoji_Component", "extendedpictographic": "Extended_Pictographic",
         "ideographic": "Ideographic", "joincontrol": "Join_Control"}


def begin(name, what):
    sys.stdout = open(f"src/tokenizer/{name}", "w", encoding="utf-8")
    print(f"/* {name} - {what}; made by tools/make_unicode_prop.py from Unicode 16.0.0; do not edit. */\n#pragma once\n"
          "#include <stdint.h>\n")


def members(pattern):
    return {c for m in regex.finditer(f"(?:{pattern})+", TEXT) for c in ALL[m.start():m.end()]}


def ranges(s):
    """An inversion list: the members are [b0,b1), [b2,b3), ..."""
    out = []
    for c in sorted(s):
        if out and out[-1] == c:
            out[-1] = c + 1
        else:
            out += [c, c + 1]
    return out


def table(name, what, items, ctype="uint32_t"):
    print(f"/* {what} */\nstatic const {ctype} {name}[] = {{")
    line = "\t"
    for it in items:
        if len(line.expandtabs(8)) + len(it) > 107:
            print(line.rstrip())
            line = "\t"
        line += it + ", "
    print(line.rstrip() + "\n};\n")


def hexes(values):
    return [f"0x{v:X}" if v > 9 else str(v) for v in values]


def runs(key, bits):
    out, last = [], None
    for c in range(0x110000):
        k = key(c)
        if k != last:
            out.append(c << bits | k)
            last = k
    return out


cat = {c: ud.category(chr(c)) for c in range(0x110000)}
for g in CATS:
    assert {c for c in ALL if cat[c] == g} == members(r"\p{gc=%s}" % g), g
is_cat = lambda *g: {c for c in ALL if cat[c].startswith(g)}

scripts = {}
for name, v in core.PROPERTIES["SCRIPT"][1].items():
    scripts.setdefault(v, []).append(name.lower())
scripts = sorted((sorted(v, key=lambda s: (-len(s), s)) for v in scripts.values()))
script_of, names = {}, []
for s in scripts:
    got = members(r"\p{Script=%s}" % s[0]) if s[0] != "unknown" else set()
    if not got:
        continue
    names.append(s)
    for c in got:
        script_of[c] = len(names)
assert len(names) < 255

punct, digits, uscripts = pre_tokenizers.Punctuation(), pre_tokenizers.Digits(True), pre_tokenizers.UnicodeScripts()
ref_p = {c for c in ALL if c >= 0x80 and len(punct.pre_tokenize_str(chr(c) + "a")) == 2}
late_p, early_p = {c for c in is_cat("P") if c >= 0x80} - ref_p, ref_p - is_cat("P")
print(f"not P, but punctuation to the reference: {sorted(map(hex, early_p))}", file=sys.stderr)
ref_n = {c for c in ALL if len(digits.pre_tokenize_str(chr(c) + "a")) == 2}
assert ref_n >= is_cat("N")
# UnicodeScripts: the space and what its table lacks have no script; Hiragana, Katakana and U+30FC count as Han
no_script = {c for c in ALL if not uscripts.pre_tokenize_str(chr(c))}
index = {n: i + 1 for i, s in enumerate(names) for n in s}
merged = {index["hiragana"]: index["han"], index["katakana"]: index["han"]}
old_script = lambda c: 0 if c in no_script else index["han"] if c == 0x30FC else merged.get(script_of.get(c, 0), script_of.get(c, 0))
sample = {}
for c in ALL:
    if old_script(c):
        sample.setdefault(old_script(c), chr(c))
moved = {}
for c in ALL:
    if c in no_script:
        continue
    if len(uscripts.pre_tokenize_str(sample.get(old_script(c), "") + chr(c))) != 1 or not old_script(c):
        fit = [k for k, ch in sample.items() if len(uscripts.pre_tokenize_str(ch + chr(c))) == 1]
        assert len(fit) == 1, (hex(c), fit)
        moved[c] = fit[0]
print(f"{len(moved)} characters have another script in the reference's UnicodeScripts", file=sys.stderr)
# simple case folding: classes of characters that match each other without regard to case
fold = {}
for c in ALL:
    fold[c] = regex._regex.get_all_cases(0, c)
pairs = sorted((c, d) for c, ds in fold.items() for d in ds if c != d and not {c, d} & {0x130, 0x131})
# (first, last, step, distance): first..last by step each have a partner at that distance
seq, by = [], {}
for c, d in pairs:
    by.setdefault(d - c, []).append(c)
for dist, cs in by.items():
    i = 0
    while i < len(cs):
        j, step = i, 0
        if i + 1 < len(cs) and cs[i + 1] - cs[i] in (1, 2):
            step = cs[i + 1] - cs[i]
            while j + 1 < len(cs) and cs[j + 1] - cs[j] == step:
                j += 1
        seq.append((cs[i], cs[j], step or 1, dist))
        i = j + 1
seq.sort()

alpha, low, up = members(r"\p{Alphabetic}"), members(r"\p{Lowercase}"), members(r"\p{Uppercase}")
assert alpha >= is_cat("L", "Nl") and low >= is_cat("Ll") and up >= is_cat("Lu")
begin("unicode_prop.h", "categories, properties and case")
print("enum uni_cat { " + ", ".join("UNI_" + g.upper() for g in CATS) + " };\n")
table("uni_cat_run", "General category: a run begins at entry >> 5.", hexes(runs(lambda c: CATS.index(cat[c]), 5)))
lists = {"other_alpha": ("Alphabetic, but not L or Nl", alpha - is_cat("L", "Nl")), "other_lower": ("Lowercase, but not Ll", low - is_cat("Ll")),
         "other_upper": ("Uppercase, but not Lu", up - is_cat("Lu")), "late_p": ("P, but not to the reference's Punctuation (an older table)", late_p),
         "early_p": ("Not P, but punctuation to the reference's", early_p),
         "late_n": ("Not N, but numeric to the reference's Digits (a newer table)", ref_n - is_cat("N"))}
for n, (what, s) in lists.items():
    table("uni_" + n, what + ": the characters [b0,b1), [b2,b3), ...", hexes(ranges(s)))
known = []
for n, full in PROPS.items():
    s = members(r"\p{%s}" % full)
    if n == "whitespace":
        assert s == WHITE
    known.append(n)
    table("uni_is_" + n, f"{full}: [b0,b1), [b2,b3), ...", hexes(ranges(s)))
print("static const struct { const char *name; const uint32_t *b; uint32_t n; } uni_prop[] = {")
for n in known:
    print(f'\t{{ "{n}", uni_is_{n}, sizeof uni_is_{n} / 4 }},')
print("};\n")
print("enum { UNI_N_FOLD = %d };                                  /* as many characters have a partner, all told */" % len(pairs))
print("/* The characters first, first + step, ..., last are each the same as the one at `distance`, case aside. */\n"
      "static const struct { uint32_t first, last; int32_t step, distance; } uni_fold[] = {")
line = "\t"
for f in seq:
    it = "{ 0x%X, 0x%X, %d, %d }, " % f
    if len(line.expandtabs(8)) + len(it) > 109:
        print(line.rstrip())
        line = "\t"
    line += it
print(line.rstrip() + "\n};")
begin("unicode_script.h", "scripts")
table("uni_script_run", "Script: a run begins at entry >> 8 and has the script entry & 255 of uni_script_name, counted from 1; 0: none.",
      hexes(runs(lambda c: script_of.get(c, 0), 8)))
print("/* Their names, lower case without spaces, - and _; all names of one script on one line. */\n"
      "static const char uni_script_name[] =")
for i, s in enumerate(names):
    print('\t"' + " " + " ".join(s) + ' \\n"' + (";" if i + 1 == len(names) else ""))
print()
table("uni_no_script", "Of the characters with a script, those that the reference's UnicodeScripts (an older table) has in none: [b0,b1), ...",
      hexes(ranges(no_script & set(script_of))))
print("/* Those that it has elsewhere: character, script.  (Kana count as Han there besides.) */\n"
      "enum { UNI_HAN = %d, UNI_HIRAGANA = %d, UNI_KATAKANA = %d };" % (index["han"], index["hiragana"], index["katakana"]))
print("static const struct { uint32_t cp; int script; } uni_moved[] = {")
for c, k in sorted(moved.items()):
    print("\t{ 0x%X, %d }, /* %s */" % (c, k, names[k - 1][0]))
print("};")
print(f"{len(names)} scripts, {len(seq)} folds, {len(pairs)} pairs", file=sys.stderr)
