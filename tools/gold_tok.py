#!/usr/bin/env python3
"""Goldens of the tokenizer, from the `tokenizers` library (and `sentencepiece`, which must agree with it).

Usage: tools/gold_tok.py [models]   with SmolLM2-135M-Instruct.Q4_1.gguf and gemma-3-270m-q4_k_m.gguf in `models`
Needs: pip install tokenizers gguf; sentencepiece protobuf for the cross-check (skipped with a note without them).
Writes tests/fixtures/tok/: *.json, one case per line, and tiny_*.gguf, small vocabularies trained here.

 real and tiny: {"t": text, "i": ids, special tokens parsed, "p": ids, special tokens plain text (if different)}
                {"d": ids, "t": decoded, "s": decoded without special tokens (if different)}
 split.json:    {"t": text}, then {"pre": name, "n": [[byte lengths of the words of text 0], ...]}
 nfc.json:      {"t": text, "n": NFC(text)}
"""
import json
import os
import random
import sys

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

OUT = "tests/fixtures/tok"
MODELS = sys.argv[1] if len(sys.argv) > 1 else "models"
LONG = 400          # characters of the repeated runs
rng = random.Random(7)

SCRIPTS = """The quick brown fox jumps over the lazy dog.|Příliš žluťoučký kůň úpěl ďábelské ódy|Zażółć gęślą jaźń
Съешь же ещё этих мягких французских булок|Ξεσκεπάζω την ψυχοφθόρα βδελυγμία|Ὀδυσσεύς ᾿Αθῆναι ᾳῃῳ|שָׁלוֹם עולם|مرحبا بالعالم ١٢٣
नमस्ते दुनिया क्षत्रिय १२३|বাংলা ভাষা|ਪੰਜਾਬੀ|ગુજરાતી|தமிழ் மொழி|తెలుగు|ಕನ್ನಡ|മലയാളം|සිංහල|ภาษาไทย สวัสดีครับ|ພາສາລາວ|བོད་ཡིག|မြန်မာဘာသာ|ქართული ᲥᲐᲠᲗᲣᲚᲘ
አማርኛ|ᏣᎳᎩ ꮳꮃꭹ|ᠮᠣᠩᠭᠣᠯ|ភាសាខ្មែរ|汉字漢字 简体中文，标点。|日本語 ひらがな カタカナ ﾊﾝｶｸ ガギグ|한국어 한글 ㄱㄴㄷ|한글|𠀀𠮷𪚥|𝕳𝖊𝖑𝖑𝖔 𝟙𝟚𝟛
ᚠᛇᚻ|𐌰𐌱|𓀀𓁐|𞤀𞤢𞤣|ⰀⰁⰂ|ꙀꙁꚀ|Ⅷ ⅷ ① ② ½ ¾ ² ³ ⁵ ㊿ 〇 〡 ௧ ೧|ﬀ ﬁ ﬃ ſ ſt ﬆ ẞ ß İ ı ǅ ǈ ǲ ʰ ᵃ ⁿ|äöü ÄÖÜ é é ñ ñ Å Å Å|Việt Nam Việt Nam tiếng Việt
ಠ_ಠ ツ ¯\\_(ツ)_/¯ ʕ•ᴥ•ʔ|ﷺ ﷽ ۞ ۩|℃ ℉ № ™ ℠ © ® € £ ¥ ₿ ¢|→ ← ⇒ ∀∃∈∉∑∏√∞≠≤≥±×÷|█▓▒░ ╔═╗ ▲△▼▽|“quotes” ‘single’ «guillemets» „low“ … — – ‐ ‑ ‒ ⸺ ⹜"""
EMOJI = ["😀😁😂", "👍🏽👍🏿", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷🇯🇵", "❤️❤", "1️⃣2️⃣#️⃣", "👩🏾‍🚀 in space", "🧑‍🤝‍🧑", "☺️☺︎", "🫠🫡", "🙂🙃"]
CONTR = ["I'm you're he's we'll they've I'd can't", "I'M YOU'RE HE'S WE'LL THEY'VE I'D CAN'T", "'s 't 're 've 'm 'll 'd",
         " 's  'S '' ''s 's's", "it'ſ IT'ſ 'ſ", "don’t it’s", "'sab 'mab 'reab 'veab 'llab 'dab", "'''''", "o'clock rock'n'roll",
         "l'été d'été", "HeLLo'LL hello'Re x'VE", "a'sb'tc'd"]
NUMS = ["0 1 12 123 1234 12345 123456 1234567", "3.14159 1,000,000 1e10 -5 +7", "2024-11-21T12:34:56Z", "0x1F 0b101 1_000", "v1.2.3-rc4",
        "١٢٣٤٥٦ ۱۲۳ १२३४", "１２３４", "𝟎𝟏𝟐𝟑", "12²³ x² H₂O 5½", "ⅠⅡⅢⅣ", "a1b2c3 1a2b3c", "100% $5.00 €20 50°C", "1 2  3   4    5", "007"]
SPACES = [" ", "  ", "   ", "    x", "x    ", " x ", "  x  y  ", "\t", "\t\t", "\tx\ty", "\n", "\n\n", "\n\n\n", "a\nb", "a\n\nb", "a \n b", "a\n \nb",
          "a  \n\n  b", "\r\n", "a\r\nb\r\n", "\r", "a\rb", "\r\n\r\n", " \r\n ", "\v\f", "a\vb\fc", "\u00a0", "a\u00a0b", "\u00a0\u00a0a", "\u1680x",
          "\u2000\u2001\u2002\u2003", "a\u2009b", "\u2028x\u2029", "\u202fx", "\u205f", "\u3000\u3000x", "a\u3000b", "\u200b", "a\u200bb", "\ufeffBOM",
          "\u180e x", "\x1c\x1d\x1e\x1f", "\x85x", " \x85 ", "   \n   \t  \r ", "x \n", "x\n ", "\n x", " \n\n\n x", "  \t  \t  ", "a\t b \tc",
          "\u2060\u00ad", "def f():\n    return 1\n", "\n    \n        x"]
CTRL = ["\x00", "a\x00b", "\x01\x02\x03", "\x07\x08\x1b[31mred\x1b[0m", "\x7f", "\x80\x81", "\x9f", "\ue000\uf8ff", "\ufffe\uffff", "\U0010ffff", "\ufffd",
        "\u0301", "a\u0301\u0302\u0323", "\u0323\u0301a", "\u200d", "\u200e\u200f\u202a\u202e", "\u0378\u0379", "\U000e0041", "\u1ab0x", "\u20dd"]
CODE = ["int main(void)\n{\n\treturn 0;\n}\n", "for (int i = 0; i < n; i++) { a[i] += b[i] * 2; }", "def __init__(self, *args, **kwargs):", "x = {'a': [1, 2, 3]}",
        "<html><body><p class=\"x\">Hi</p></body></html>", "SELECT * FROM t WHERE a='b' AND c<>3;", "https://example.com/a?b=c&d=%20#e", "user@example.org",
        "C:\\Windows\\System32", "/usr/local/bin", "std::vector<std::pair<int,int>>", "a->b->c; p++; !x && y || z", "#include <stdio.h>", "$HOME ${PATH} `ls`",
        "\\frac{a}{b} \\alpha_{i}^{2}", "fn main() { println!(\"{}\", 1); }", "camelCaseWord snake_case_word SCREAMING_CASE kebab-case HTTPServer iOS",
        "{{ jinja }} {% if %}", "/* c */ // d", "--flag=value -x", "a==b!=c<=d>=e", "...", "....", "!!!", "?!?!", "(((())))", "[]{}<>", "@#$%^&*()", "~`|\\",
        "___", "---", "===", "***", "+-*/", "\"\"\"doc\"\"\"", "'\"'\"'"]
MIXED = ["Hello, world!", "Hello  world", "hello", " hello", "HELLO", "Hello世界", "abc123def", "naïve café", "a", "", "Ġ", "ĠĠ", "Ċ", "▁", "▁▁", "▁▁▁", "a▁b", "▁a ▁b", " ▁", "▁ ",
         "▁▁ ▁ ▁▁", "a▁▁b", "<0x0A>", "<0xE2>", "<0x00><0xFF>", "[PAD1]", "[UNK]", "##x", "</w>", "é", "ÃŁ", "Āā", "1st 2nd 3rd", "U.S.A.", "e.g.", "Mr. O'Neil",
         "supercalifragilisticexpialidocious", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababab", "thethethethe", "中文English混合text", "文字1２三",
         "a😀b", "😀 😀", "x\u0301y", "e\u0301", "\u1100\u1161\u11a8", "İstanbul ISTANBUL", "ΑΣ ασ", "ǅungla", "ʼn ŉ", "ª º", "x\u20e3", "A\u030a", "\u212b \u2126 \u212a"]
SPECIAL = ["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|>", "a<|endoftext|>b", " <|im_end|> ", "<|im_start|", "<|im_start|>>", "<<|im_start|>",
           "<|im_start|><|im_start|>", "<repo_name>x<file_sep>y", "<reponame>", "<bos>hi<eos>", "<start_of_turn>user\nHi<end_of_turn>\n", "<bos", "<pad><unk><mask>",
           "<unused0><unused1>x<unused99>", "<unused", "<b>bold</b> <i>it</i>", "<table><tr><td>1</td></tr></table>", "</s><s>", "<h1>x</h1>", "[multimodal]", "<start_of_image>",
           "  <b>  ", "\n<b>\n", "\t\t<u>", "<|start_header_id|>x<|end_header_id|>", "<|im_end|", "x<|im_end|>\n\n<|im_end|>", "<unused6241><unused62411>"]


def corpus():
    out = [s for line in SCRIPTS.split("\n") for s in line.split("|")]
    out += EMOJI + CONTR + NUMS + SPACES + CTRL + CODE + MIXED + SPECIAL
    out += [c * LONG for c in "a1 \n-é中"] + ["ab" * 200, " a" * 200, "a " * 200, "1 " * 100, "\r\n" * 100, "\t " * 100, "😀" * 60, "▁" * 90, "\u0301" * 50]
    out += [" " * n for n in (*range(4, 36), 40, 47, 61, 62, 63, 71)]
    base = [s for s in out if 0 < len(s) < 60]
    for _ in range(120):                                  # neighbours of every kind
        out.append(rng.choice(["", " ", "  ", "\n"]).join(rng.choice(base)[:20] for _ in range(rng.randint(2, 5))))
    chars = list("aAbz09 \n\t\r'.,-_") + ["é", "ß", "中", "ひ", "한", "😀", "\u0301", "²", "٣", "\u00a0", "\u3000", "ǅ", "ʰ", "ſ", "▁", "\u200d", "№", "«"]
    for _ in range(100):
        out.append("".join(rng.choice(chars) for _ in range(rng.randint(1, 24))))
    return list(dict.fromkeys(out))


def write(name, rows):
    with open(f"{OUT}/{name}", "w", encoding="utf-8") as f:
        for r in rows:
            f.write(json.dumps(r, ensure_ascii=True, separators=(",", ":")) + "\n")


def cases(tok, texts, n_vocab, bos=()):
    rows = []
    for t in texts:
        tok.encode_special_tokens = False
        i = list(bos) + tok.encode(t, add_special_tokens=False).ids
        tok.encode_special_tokens = True
        p = list(bos) + tok.encode(t, add_special_tokens=False).ids
        rows.append({"t": t, "i": i} | ({"p": p} if p != i else {}))
    for k in range(150):
        ids = [rng.randrange(n_vocab) for _ in range(rng.randint(1, 10))]
        if k % 3 == 0 and k < len(texts) and rows[k]["i"]:
            ids = rows[k]["i"][:40]
        a, b = tok.decode(ids, skip_special_tokens=False), tok.decode(ids, skip_special_tokens=True)
        rows.append({"d": ids, "t": a} | ({"s": b} if a != b else {}))
    return rows


def field(r, key):
    return r.fields["tokenizer.ggml." + key].contents()


def added(tok, tokens, types):
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k in (2, 3)])
    tok.add_tokens([AddedToken(t, special=False, normalized=False) for t, k in zip(tokens, types) if k == 4])


def byte_level(tokens, types, merges, pre, norm=None, ignore_merges=False):
    tok = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges], ignore_merges=ignore_merges))
    tok.pre_tokenizer, tok.decoder = pre, decoders.ByteLevel()
    if norm:
        tok.normalizer = norm
    added(tok, tokens, types)
    return tok


def merges_of(tokens, rank):
    """The pairs that make a token, by its rank, longer left part first, as transformers converts SentencePiece models."""
    ids, out = {t: i for i, t in enumerate(tokens) if i in rank}, []
    for t, i in ids.items():
        out += [(rank[i], -k, -(len(t) - k), t[:k], t[k:]) for k in range(1, len(t)) if t[:k] in ids and t[k:] in ids]
    return [(a, b) for *_, a, b in sorted(out)]


def spm(tokens, types, scores, prefix):
    tokens = [t.replace(" ", "\u2581") if k == 4 else t for t, k in zip(tokens, types)]
    # user-defined symbols are never split by SentencePiece: they come first
    rank = {i: (0, 0.0) if k == 4 else (1, -s) for i, (k, s) in enumerate(zip(types, scores)) if k in (1, 4)}
    tok = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges_of(tokens, rank), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    rep = normalizers.Replace(" ", "\u2581")
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), rep]) if prefix else rep
    tok.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()] + ([decoders.Strip(" ", 1, 0)] if prefix else []))
    added(tok, tokens, types)
    return tok


def sentencepiece_agrees(tokens, types, scores, tok, texts, prefix):
    try:
        import sentencepiece
        from sentencepiece import sentencepiece_model_pb2 as pb
    except ImportError:
        print("sentencepiece is not installed: cross-check skipped")
        return
    m = pb.ModelProto()
    for t, k, s in zip(tokens, types, scores):
        m.pieces.add(piece=t.replace(" ", "\u2581") if k == 4 else t, score=s, type={2: 2, 3: 3, 4: 4, 5: 5, 6: 6}.get(k, 1) if t != "<unk>" else 2)
    m.trainer_spec.model_type, m.trainer_spec.byte_fallback = pb.TrainerSpec.BPE, True
    m.trainer_spec.unk_id, m.trainer_spec.bos_id, m.trainer_spec.eos_id, m.trainer_spec.pad_id = list(tokens).index("<unk>"), -1, -1, -1
    n = m.normalizer_spec
    n.name, n.add_dummy_prefix, n.remove_extra_whitespaces, n.escape_whitespaces = "identity", prefix, False, True
    sp = sentencepiece.SentencePieceProcessor(model_proto=m.SerializeToString())
    tok.encode_special_tokens = True
    bad = [t for t in texts if "\0" not in t and "\u2581" not in t and sp.encode(t) != tok.encode(t, add_special_tokens=False).ids]
    print(f"sentencepiece: {len(bad)} of {len(texts)} differ", [(b[:40], len(b)) for b in bad[:8]])


def real(texts):
    r = gguf.GGUFReader(f"{MODELS}/SmolLM2-135M-Instruct.Q4_1.gguf")
    pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokens = field(r, "tokens")
    tok = byte_level(tokens, field(r, "token_type"), field(r, "merges"), pre)
    write("smollm2.json", cases(tok, texts, len(tokens)))
    r = gguf.GGUFReader(f"{MODELS}/gemma-3-270m-q4_k_m.gguf")
    tokens, types, scores = field(r, "tokens"), field(r, "token_type"), field(r, "scores")
    tok = spm(tokens, types, scores, False)
    write("gemma3.json", cases(tok, texts, len(tokens), bos=[2]))
    sentencepiece_agrees(tokens, types, scores, tok, texts, False)


# ---- splits ------------------------------------------------------------------------------------------------------------
APOS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
QWEN = APOS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|NUM| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UP, LO = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = r"[^\r\n\p{L}\p{N}]?" + UP + "*" + LO + "+APOS|" + r"[^\r\n\p{L}\p{N}]?" + UP + "+" + LO + r"*APOS|NUM| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DS_LETTER = ("A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386"
             "\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba"
             "\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d"
             "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"
             "\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184"
             "\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
             "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb"
             "\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943")
RX = lambda *p: [pre_tokenizers.Split(Regex(x), "isolated") for x in p]
DIGIT = pre_tokenizers.Digits(individual_digits=True)
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
SPLITS = {                          # one name of every family; True: pieces are in the byte-level alphabet
    "gpt-2": ([GPT2], True), "smollm": ([DIGIT, GPT2], True),
    "llama-bpe": (RX(QWEN.replace("NUM", r"\p{N}{1,3}")), False), "qwen2": (RX(QWEN.replace("NUM", r"\p{N}")), False),
    "qwen35": (RX(APOS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), False),
    "gpt-4o": (RX(O200K.replace("APOS", APOS + "?").replace("NUM", r"\p{N}{1,3}")), False),
    "tekken": (RX(O200K.replace("APOS", "").replace("NUM", r"\p{N}")), False),
    "deepseek-v3": (RX(r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                       r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""), False),
    "deepseek-coder": (RX(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK) + [DIGIT], False),
    "deepseek-llm": (RX(r"[\r\n]", rf"\s?[{DS_LETTER}]+", "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", CJK) + [DIGIT], False),
    "falcon": ([pre_tokenizers.Punctuation("contiguous"), GPT2, pre_tokenizers.Digits(False)] + RX("[0-9][0-9][0-9]"), True),
    "bloom": (RX(BLOOM), False), "viking": (RX(BLOOM, r"\p{N}"), False),
    "bailingmoe": (RX(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"), False),
    "seed-coder": (RX(QWEN.replace("NUM", r"\p{N}").replace(r" ?[^\s\p{L}\p{N}]+[\r\n]*", r" ?[^\s\p{L}\p{N}\r\n]+")), False),
    "minicpm5": (RX(r"\p{N}{1,3}", QWEN.replace("NUM", r"\p{N}+")), False),
}


def splits(texts):
    texts = [t for t in texts if t and len(t) <= 32] + ["a" * 200, "1" * 100, " " * 100 + "x", "\n" * 50, "!" * 70]
    texts += [chr(c) + "a" + chr(c) + " " + chr(c) for c in PROBES]
    rows = [{"t": t} for t in texts]
    for name, (seq, letters) in SPLITS.items():
        pre = pre_tokenizers.Sequence(seq)
        rows.append({"pre": name, "n": [[len(w) if letters else len(w.encode()) for w, _ in pre.pre_tokenize_str(t)] for t in texts]})
    write("split.json", rows)


# Characters on which tables of other Unicode versions, or other definitions of a class, disagree
PROBES = [0x17F, 0x85, 0xA0, 0x180E, 0x200B, 0xFEFF, 0x1C, 0x1F, 0x2E5C, 0x1C89, 0x10D40, 0x10D4A, 0x1E5D0, 0x11F50, 0x1DF25, 0x323B0, 0xA7CB, 0xA7DD, 0x0C5C,
          0x1B4E, 0x11B60, 0x16EA0, 0x1FADC, 0x1CCF0, 0x2460, 0x2160, 0xB2, 0x3007, 0x0E50, 0x1D7CE, 0x30FB, 0x30FC, 0x3099, 0x3097, 0x212A, 0x2126, 0x1F7D, 0x104D8,
          0x2000, 0x3000, 0x2018, 0xFF1A, 0xD7FF, 0x4E00, 0x9FA5, 0x9FA6, 0x800, 0x5D0, 0x903, 0x20DD, 0x378, 0xE000, 0xFFFD, 0x10FFFF, 0x1F600, 0x200D, 0x24, 0x5F, 0x60, 0x2044, 0x66A]


def nfc(texts):
    n = normalizers.NFC()
    extra = ["a\u0301\u0323b", "\u0344", "\u1fee\u1fef", "\u0958\u095f", "\u1100\u1161\u11a8\u11a8", "\uac00\u11a8", "\u09c7\u09be", "q\u0307\u0323", "\u2126\u212b", "\U0001d15e", "\u0f71\u0f72\u0f74",
             "\ufb1d\ufb2c", "\u00c5\u0327", "a" + "\u0301\u0323" * 40, "\u0340\u0341\u0343", "e\u0301" * 30, "\u1e0a\u0323", "D\u0307\u0323", "\u2adc", "\ufa10\ufa12", "\U0002f800", "\u30ab\u3099", "\u0b47\u0b56\u0b57"]
    for _ in range(200):
        extra.append("".join(rng.choice("aeAo \u0301\u0308\u0323\u0327\u0345\u05b7\u05bc\u3099\u1161\u11a8\u1100\uac00\u0915\u093c\u0307\u1e69\u212b\u0f71\u0f72") for _ in range(rng.randint(1, 12))))
    rows = [(t, n.normalize_str(t)) for t in dict.fromkeys(texts + extra)]
    write("nfc.json", [{"t": a, "n": b} for a, b in rows if a != b or a in extra])


# ---- tiny vocabularies ---------------------------------------------------------------------------------------------------
def tiny_file(name, model, tokens, types, scores=None, merges=None, **keys):
    w = gguf.GGUFWriter(f"{OUT}/tiny_{name}.gguf", "llama")
    w.add_tokenizer_model(model)
    w.add_token_list(tokens)
    w.add_token_types(types)
    if scores is not None:
        w.add_token_scores(scores)
    if merges is not None:
        w.add_token_merges(merges)
    for k, v in keys.items():
        k = "tokenizer.ggml." + k
        (w.add_bool if isinstance(v, bool) else w.add_uint32 if isinstance(v, int) else w.add_string)(k, v)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def tiny(texts):
    train = [open(f, encoding="utf-8").read() for f in ("README.md", "LICENSE", "Makefile") if os.path.exists(f)] + texts
    for name, pre, norm, ignore in (("llama-bpe", "llama-bpe", None, True), ("qwen2", "qwen2", normalizers.NFC(), False), ("falcon", "falcon", None, False)):
        seq, letters = SPLITS[pre]
        seq = pre_tokenizers.Sequence(seq + ([] if letters else [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = seq
        t.train_from_iterator(train, trainers.BpeTrainer(vocab_size=700, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        j = json.loads(t.to_str())["model"]
        tokens = [k for k, _ in sorted(j["vocab"].items(), key=lambda kv: kv[1])]
        merges = [" ".join(m) for m in j["merges"]]
        if ignore:                                          # words that merging alone would not find
            tokens += ["zzq", "\u0120qqz", "\u0120HELLO"]
        types = [1] * len(tokens)
        for s, k in (("<|im_start|>", 3), ("<|im_end|>", 3), ("<think>", 4), ("<|im_start|>x", 4), ("    ", 4), ("[PAD9]", 4), ("</s>", 4)):
            tokens.append(s)
            types.append(k)
        ref = [k if s != "[PAD9]" else 1 for s, k in zip(tokens, types)]
        bos = tokens.index("<|im_start|>")
        tiny_file(name, "gpt2", tokens, types, merges=merges, pre=pre, bos_token_id=bos, eos_token_id=bos + 1)
        tok = byte_level(tokens, ref, merges, seq, norm, ignore)
        extra = ["zzq", " qqz", " HELLO", "zzqq", "<think>a</think>", "<|im_start|>x<|im_start|>y", "a    b     c", "[PAD9]", "</s>", "<think", "\u1e0a\u0323 e\u0301"]
        write(f"tiny_{name}.json", cases(tok, extra + texts[::4], len(tokens), bos=[bos] if pre == "llama-bpe" else []))
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer = normalizers.Replace(" ", "\u2581")
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator(train, trainers.BpeTrainer(vocab_size=600, show_progress=False, limit_alphabet=80))
    vocab = [k for k, _ in sorted(json.loads(t.to_str())["model"]["vocab"].items(), key=lambda kv: (len(kv[0]) == 1, kv[1])) if k != "<unk>"]
    for name, n_byte in (("spm", 256), ("spm_unk", 255)):   # without the byte FF: characters that need it... none in UTF-8
        drop = set() if n_byte == 256 else {0xF0, 0xFF}
        tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256) if b not in drop]
        types = [2, 3, 3] + [6] * (len(tokens) - 3)
        scores = [0.0] * len(tokens) + [-float(i) for i in range(len(vocab))]
        tokens, types = tokens + vocab, types + [1] * len(vocab)
        for s, k in (("  ", 4), ("   ", 4), ("<extra>", 4), ("[PAD700]", 5)):
            tokens.append(s)
            types.append(k)
            scores.append(-1000.0)
        tiny_file(name, "llama", tokens, types, scores=scores, pre="default", bos_token_id=1, eos_token_id=2, unknown_token_id=0)
        tok = spm(tokens, types, scores, True)
        rows = cases(tok, ["a<s>b", "<s>", " <s> a", "<extra>a", "a  b   c    d", "<unk>", "\U00010348\U00010349x\U00010348"] + texts[::4], len(tokens), bos=[1])
        write(f"tiny_{name}.json", rows)
        if not drop:
            sentencepiece_agrees(tokens, types, scores, tok, texts, True)


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    TEXTS = corpus()
    print(len(TEXTS), "strings")
    real(TEXTS)
    splits(TEXTS)
    nfc(TEXTS)
    tiny([t for t in TEXTS if len(t) < 100])
