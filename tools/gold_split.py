#!/usr/bin/env python3
"""Goldens of regular expressions, pre-tokenizers and families, from the `tokenizers` library.

Usage: tools/gold_split.py [llama-vocab.cpp]      Needs: pip install tokenizers
Writes tests/fixtures/split/: texts.json, a list; *.jsonl, one case per line; with the source of llama.cpp given,
also families.txt, the names of tokenizer.ggml.pre that it knows.

 split.jsonl:   {"s": pre_tokenizer} or {"f": family, "b": words are in the byte-level alphabet}, with "h": for every
                text five digits, a hash of its words; or {"s": .., "bad": true}: the reference refuses it
 regex.jsonl:   {"p": pattern, "h": ..}: a hash of the bounds of its matches in every text; or {"p", "bad": true}
 class.jsonl:   {"p": pattern of one class, "n": how many characters match, "h": hash of where they begin and end}, and
                the same for "own": the reference's numbers, punctuation and word characters, and for "script": a
                character, those which UnicodeScripts does not cut from it
"""
import json
import random
import re
import sys

import gold_tok
from tokenizers import Regex, Tokenizer, pre_tokenizers

OUT = "tests/fixtures/split"
rng = random.Random(11)


def fnv(data):
    h = 0x811C9DC5
    for b in data:
        h = (h ^ b) * 0x01000193 & 0xFFFFFFFF
    return h


def letters():
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in own]
    return {chr(b): b for b in own} | {chr(0x100 + i): b for i, b in enumerate(rest)}


LETTER = letters()


def texts():
    base = [t for t in gold_tok.corpus() if 0 < len(t) <= 40]
    rng.shuffle(base)
    out = base[:95] + [chr(c) + "a" + chr(c) + " " + chr(c) for c in gold_tok.PROBES]
    chars = list("aAbzKsS09 1\n\t\r'.,-_!$/<`") + ["é", "ß", "ſ", "K", "İ", "中", "ひ", "カ", "ー", "한", "😀", "\u0301", "²", "٣", "½", "Ⅳ", "\u00a0", "\u3000", "\u2028",
             "ǅ", "ʰ", "▁", "\u200d", "№", "«", "。", "、", "،", "\u2e5c", "\U00010d40", "\U00011de5", "\u0378", "'s", "'ll", "  ", "\r\n", "123", "Hello", " \n"]
    out += ["".join(rng.choice(chars) for _ in range(rng.randint(2, 16))) for _ in range(40)]
    return list(dict.fromkeys(out + ["a" * 50, "1" * 40, " " * 60 + "x", "\n" * 20, "!" * 40, "1234567890 12345", "x1234y", "<sentinel:12>IMGIMGABCZ"]))


TEXTS = texts()


def pre_of(spec):
    model = {"type": "BPE", "vocab": {}, "merges": []}
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "pre_tokenizer": spec, "model": model})).pre_tokenizer


def word_hash(words, byte_letters):
    return "%05x" % (fnv(b"\xff".join(bytes(LETTER[c] for c in w) if byte_letters else w.encode() for w in words)) & 0xFFFFF)


def steps(spec):
    if isinstance(spec, dict) and spec.get("type") == "Sequence":
        return [s for p in spec["pretokenizers"] for s in steps(p)]
    return [spec]


def case(head, spec):
    """`head` with the hashes; words are hashed as bytes where ByteLevel is the last step."""
    try:
        pre = pre_of(spec)
    except Exception:
        return head | {"bad": True}
    byte_letters = steps(spec)[-1:] and steps(spec)[-1]["type"] == "ByteLevel"
    return head | {"h": "".join(word_hash([w for w, _ in pre.pre_tokenize_str(t)], byte_letters) for t in TEXTS)}


def write(name, rows):
    with open(f"{OUT}/{name}", "w", encoding="utf-8") as f:
        for r in rows:
            f.write(json.dumps(r, ensure_ascii=True, separators=(",", ":")) + "\n")


# ---- pre-tokenizers ----------------------------------------------------------------------------------------------------
def seq(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def meta(scheme="always", cut=True, rep="\u2581"):
    return {"type": "Metaspace", "replacement": rep, "prepend_scheme": scheme, "split": cut}


def digits(single):
    return {"type": "Digits", "individual_digits": single}


def punct(behavior="Isolated"):
    return {"type": "Punctuation", "behavior": behavior}


BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def specs():
    t = lambda name, **k: {"type": name, **k}
    yield from [seq(), seq(seq(seq(digits(False)), byte_level(True, False)), seq()), t("Whitespace"), t("WhitespaceSplit"), t("BertPreTokenizer"),
                t("UnicodeScripts"), t("CharDelimiterSplit", delimiter="a"), t("CharDelimiterSplit", delimiter="中"), t("Punctuation"), digits(True), digits(False)]
    yield from [byte_level(p, r) for p in (False, True) for r in (False, True)]
    yield from [t("FixedLength", length=n) for n in (1, 3, 5)] + [t("FixedLength")]
    yield from [punct(b) for b in BEHAVIORS]
    for b in BEHAVIORS:
        for invert in (False, True):
            for p in (r"\s+", r"\p{L}", r"(?=\d)", "a*", ""):
                yield split(p, b, invert)
            for p in ("a", "中", "é.", "'s"):
                yield split(p, b, invert, "String")
    yield from [meta(s, c, r) for s in ("always", "first", "never") for c in (True, False) for r in ("\u2581", "_")]
    yield {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}
    yield {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": False, "prepend_scheme": "never"}
    yield from [seq(t("UnicodeScripts"), meta()), seq(t("WhitespaceSplit"), meta("first")), seq(byte_level(), byte_level(True)), seq(byte_level(True), meta("first")),
                seq(punct(), meta("always", False, "x"), split("x+")), seq(meta("always", False), t("FixedLength", length=3), t("UnicodeScripts"))]
    # what the reference refuses
    yield from [t("Foo"), {}, [], "Split", 1, split("("), split("[a"), split("a", "isolated"), split("a", "Isolated", 1), t("Split", pattern="a", behavior="Isolated", invert=False),
                t("Split", pattern={"Foo": "a"}, behavior="Isolated", invert=False), t("Split", pattern={"Regex": 1}, behavior="Isolated", invert=False),
                t("Split", behavior="Isolated", invert=False), t("Split", pattern={"Regex": "a"}, invert=False), t("Digits"), t("Digits", individual_digits="yes"), t("ByteLevel"),
                t("ByteLevel", add_prefix_space=None, trim_offsets=True), t("Metaspace"), t("Metaspace", replacement="ab"), t("Metaspace", replacement=""),
                t("Metaspace", replacement="a", prepend_scheme="now"), t("Metaspace", replacement="a", add_prefix_space=False, prepend_scheme="always"),
                t("CharDelimiterSplit"), t("CharDelimiterSplit", delimiter="ab"), t("Punctuation", behavior="Gone"), t("FixedLength", length=-1), t("FixedLength", length="3"),
                t("Sequence"), t("Sequence", pretokenizers={}), seq(1), seq(None), seq(seq(t("Foo")))]


# ---- families: what their tokenizer.json says ------------------------------------------------------------------------------
APOS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
QWEN = APOS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
UP, LO = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = rf"[^\r\n\p{{L}}\p{{N}}]?{UP}*{LO}+{APOS}?|[^\r\n\p{{L}}\p{{N}}]?{UP}+{LO}*{APOS}?|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HAN = r"&&[^\p{Han}]]"
KIMI = r"[\p{Han}]+|" + O200K.replace(r"\p{M}]", r"\p{M}" + HAN).replace("[\\r\\n/]*", "[\\r\\n]*")
DS3 = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
MARK = "[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
AFMOE = ("[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f"
         "\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+")
JAIS = "".join(rf"\s{{{n}}}(?!\S)|" for n in ("512", "256", "128", "64", "32", "16", "8", "4", "1,2")) + r"\s{1}"
END = byte_level(False, False)
one = lambda *patterns: seq(*[p if isinstance(p, dict) else split(p) for p in patterns], END)
FAMILIES = {
    "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum jais trillion granite-docling exaone4 jina-v1-en jina-v2-code roberta-bpe mpt olmo modern-bert": byte_level(),
    "starcoder refact smollm codeshell exaone minerva-7b mellum2 command-r": seq(digits(True), byte_level()),
    "tiny_aya cohere2moe": one(r"\d{1,3}(?=(?:\d{3})*\b)", O200K),
    "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe chatglm-bpe glm4 glm5": one(LLAMA3),
    "minicpm5": one(r"\p{N}{1,3}", QWEN.replace(r"|\p{N}|", r"|\p{N}+|")),
    "qwen2 f2llmv2 stablelm2 deepseek-r1-qwen kormo megrez hunyuan solar-open grok-2": one(QWEN),
    "qwen35": one(APOS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
    "gpt-4o kanana2 talkie minimax-m2 llama4 granite-embed-multi-97m": one(O200K),
    "tekken": one(O200K.replace(APOS + "?", "").replace("{1,3}", "")),
    "kimi-k2": one(KIMI),
    "deepseek-v3 hunyuan-dense joyai-llm hy_v4": one(r"\p{N}{1,3}", KANA, DS3),
    "spark2_5": one(r"\p{N}{1,3}", KANA, DS3.replace(r"[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|", r"[\p{P}\p{S}]+|[\r\n]|"), r"\p{N}"),
    "deepseek-coder": one("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", gold_tok.CJK, digits(True)),
    "deepseek-llm": one("[\r\n]", rf"\s?[{gold_tok.DS_LETTER}]+", "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", gold_tok.CJK, digits(True)),
    "youtu": one("[\uac00-\ud7a3\u3131-\u318e]+|" + MARK + "|[\u3105-\u312f]+|" + KANA, O200K.replace("{1,3}", "")),
    "afmoe": one(r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", AFMOE, DS3),
    "falcon": seq(punct("Contiguous"), byte_level(), digits(False), split("[0-9][0-9][0-9]")),
    "default": one(r"[\p{P}$+<=>^~|]+", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", r"\p{N}+", "[0-9][0-9][0-9]"),
    "bloom poro-chat gpt3-finnish": one(BLOOM),
    "viking": one(BLOOM, digits(True)),
    "bailingmoe bailingmoe2 llada-moe": one(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"),
    "seed-coder": one(QWEN.replace(r" ?[^\s\p{L}\p{N}]+[\r\n]*", r" ?[^\s\p{L}\p{N}\r\n]+")),
    "superbpe": one(r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
    "jais-2": one(LLAMA3[:LLAMA3.index(r"\s+(?!")] + JAIS),
    "exaone-moe": one(APOS + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"),
    "laguna": one(r"[^\n]+|[\n]+", QWEN),
    "ufakzeka": one(QWEN[len(APOS) + 1:]),
    "chameleon": seq(split("<sentinel:[0-9]+>"), split("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"), split(r"([\t\n]|    |  )"), digits(True), punct(), byte_level()),
    "whitespace": {"type": "Whitespace"},
    "gemma4 granite-embed-multi-311m sarvam-moe": None,
}


def families():
    for names, spec in FAMILIES.items():
        row = case({}, spec) if spec else {"h": "".join(word_hash([t], False) for t in TEXTS)}
        for name in names.split():
            yield {"f": name, **row} if name == names.split()[0] else {"f": name, "as": names.split()[0]}


# ---- regular expressions ---------------------------------------------------------------------------------------------------
PATTERNS = r"""a{1,2}+ a{2}? a{2}?b a{,2} a{3,1} a{3,1}a a{2}{3} a{2,}+a a{ a{x} a{,} a{1 {2} a** a+? a+?? a?+ a*+a a++a (?:a|b|)*c (a*)* ^a ^\s+ \s+$ a$ a\Z a\z \A. .+ (?m).+ (?x)\ a\ b \h+ \H+ \N+ \O \R \Ga a\Kb
[]a]+ [^]a]+ a] [[a-c]x]+ [a-z&&[^aeiou]]+ [a-c&&b-d]+ [^a-c&&b-d]+ [a-] [-a]+ [+--]+ [a-c-e]+ [a\-z]+ [\d\s]+ [^\d\s]+ [[:alpha:]]+ [[:^alpha:]]+ [:alpha:]+ [[:punct:]]+ [\p{L}&&[^\p{Lu}]]+ [\p{^L}a]+ [\w&&[^\d]]+
\p{^L}+ \P{L}+ \P{^L}+ \pL \p{letter}+ \p{LC}+ \p{White-Space}+ \x41 \x{4e2d} \u4e2d \101 \e \cA \- \é \0 \o{101} a(?i)b|c a(?i:b|c)d (?i:a)b (?-i:a) (?i)s+ (?i)k+ (?i)[^s]+ (?i)é (?i)[\p{Lu}]+ (?i)\p{Lu}+ (?i)[a-z]+ (?i)[^a-z]+
(?<n>a)b (?'n'a)b (?#x)a (?<=a)b (?<=a|bc)x (?<!a)x (?>a+)a (?=a) (?!a) a* x* |a a||b \b \B \b\w+\b \ba \Ba a\b (?:) \w+ \W+ [\w]+ [\W]+ \d+(?!\d) (?=\d{3}) 's|'t|\s (?i:'s|'t|'re|'ve|'m|'ll|'d)
\p{Han}+|\p{Hiragana}+|\p{Katakana}+ [\p{Lu}\p{Lt}]+[\p{Ll}]* \S+\s* [^\r\n] (?:\r\n|\n)+ \s+(?!\S) ( ) (?i [ [] \ * + ? a) [z-a] [a-\d] [\d-a] [[:foo:]] \p{Foo} \p{L&} \p{Script=Han} (?z) (?P<n>a) \u{41} ^* (?=a)* (?<n ) a{100001}"""


def patterns():
    for p in dict.fromkeys(PATTERNS.replace("\n", " ").split(" ")):
        if not p:
            continue
        try:
            pre = pre_tokenizers.Split(Regex(p), "removed", invert=True)
            cut = pre_tokenizers.Split(Regex(p), "isolated")
        except Exception:
            yield {"p": p, "bad": True}
            continue
        # matches, and then where empty ones cut
        spans = [[o for _, o in pre.pre_tokenize_str(t)] + [o for _, o in cut.pre_tokenize_str(t)] for t in TEXTS]
        yield {"p": p, "h": "".join("%05x" % (fnv(b"".join(v.to_bytes(4, "little") for o in s for v in o)) & 0xFFFFF) for s in spans)}


# ---- classes over all characters ----------------------------------------------------------------------------------------------
CATS = "L Lu Ll Lt Lm Lo LC M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co Cn Any Assigned".split()
PROPS = "Alphabetic Uppercase Lowercase White_Space Alnum Alpha Blank Cntrl Digit Graph Lower Print Punct Space Upper XDigit Word ASCII Emoji Emoji_Presentation Emoji_Modifier " \
        "Emoji_Modifier_Base Emoji_Component Extended_Pictographic Ideographic Join_Control PosixPunct".split()
SCRIPTS = "Han Hiragana Katakana Hangul Latin Cyrillic Greek Arabic Hebrew Thai Lao Khmer Myanmar Tibetan Devanagari Bengali Tamil Telugu Georgian Armenian Ethiopic Cherokee Mongolian " \
          "Bopomofo Yi Common Inherited Unknown Garay Tulu_Tigalari Kawi Nko Hani Zzzz Egyptian_Hieroglyphs".split()
POSIX = "alnum alpha ascii blank cntrl digit graph lower print punct space upper xdigit word".split()
FOLDS = [r"(?i)[a-z]", r"(?i)s", r"(?i)k", r"(?i)[\p{Lu}]", r"(?i)[\p{Ll}]", r"(?i)[^\p{Ll}]", r"(?i)\u03b8", r"(?i)[\u0400-\u04ff]", r"(?i)\u1e9e", r"(?i)[\x{10d50}-\x{10d65}\ua7dc]"]


def bounds(members):
    out = []
    for c in members:
        if out and out[-1] == c:
            out[-1] += 1
        else:
            out += [c, c + 1]
    return out


def classes():
    every = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    names = [rf"\p{{{n}}}" for n in CATS + PROPS + SCRIPTS] + [f"[[:{n}:]]" for n in POSIX] + [r"\w", r"\W", r"[\w]", r"[^\w]", r"\s", r"\S", r"\d", r"\D", r"\h", r"."] + FOLDS
    for p in names:
        pre, got = pre_tokenizers.Split(Regex(p), "removed", invert=True), []
        for i in range(0, len(every), 4096):
            part = every[i:i + 4096]
            for _, (a, b) in pre.pre_tokenize_str("".join(map(chr, part))):
                got += part[a:b]
        yield {"p": p, "n": len(got), "h": fnv(b"".join(v.to_bytes(4, "little") for v in bounds(got)))}
    # the reference's own tables
    for name, pre in (("=numeric", pre_tokenizers.Digits(True)), ("=punct", pre_tokenizers.Punctuation())):
        got = [c for c in every if (c >= 0x80 or name == "=numeric") and len(pre.pre_tokenize_str(chr(c) + "a")) == 2]
        yield {"own": name, "n": len(got), "h": fnv(b"".join(v.to_bytes(4, "little") for v in bounds(got)))}
    scripts = pre_tokenizers.UnicodeScripts()
    for base in "a", "\u4e2d", "\u0430", "1":
        got = [c for c in every if len(scripts.pre_tokenize_str(base + chr(c))) == 1]
        yield {"script": base, "n": len(got), "h": fnv(b"".join(v.to_bytes(4, "little") for v in bounds(got)))}
    white = pre_tokenizers.Whitespace()
    got = [c for c in every if len(white.pre_tokenize_str("a" + chr(c))) == 1 and white.pre_tokenize_str(chr(c))]
    yield {"own": "=word", "n": len(got), "h": fnv(b"".join(v.to_bytes(4, "little") for v in bounds(got)))}


def main():
    with open(f"{OUT}/texts.json", "w", encoding="utf-8") as f:
        json.dump(TEXTS, f, ensure_ascii=True, separators=(",", ":"))
    write("split.jsonl", [case({"s": s}, s) for s in specs()] + list(families()))
    write("regex.jsonl", patterns())
    write("class.jsonl", classes())
    if len(sys.argv) > 1:
        names = set(re.findall(r'tokenizer_pre == "([^"]+)"', open(sys.argv[1], encoding="utf-8").read()))
        with open(f"{OUT}/families.txt", "w", encoding="utf-8") as f:
            f.write("\n".join(sorted(names)) + "\n")


main()
