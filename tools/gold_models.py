#!/usr/bin/env python3
"""Goldens of the tokenizer's models (word to ids), from the `tokenizers`, `sentencepiece` and `tiktoken` libraries.

Usage: tools/gold_models.py [OUT [N [SEED]]]     N strings for each case; the committed file is made without arguments
Needs: pip install tokenizers sentencepiece protobuf tiktoken
Writes JSON lines: {"texts": name, "list": [...]}, {"vocab": name, "tokens": [...], "merges": [[a, b], ...],
"scores": [...], "types": [...]}, {"model": ..., options, "vocab": name, "texts": name, "ids": [[...], ...]}, some with
"runs": [[id, times], ...], the ids of LONG letters a.  A text is one word: no normalizer, no pre-tokenizer but ByteLevel without its regex where "bytes" is set.
"""
import io
import itertools
import json
import os
import random
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import sentencepiece as spm  # noqa: E402
from sentencepiece import sentencepiece_model_pb2  # noqa: E402
import tiktoken  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

OUT = sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures/tok/models.json"
N = int(sys.argv[2]) if len(sys.argv) > 2 else 10
rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 5)
BIG = N > 100
out = open(OUT, "w", encoding="utf8")

CORPUS = """the cat sat on the mat and the dog sat on the log while other cats and other dogs watched them there
tokenization of unknown words is hard: uncommon words, uncommonly long words, antidisestablishmentarianism
съешь же ещё этих мягких французских булок да выпей чаю|ἐν ἀρχῇ ἦν ὁ λόγος|今日は良い天気ですね 明日は雨でしょう
하늘이 푸르다|नमस्ते दुनिया|aaa aaaa aaaaa bbb bbbb abab ababab cdcd|emoji 😀😀👍🏽 mix|1234 5678 90 100 1000 2024
for (int i = 0; i < n; i++) { x[i] += y[i]; }  return  -1;|über Größe naïve façade Ångström""".replace("|", "\n").split("\n")
WORDS = [w for line in CORPUS for w in line.split()]
RARE = ["ж", "€", "漢", "\U00020000", "é", "\u0301", "ﷺ", "ﬁ", "\u200d", "Ω", "ÿ", "\x7f", "\x01", "😺", "Ġ", "▁", "##", "</w>", "<unk>",
        "<0x41>", "<0xE2>", "<s>", "[UNK]", "X", "Q"]


def emit(o):
    out.write(json.dumps(o, ensure_ascii=False, separators=(",", ":")) + "\n")


def random_text(alphabet, most=24):
    kind = rng.random()
    if kind < 0.25:
        return "".join(rng.choice(WORDS) for _ in range(rng.randint(1, 4)))
    if kind < 0.35:
        return "▁".join(rng.choice(WORDS) for _ in range(rng.randint(1, 8)))
    if kind < 0.45:
        return rng.choice(alphabet) * rng.randint(1, 60)
    if kind < 0.55:
        return "".join(rng.choice(RARE) for _ in range(rng.randint(1, 6)))
    s = [rng.choice(RARE) if rng.random() < 0.15 else rng.choice(alphabet) for _ in range(rng.randint(1, most))]
    return "".join(s)


def make_texts(name, alphabet, first=()):
    """Distinct texts, without the space, which SentencePiece turns into U+2581."""
    seen = dict.fromkeys(first)
    while len(seen) < N:
        seen[random_text(alphabet).replace(" ", "▁")] = None
    texts = list(seen)
    emit({"texts": name, "list": texts})
    return texts


LETTERS = "abcdeothr"
TEXTS = {
    "wild": make_texts("wild", LETTERS + "éж▁", ["aXbXc", "XXabXX", "a", "X", "ab", "aéb", "éé", "жa", "жéж"]),
    "plain": make_texts("plain", "".join(sorted(set("".join(CORPUS)))), ["antidisestablishmentarianism", "▁▁▁▁the", "a" * 70]),
}


LONG = 1 << 20


def case(name, vocab, texts, encode, long=False, **options):
    if long:
        options["runs"] = [[i, len(list(g))] for i, g in itertools.groupby(encode("a" * LONG))]
    emit({"model": name, "vocab": vocab, "texts": texts, **options, "ids": [list(encode(t)) for t in TEXTS[texts]]})


# ---- BPE of `tokenizers`: every combination of options, over random merges
def byte_letters():
    bs = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    cs, n = bs[:], 0
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + n)
            n += 1
    return {b: chr(c) for b, c in zip(bs, cs)}


BYTES = byte_letters()


def wild_bpe(affix, fallback, as_bytes, n_merges):
    """Random tokens and merges over a few letters (one of them missing), with cuts of affixes, unknowns and bytes."""
    cont = "##" if affix in ("cont", "both") else ""
    end = "</w>" if affix in ("end", "both") else ""
    letters = [c for c in LETTERS + "é▁" if c != "h"]
    if as_bytes:
        letters = sorted({BYTES[b] for c in letters for b in c.encode()} - {BYTES[0x96]})
    # places: first, middle, last, first and last
    base = ["<unk>"] + [p + c + s for c in letters for p, s in itertools.product({"", cont}, {"", end})]
    base = sorted(set(base), key=base.index)
    if fallback != "none":
        base += [f"<0x{b:02X}>" for b in range(256) if fallback == "full" or b not in (0xD0, 0x58, 0x23)]
    tokens, merges = list(base), []
    have = set(tokens)
    while len(merges) < n_merges:
        pool = tokens if rng.random() < 0.3 else base if rng.random() < 0.3 else [x for x in tokens if "<0x" not in x]
        a, b = rng.choice(pool), rng.choice(pool)
        if (cont and not b.startswith(cont)) or len(a + b) > 24 or (end and a.endswith(end) and rng.random() < 0.9):
            continue
        product = a + b[len(cont):]
        if product not in have:
            tokens.append(product)
            have.add(product)
        merges.append((a, b))
        if rng.random() < 0.02:
            merges.append(rng.choice(merges))
    rng.shuffle(merges)
    return tokens, merges, cont, end


def bpe_cases():
    for k, (affix, fallback, as_bytes) in enumerate(itertools.product(("", "cont", "end", "both"), ("none", "some", "full"), (False, True))):
        tokens, merges, cont, end = wild_bpe(affix, fallback, as_bytes, 50 if not BIG else 400)
        emit({"vocab": f"wild{k}", "tokens": tokens, "merges": merges})
        for unk, fuse, whole in itertools.product((True, False), (True, False), (True, False)):
            if not unk and fuse:
                continue
            named = {"unk_token": "<unk>" if unk else "", "continuing_subword_prefix": cont, "end_of_word_suffix": end}
            m = models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(x) for x in merges], fuse_unk=fuse,
                           byte_fallback=fallback != "none", ignore_merges=whole, **{k: v for k, v in named.items() if v})
            tk = Tokenizer(m)
            if as_bytes:
                tk.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            case("bpe", f"wild{k}", "wild", lambda t: tk.encode(t).ids, unk=0 if unk else -1, fuse_unk=fuse, ignore_merges=whole,
                 byte_fallback=fallback != "none", cont=cont, end=end, bytes=as_bytes)


def corpus():
    return [line for line in CORPUS for _ in range(3)]


def trained_bpe():
    tk = Tokenizer(models.BPE())
    tk.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tk.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=450, initial_alphabet=sorted(BYTES.values()), show_progress=False))
    spec = json.loads(tk.to_str())["model"]
    tokens = sorted(spec["vocab"], key=spec["vocab"].get)
    emit({"vocab": "bytes", "tokens": tokens, "merges": spec["merges"]})
    tk.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    case("bpe", "bytes", "plain", lambda t: tk.encode(t).ids, True, bytes=True)
    back = {c: b for b, c in BYTES.items()}
    for name in ("rank", "shuffled"):
        if name == "shuffled":
            rng.shuffle(tokens)
        emit({"vocab": name, "tokens": tokens})
        enc = tiktoken.Encoding(name, pat_str=r"[\s\S]+", mergeable_ranks={bytes(back[c] for c in t): i for i, t in enumerate(tokens)},
                                special_tokens={})
        case("bpe", name, "plain", enc.encode_ordinary, name == "rank", bytes=True, rank="id")


# ---- SentencePiece
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)


def piece_type(sp, i, user):
    return (UNKNOWN if sp.is_unknown(i) else CONTROL if sp.is_control(i) else BYTE if sp.is_byte(i) else UNUSED if sp.is_unused(i)
            else USER if user and sp.id_to_piece(i) in SYMBOLS else NORMAL)


SYMBOLS = ["▁▁", "▁▁▁▁", "<sep>", "the", "😀", "X", "ca"]


def sentencepiece(model_type, size, fallback, user, unused=False):
    buf = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=buf, model_type=model_type, vocab_size=size, byte_fallback=fallback,
        user_defined_symbols=SYMBOLS if user else [], character_coverage=0.98, normalization_rule_name="identity",
        add_dummy_prefix=False, remove_extra_whitespaces=False, hard_vocab_limit=False, minloglevel=2, num_threads=1)
    proto = sentencepiece_model_pb2.ModelProto.FromString(buf.getvalue())
    for i, p in enumerate(proto.pieces):
        if unused and p.type == NORMAL and i % 3 == 0:
            p.type = UNUSED
    return spm.SentencePieceProcessor(model_proto=proto.SerializeToString())


def spm_cases():
    for kind, fallback, user, unused in itertools.product(("bpe", "unigram"), (False, True), (False, True), (False, True)):
        sp = sentencepiece(kind, 520 if fallback else 280, fallback, user, unused)
        n = sp.get_piece_size()
        name = f"{kind}{fallback:d}{user:d}{unused:d}"
        emit({"vocab": name, "tokens": [sp.id_to_piece(i) for i in range(n)], "scores": [sp.get_score(i) for i in range(n)],
              "types": [piece_type(sp, i, user) for i in range(n)]})
        case(kind, name, "plain", sp.encode, not unused, unk=sp.unk_id(), byte_fallback=fallback, fuse_unk=True,
             **({"rank": "score"} if kind == "bpe" else {"float_sums": True}))


# ---- Unigram of `tokenizers`
def hf_unigram(name, pieces, unk, fallback, texts, long=False):
    tk = Tokenizer(models.Unigram(pieces, unk_id=unk, byte_fallback=fallback))
    emit({"vocab": name, "tokens": [p for p, _ in pieces], "scores64": [s for _, s in pieces]})
    case("unigram", name, texts, lambda t: tk.encode(t).ids, long, unk=unk, byte_fallback=fallback, any_type=True)


def unigram_cases():
    tk = Tokenizer(models.Unigram())
    tk.pre_tokenizer = pre_tokenizers.Metaspace()
    tk.train_from_iterator(corpus(), trainers.UnigramTrainer(vocab_size=250, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False))
    spec = json.loads(tk.to_str())["model"]
    hf_unigram("hf", [tuple(x) for x in spec["vocab"]], 0, False, "plain", True)
    for fallback in ("none", "some", "full"):
        # whole numbers tie; positive scores and doubled texts are odd but allowed
        pieces = [("<unk>", 0.0)] + [(c, -float(rng.randint(1, 9))) for c in LETTERS if c != "h"]
        pieces += [("".join(rng.choice(LETTERS) for _ in range(rng.randint(2, 5))), rng.choice([-float(rng.randint(1, 30)), rng.uniform(-20, 0)]))
                   for _ in range(150)]
        pieces += [(f"<0x{b:02X}>", -3.0) for b in range(256) if fallback == "full" or (fallback == "some" and b not in (0xD0, 0x58))]
        hf_unigram("tie_" + fallback, pieces, 0, fallback != "none", "wild")


# ---- WordPiece, WordLevel
def word_cases():
    tk = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tk.pre_tokenizer = pre_tokenizers.Whitespace()
    tk.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=250, special_tokens=["[UNK]", "[CLS]"], show_progress=False))
    vocab = tk.get_vocab()
    vocab.update({t: i for i, t in enumerate(["##", "####", "#a", "##▁", "▁"], len(vocab)) if t not in vocab})
    tokens = sorted(vocab, key=vocab.get)
    vocab = {t: i for i, t in enumerate(tokens)}
    emit({"vocab": "words", "tokens": tokens})
    # as a GGUF has it: word starts are marked, continuations are not; a text may then stand for one token only
    emit({"vocab": "inverted", "tokens": [t if t[0] == "[" and t[-1] == "]" else t[2:] or "\0" if t[:2] == "##" else "▁" + t for t in tokens]})
    for most in (100, 6):
        m = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=most))
        for name in ("words", "inverted"):
            affix = {"start": "", "cont": "##"} if name == "words" else {"start": "▁", "cont": ""}
            texts = "plain" if name == "words" else "unmarked"
            case("wordpiece", name, texts, lambda t: m.encode(t).ids, unk=vocab["[UNK]"], max_chars=most, **affix)
    m = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    case("wordlevel", "words", "plain", lambda t: m.encode(t).ids, unk=vocab["[UNK]"])


bpe_cases()
trained_bpe()
spm_cases()
unigram_cases()
TEXTS["unmarked"] = [t for t in TEXTS["plain"] if "#" not in t and "▁" not in t and "[" not in t]
emit({"texts": "unmarked", "list": TEXTS["unmarked"]})
word_cases()
