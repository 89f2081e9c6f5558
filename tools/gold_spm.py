#!/usr/bin/env python3
"""Small SentencePiece models of all four kinds, and what the sentencepiece package makes of texts with them:
tests/fixtures/spm/NAME.model and NAME.json.   python3 tools/gold_spm.py   (needs sentencepiece)

NAME.json: {"encode": [[text, ids, decode(ids)], ...], "decode": [[ids, text], ...], "special": [[text, ids], ...]}.
"special": control symbols written in the text stand for themselves, each piece between them is a text of its own, as
transformers' tokenizers over sentencepiece do it."""
import io, json, os, random, re
import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as model_pb2

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, "tests/fixtures/spm")
TEXT = open(os.path.join(ROOT, "tests/e2e/text.txt"), encoding="utf-8").read() + """
The quick brown fox jumps over the lazy dog. Die Straße führt über die Brücke, naïve café, élève, ﬁn, ① ② ③ ½ ﬀ.
Съешь же ещё этих мягких французских булок, да выпей чаю. 机械学習は楽しい。 我能吞下玻璃而不伤身体。 안녕하세요 세계.
def f(x): return x + 1  # comment\tand tab    and    spaces 12345 67 890 3.14159 a1b2c3
abababab abcabc ab ab ba <sep> hello world <sep> hello again, hello hello hello world world new world
"""
RULES = "\n".join(f"{a}\t{b}" for a, b in [
    ("2460", "31"), ("2461", "32"), ("FB01", "66 69"), ("FB00", "66 66"), ("FB00 69", "66 66 69"), ("00A0", "20"), ("3000", "20"), ("9", "20"),
    ("41", "61"), ("42", "62"), ("48", "68"), ("54", "74"), ("65 301", "E9"), ("200B", ""), ("2026", "2E 2E 2E"), ("20AC", "20 65 75 72 20")])

# what is trained: kind, size and everything that a file can say
MODELS = {
    "uni": dict(model_type="unigram", vocab_size=300, rules=True, user_defined_symbols=["<sep>", "ab", "①"], control_symbols=["<ctl>"]),
    "uni_bytes": dict(model_type="unigram", vocab_size=520, byte_fallback=True, remove_extra_whitespaces=False, pad_id=3, user_defined_symbols=["\n"]),
    "uni_suffix": dict(model_type="unigram", vocab_size=260, treat_whitespace_as_suffix=True, unk_surface="?"),
    "uni_bare": dict(model_type="unigram", vocab_size=260, add_dummy_prefix=False, rules=True, edit="escape unused"),
    "bpe_llama": dict(model_type="bpe", vocab_size=560, byte_fallback=True, remove_extra_whitespaces=False, split_digits=True,
                      allow_whitespace_only_pieces=True, user_defined_symbols=["<x>"]),
    "bpe_gemma": dict(model_type="bpe", vocab_size=620, byte_fallback=True, add_dummy_prefix=False, remove_extra_whitespaces=False,
                      bos_piece="<bos>", eos_piece="<eos>", pad_piece="<pad>", pad_id=0, eos_id=1, bos_id=2, unk_id=3,
                      control_symbols=["<start_of_turn>"], user_defined_symbols=["\n", "\n\n", "▁▁", "▁▁▁", "<h1>", "ab", "abc"]),
    "bpe_unk": dict(model_type="bpe", vocab_size=300, rules=True, user_defined_symbols=["<sep>", "ffi", "A"], edit="unused"),
    "word": dict(model_type="word", vocab_size=120, user_defined_symbols=["<sep>"]),
    "word_bytes": dict(model_type="word", vocab_size=380, byte_fallback=True, remove_extra_whitespaces=False),
    "char": dict(model_type="char", vocab_size=90, user_defined_symbols=["<sep>", "ab"]),
}
PIECES = ["hello", "world", " ", "  ", "   ", "\n", "\n\n", "\t", "a", "b", "ab", "abc", "ba", "<sep>", "<x>", "<h1>", "<ctl>", "<s>", "</s>", "<unk>",
          "<0x41>", "①", "②", "ﬁ", "ﬀi", "ﬀ", "é", "e\u0301", "\u00a0", "\u3000", "\u200b", "…", "€", "12", "3.14", "Straße", "机械", "안녕", "😀", "👩‍👩‍👧",
          "▁", "▁▁", "▁▁▁", "A", "B", "The", "T", "!", "ffi", "\u0000", "\ufffd", "\ud7ff", "\U0010ffff", "x" * 40, "булок", "я", "<bos>", "<start_of_turn>"]


def edited(blob, how):
    """What training does not make: spaces that stay spaces, pieces out of use."""
    m = model_pb2.ModelProto.FromString(blob)
    m.normalizer_spec.escape_whitespaces = "escape" not in how
    if "unused" in how:
        for i in [i for i, p in enumerate(m.pieces) if p.type == 1 and len(p.piece) > 2][::7]:
            m.pieces[i].type = 5
    return m.SerializeToString()


def train(name, rules=False, edit="", **kw):
    path = os.path.join(OUT, name)
    tsv = "/tmp/gold_spm.tsv"
    if rules:
        open(tsv, "w").write(RULES + "\n")
        kw["normalization_rule_tsv"] = tsv
    else:
        kw["normalization_rule_name"] = "identity"
    blob = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter(TEXT.split("\n")), model_writer=blob, hard_vocab_limit=False, character_coverage=0.98,
                                   num_threads=1, minloglevel=2, **kw)
    open(path + ".model", "wb").write(edited(blob.getvalue(), edit))


def texts(rng):
    out = ["", " ", "  ", "a", " a", "a ", "Hello world", "  two  spaces  ", "\n", "▁", " ▁ ", "a\u0000b"] + [p for p in PIECES]
    lines = [l for l in TEXT.split("\n") if l.strip()]
    out += [l[:160] for l in rng.sample(lines, min(12, len(lines)))]
    while len(out) < 130:
        out.append("".join(rng.choice(PIECES) if rng.random() < .7 else rng.choice(TEXT) for _ in range(rng.randint(1, 14))))
    return out


def gold(name):
    p = spm.SentencePieceProcessor(model_file=os.path.join(OUT, name + ".model"))
    rng = random.Random(name)
    enc = [[t, i, p.decode(i)] for t in texts(rng) for i in [p.encode(t)]]
    dec = []
    for _ in range(60):
        ids = [rng.randrange(p.get_piece_size()) for _ in range(rng.randint(0, 9))]
        if rng.random() < .5:
            ids = [p.unk_id() if rng.random() < .15 else i for i in ids]
        if p.is_byte(p.piece_to_id("<0x41>")) and rng.random() < .6:
            raw = rng.choice(["é", "机", "😀", "a"]).encode() + (b"\xff" if rng.random() < .3 else b"")
            at = rng.randint(0, len(ids))
            ids[at:at] = [p.piece_to_id("<0x%02X>" % b) for b in raw[:rng.randint(1, len(raw))]]
        dec.append([ids, p.decode(ids)])
    control = [p.id_to_piece(i) for i in range(p.get_piece_size()) if p.is_control(i) or p.is_unknown(i)]
    cut = re.compile("(" + "|".join(map(re.escape, sorted(control, key=len, reverse=True))) + ")")
    special = []
    for _ in range(30):
        t = "".join(rng.choice(PIECES + control * 3) for _ in range(rng.randint(1, 9)))
        ids = []
        for part in cut.split(t):
            ids += [p.piece_to_id(part)] if part in control else p.encode(part)
        special.append([t, ids])
    info = {"n": p.get_piece_size(), "unk": p.unk_id(), "bos": p.bos_id(), "eos": p.eos_id(), "pad": p.pad_id()}
    with open(os.path.join(OUT, name + ".json"), "w", encoding="utf-8") as f:
        json.dump({"roles": info, "encode": enc, "decode": dec, "special": special}, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    for name, kw in MODELS.items():
        train(name, **kw)
        gold(name)
        print(name, os.path.getsize(os.path.join(OUT, name + ".model")), os.path.getsize(os.path.join(OUT, name + ".json")))
