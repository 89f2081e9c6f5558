#!/usr/bin/env python3
"""Small tokenizer.json files of every model type, trained by the `tokenizers` library, and what it makes of texts:
tests/fixtures/tok/hf/NAME.json and NAME.gold (tests/tokenizer/test_hf_json.c), and smaller ones as seeds of fuzz-hfjson.
usage: gold_hfjson.py [n-texts [seed [folder]]]"""
import json
import os
import random
import sys

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers)

PART = 1  # of the vocabulary: the seeds are smaller
CORPUS = """The quick brown fox jumps over the lazy dog. It isn't what they've said: we'll see, won't we? 12 345 6789 times!
def main(argc, argv):\n    return [x ** 2 for x in range(10) if x % 2 == 0]  # even\n\tprintf("%d\\n", value);
Die Größe der Straße läßt zu wünschen übrig; Äpfel, Öl und Übermut. Où est la bibliothèque? L'été dernier, ça va bien.
Съешь же ещё этих мягких французских булок, да выпей чаю. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.
東京は日本の首都です。今日は天気がいいですね。敏捷的棕色狐狸跳过了懒狗。안녕하세요 세계 여러분
नमस्ते दुनिया السلام عليكم שלום עולם 😀 👩‍👩‍👧 🇩🇪 https://example.com/a?b=c&d=%20 <html> </html> {"key": [1, 2.5e-3, null]}
the of and to in that is was he for it with as his on be at by this had not are but from or have an they which one you were
""".split("\n") * 4
PIECES = ["the ", "quick", " brown", "isn't", "Größe", "bibliothèque", "Съешь", "ψυχο", "東京", "は", "안녕", "नमस्ते", "السلام", "😀",
          "👩‍👩‍👧", "e\u0301", "\u00c5", "\u1e9b\u0323", "\ufb01", "½", "①", "  ", "   ", " ", "\n", "\t", "\r\n", "\u3000", "\u00a0", "▁", "▁▁",
          "12", "3456", "7", "!", "...", "<s>", "</s>", "<unk>", "[CLS]", "[MASK]", "<mask>", "<think>", "Foo", "foo", "FOO", "bar", "_",
          "<0x41>", "##ing", "zzz", "\u0000", "\ufffd", "'ll", "'LL", "a", "B", "ß", "İ", "ǅ", "\u200d", "\u2028", "x" * 40, "#version"]


def added(t, specials=("<s>", "</s>")):
    """Added tokens of every flag beside the special ones."""
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in specials])
    t.add_tokens([AddedToken("<think>", normalized=False), AddedToken("Foo", normalized=True), AddedToken("bar", single_word=True, normalized=False),
                  AddedToken("▁▁", normalized=False), AddedToken("\u00c5", normalized=True)])
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True),
                          AddedToken("zzz", rstrip=True, normalized=True, special=True)])


def byte_level():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=500 // PART, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    added(t)
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<s> $A </s> <s>", pair="<s> $A </s> $B", special_tokens=[("<s>", t.token_to_id("<s>")), ("</s>", t.token_to_id("</s>"))])])
    return t


def spm_like():
    """As llama 2: no pre-tokenizer, bytes for what is unknown."""
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    t.train_from_iterator(CORPUS[:3] * 4, trainers.BpeTrainer(vocab_size=600 // PART, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)]))
    j = json.loads(t.to_str())
    j["added_tokens"] = [a for a in j["added_tokens"] if not a["content"].startswith("<0x")]
    j["pre_tokenizer"] = None
    t = Tokenizer.from_str(json.dumps(j))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    added(t)
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    return t


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t.train_from_iterator(CORPUS, trainers.UnigramTrainer(vocab_size=400, show_progress=False, unk_token="<unk>", special_tokens=["<unk>", "<s>", "</s>"]))
    added(t)
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B", special_tokens=[("</s>", 2)])
    return t


def word_piece():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=500 // PART, show_progress=False, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    added(t)
    t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return t


def word_level():
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.normalizer = normalizers.Lowercase()
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(CORPUS, trainers.WordLevelTrainer(vocab_size=200 // PART, show_progress=False, special_tokens=["<s>", "</s>", "[UNK]"]))
    added(t)
    t.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return t


def suffix():
    """As CLIP, written as old files are: no type, merges in one string, any order, holes beyond the last id."""
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=False))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    t.decoder = decoders.BPEDecoder("</w>")
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=500 // PART, show_progress=False, special_tokens=["<unk>"], end_of_word_suffix="</w>"))
    j = json.loads(t.to_str())
    m = j["model"]
    del m["type"]
    m["merges"] = ["#version: 0.2"] + [" ".join(p) for p in m["merges"]]
    m["vocab"] = dict(sorted(m["vocab"].items(), key=lambda kv: random.Random(kv[1]).random()))
    return Tokenizer.from_str(json.dumps(j)), json.dumps(j, ensure_ascii=True)


def prefix():
    t = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=500 // PART, show_progress=False, special_tokens=["<unk>"], continuing_subword_prefix="##"))
    added(t)
    return t


def holes():
    """A vocabulary with holes, escapes and an added token inside it; the model has no type."""
    j = {"version": "1.0", "added_tokens": [dict(id=9, content="a b", single_word=False, lstrip=False, rstrip=False, normalized=False, special=False),
                                            dict(id=10, content="a b", single_word=False, lstrip=False, rstrip=True, normalized=False, special=True),
                                            dict(id=2, content="quote\"\n", single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)],
         "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
         "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"},
         "pre_tokenizer": {"type": "WhitespaceSplit"}, "normalizer": None, "decoder": None, "post_processor": None,
         "model": {"vocab": {"the": 4, "\u00e9\u0000": 3, "quick": 1, "x\\y": 7, "<u>": 0, "😀": 6, "a b": 9, "\u2028": 12}, "unk_token": "<u>"}}
    text = json.dumps(j)
    t = Tokenizer.from_str(text)
    t.no_truncation()
    t.no_padding()
    return t, text


MADE = {f.__name__: f for f in (byte_level, spm_like, unigram, word_piece, word_level, suffix, prefix, holes)}


def main():
    n, seed = int(sys.argv[1]) if len(sys.argv) > 1 else 60, int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder = sys.argv[3] if len(sys.argv) > 3 else "tests/fixtures/tok/hf"
    rnd = random.Random(seed)
    os.makedirs(folder, exist_ok=True)
    for name, make in MADE.items():
        t = make()
        t, text = t if isinstance(t, tuple) else (t, t.to_str(pretty=name == "word_piece"))
        rows = []
        for _ in range(n):
            s = "".join(rnd.choices(PIECES, k=rnd.randint(0, 8)))
            special, add = rnd.random() < 0.7, rnd.random() < 0.5
            t.encode_special_tokens = not special
            ids = t.encode(s, add_special_tokens=add).ids
            rows.append([s, special, add, ids, t.decode(ids, skip_special_tokens=False), t.decode(ids)])
        with open(f"{folder}/{name}.json", "w", encoding="utf-8") as f:
            f.write(text)
        with open(f"{folder}/{name}.gold", "w", encoding="utf-8") as f:
            f.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=True, separators=(",", ":")) for r in rows) + "\n]\n")
    if len(sys.argv) > 3:
        return
    global PART
    PART = 8
    os.makedirs("tests/fuzz/corpus/hfjson", exist_ok=True)
    for name, make in MADE.items():
        t = make()
        with open(f"tests/fuzz/corpus/hfjson/{name}", "w", encoding="utf-8") as f:
            f.write(t[1] if isinstance(t, tuple) else t.to_str())


main()
