#!/usr/bin/env python3
"""Writes tests/fixtures/tok/norm.json and decoder.json: what the `tokenizers` library makes of texts and token lists.

Needs: pip install tokenizers.  Usage: tools/gold_norm.py
Each case is a spec, and inputs with the reference's answers."""
import json
import os
import random
from tokenizers import Tokenizer

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "fixtures", "tok")
R = random.Random(4)


def pipeline(normalizer, decoder, vocab=("a",)):
    return Tokenizer.from_str(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": normalizer,
        "pre_tokenizer": None, "post_processor": None, "decoder": decoder,
        "model": {"type": "WordLevel", "vocab": {v: i for i, v in enumerate(vocab)}, "unk_token": vocab[0]}}))


def charsmap():
    """Rules a -> X, ab -> (nothing), é -> e, as darts-clone lays them out: 256 units, root's children at 1 ^ label."""
    import base64
    import struct
    unit = {0: 1 << 10 | 0}
    text = b"X\0\0e\0"

    def node(at, label, leaf, base):
        unit[at] = (at ^ base) << 10 | (0x100 if leaf else 0) | label

    node(1 ^ 0x61, 0x61, True, 0x80)
    unit[0x80] = 1 << 31 | 0
    node(0x80 ^ 0x62, 0x62, True, 0x90)
    unit[0x90] = 1 << 31 | 2
    node(1 ^ 0xC3, 0xC3, False, 0x40)
    node(0x40 ^ 0xA9, 0xA9, True, 0xA0)
    unit[0xA0] = 1 << 31 | 3
    blob = struct.pack("<I", 1024) + struct.pack("<256I", *[unit.get(i, 0) for i in range(256)]) + text
    return base64.b64encode(blob).decode()


def bert(c, h, s, l):
    return {"type": "BertNormalizer", "clean_text": c, "handle_chinese_chars": h, "strip_accents": s, "lowercase": l}


def replace(kind, pattern, content):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def seq(*steps, key="normalizers"):
    return {"type": "Sequence", key: list(steps)}


NORMS = [{"type": t} for t in "NFC NFD NFKC NFKD Lowercase StripAccents Nmt ByteLevel".split()]
NORMS += [bert(c, h, s, l) for c, h, s, l in ((True, True, None, True), (True, True, None, False),
          (False, False, True, False), (True, False, False, True), (False, True, True, True))]
NORMS += [{"type": "Strip", "strip_left": a, "strip_right": b} for a, b in ((True, True), (True, False), (False, True))]
NORMS += [{"type": "Prepend", "prepend": "▁"}, replace("String", " ", "▁"), replace("String", "aa", "b"),
          replace("String", "", "-"), replace("Regex", "\\s+", " "), replace("Regex", "b*", "_"),
          replace("Regex", "a", ""), {"type": "Precompiled", "precompiled_charsmap": charsmap()},
          seq({"type": "Prepend", "prepend": "▁"}, replace("String", " ", "▁")),
          seq({"type": "NFD"}, seq({"type": "Lowercase"}, {"type": "StripAccents"})), seq()]
POOLS = ["aAbB  .\t\n", "\u0301\u0323\u0334\u0345\u0307\u0344", "éÉİſßẞΣςÅ\u1e9b\u00c5", "가각\u1100\u1161\u11a8한",
         "日本語\uf900\u3400", "ﬁ①㍿ｶﾞ\ufdfa", "\u0000\u0085\u00a0\u200b\u200d\ufeff\ufffd\u2028\u3000▁",
         "\u0915\u094d\u0915\u093c\u0958", "\U0001f600\U0001f468\u200d\U0001f469", "\U000105d2\u0307\U00011935\U00011930",
         "\u302e\u302f\u1b44\U0001d165\U0001d16d", "".join(chr(R.choice((R.randrange(0x80, 0xD800),
                                                           R.randrange(0xE000, 0x30000)))) for _ in range(400))]


def text():
    sub = R.sample(POOLS, R.choice((1, 2, 3)))
    return "".join(R.choice(R.choice(sub)) for _ in range(R.choice((0, 1, 2, 4, 8, 16, 30))))


TEXTS = [text() for _ in range(90)] + ["", " ", "Hello, World!", "e\u0301", "\u0301a", "a\u0301\u0323" * 20]
VOCAB = ["a", "b", "Hello", "▁", "▁a", "▁▁", "▁the", "##s", "##", " ", "  ", " a", ".", " ?", "'", " ' ", "n't", "'m",
         " do not", "</w>", "a</w>", "a</w>b</w>", "<pad>", "|", "a|b", "aab", "", "é", "日本", "Ġ", "Ġa", "Ċ", "Ã©",
         "Ã", "©", "æĹ¥", "æĹ", "¥", "ðŁĺ", "Ģ", "</s>", "é é", "ÿ", "<0x41>", "<0xE4>", "<0xB8>", "<0xAD>", "<0xF0>",
         "<0x9F>", "<0xc3>", "<0xA9>", "<0xGG>", "<0x+1>", "<0xED>", "<0xA0>", "<0x20>"]
BL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
BF, FUSE = {"type": "ByteFallback"}, {"type": "Fuse"}


def strip(c, a, b):
    return {"type": "Strip", "content": c, "start": a, "stop": b}


def ctc(c):
    return {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": c}


def mark(scheme):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}


def dseq(*steps):
    return seq(*steps, key="decoders")


DECS = [None, BL, BF, FUSE, mark("always"), mark("first"), mark("never"), ctc(True), ctc(False),
        {"type": "WordPiece", "prefix": "##", "cleanup": True}, {"type": "WordPiece", "prefix": "##", "cleanup": False},
        {"type": "BPEDecoder", "suffix": "</w>"}, {"type": "BPEDecoder", "suffix": ""}, strip("a", 1, 0),
        dseq(replace("String", "▁", " "), BF, FUSE, strip(" ", 1, 0)), dseq(replace("String", "▁", " "), BF, FUSE),
        dseq(FUSE, strip(" ", 1, 1), replace("String", "aab", "x")), dseq(FUSE, replace("String", "a</w>", "")),
        dseq(BL, {"type": "WordPiece", "prefix": "##", "cleanup": True}), dseq(FUSE, ctc(True)), dseq(FUSE, mark("first")),
        dseq(BF, {"type": "WordPiece", "prefix": "##", "cleanup": True}), replace("Regex", "[ab]+", "_"), dseq()]


def ids():
    sub = R.sample(range(len(VOCAB)), R.choice((3, 10, len(VOCAB))))
    if R.random() < .3:
        sub = [i for i, v in enumerate(VOCAB) if v.startswith("<0x")] + [0]
    return [R.choice(sub) for _ in range(R.choice((0, 1, 2, 3, 5, 10, 20)))]


def answer(f, x):
    try:
        return f(x)
    except BaseException:  # the library panics on some (Strip of an empty token)
        return None


cases = []
for spec in NORMS:
    f = pipeline(spec, None).normalizer.normalize_str
    cases.append({"spec": spec, "out": [answer(f, t) for t in TEXTS]})
with open(os.path.join(OUT, "norm.json"), "w") as o:
    json.dump({"in": TEXTS, "cases": cases}, o, ensure_ascii=True, separators=(",", ":"))
cases = []
for spec in DECS:
    t = pipeline(None, spec, VOCAB)
    lists = [x for x in (ids() for _ in range(60))]
    cases.append({"spec": spec, "in": lists, "out": [answer(lambda x: t.decode(x, skip_special_tokens=False), x) for x in lists]})
with open(os.path.join(OUT, "decoder.json"), "w") as o:
    json.dump({"vocab": VOCAB, "cases": cases}, o, ensure_ascii=True, separators=(",", ":"))
