#!/usr/bin/env python3
"""Small tokenizers that together hold every component type and option of tokenizer.json, and SentencePiece models.

Usage: tools/tok_trained.py    (with the libraries of build/conformance/venv)
Writes tests/fixtures/tok/parts.json for tests/tokenizer/test_tok_parts.c, one JSON value a line:
  {"texts": [...]}                                  the strings of all that follows
  {"base": name, "tokenizer": {...}}                a tokenizer.json that several cases share
  {"name": .., "base": .., "set": {...}, "i": [ids of each text], "b": {text index: ids without BOS and the like, where
   different}, "p": {text index: ids with special tokens as text, where different}, "d": {text index: text of the ids of
   "b", where it is not the text itself}, "r": [[ids, text], ...]}, null in "d" where the reference panics
Cases named sp_* have {"model": base64 of a tokenizer.model} instead, and "i" is what --no-special --no-bos gives."""
import base64
import collections
import io
import json
import os
import random

import gold_tok as gold
import tok_reference as ref
import tok_strings
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

N, P, D = normalizers, pre_tokenizers, decoders
BYTES = list(ref.byte_letters().values())


def corpus():
    """Text to train on: the repository's own prose and words of many scripts, often enough to be merged."""
    make, out = tok_strings.Strings("train"), []
    for f in ("tests/e2e/text.txt", "LICENSE"):
        if os.path.exists(f):
            out += open(f, encoding="utf-8").read()[:6000].split("\n")
    words = [make.word() for _ in range(60)] + ["ing", "the", "Hello", "don't", "123", "2024", "été", "中文", "слово", "ab"]
    out += [" ".join(make.rng.choice(words) for _ in range(8)) + make.rng.choice([".", "!", " ?", "..."]) for _ in range(120)]
    return out + gold.SCRIPTS.replace("\n", "|").split("|") + gold.CODE


def common(lines):
    """The same without characters that are rare in it."""
    count = collections.Counter("".join(lines))
    return ["".join(c for c in line if count[c] >= 16) for line in lines]


def js(tok):
    return json.loads(tok.to_str())


def part(p):
    """The JSON of one component."""
    return json.loads(p.__getstate__())


# ---- models --------------------------------------------------------------------------------------------------------------
def boundary_model():
    """A vocabulary that shows every word boundary and every byte: the first letter of a word has another id."""
    vocab = {c: i for i, c in enumerate(BYTES)} | {"##" + c: 256 + i for i, c in enumerate(BYTES)}
    tok = Tokenizer(models.BPE(vocab, [], continuing_subword_prefix="##"))
    tok.pre_tokenizer, tok.decoder = P.ByteLevel(add_prefix_space=False, use_regex=False), D.ByteLevel()
    return tok


def trained(model, trainer, norm=None, pre=None, dec=None):
    tok = Tokenizer(model)
    if norm:
        tok.normalizer = norm
    if pre:
        tok.pre_tokenizer = pre
    if dec:
        tok.decoder = dec
    lines = corpus()
    if isinstance(trainer, trainers.UnigramTrainer):      # every character has to fit its vocabulary
        lines = common(lines)
    tok.train_from_iterator(lines, trainer)
    return tok


def bpe(size=420, **kw):
    args = {k: v for k, v in kw.items() if k in ("initial_alphabet", "special_tokens", "continuing_subword_prefix", "end_of_word_suffix", "limit_alphabet")}
    return trainers.BpeTrainer(vocab_size=size, show_progress=False, **args)


def byte_tokens(drop=()):
    return [f"<0x{b:02X}>" for b in range(256) if b not in drop]


def with_bytes(tok, drop=()):
    """The same with byte tokens at the end of its vocabulary."""
    j = js(tok)
    v, names = j["model"]["vocab"], byte_tokens(drop)
    j["model"]["byte_fallback"] = True
    if isinstance(v, list):
        v += [[s, -20.0] for s in names]
    else:
        n = max(v.values()) + 1
        v.update({s: n + i for i, s in enumerate(names)})
    return Tokenizer.from_str(json.dumps(j))


def changed(tok, **model):
    j = js(tok)
    j["model"].update(model)
    return Tokenizer.from_str(json.dumps(j))


def model_cases():
    bl = P.ByteLevel(add_prefix_space=False)
    meta = P.Metaspace()
    byte_dec = D.Sequence([D.Replace("\u2581", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    out = {}
    out["bpe_bytelevel"] = a = trained(models.BPE(), bpe(initial_alphabet=BYTES), None, bl, D.ByteLevel())
    a = js(a)
    extra = {w: len(a["model"]["vocab"]) + i for i, w in enumerate(["zzq", "\u0120qqz", "\u0120HELLO", "\u010a\u010a\u010a", "12345"])}
    out["bpe_ignore_merges"] = Tokenizer.from_str(json.dumps(a | {"model": a["model"] | {"ignore_merges": True, "vocab": a["model"]["vocab"] | extra}}))
    out["bpe_merges_as_strings"] = Tokenizer.from_str(json.dumps(a | {"model": a["model"] | {"merges": [" ".join(m) for m in a["model"]["merges"]], "dropout": None}}))
    out["bpe_no_words"] = trained(models.BPE(), bpe(500, initial_alphabet=BYTES), None, P.ByteLevel(add_prefix_space=False, use_regex=False), D.ByteLevel())
    unk = dict(special_tokens=["<unk>"], limit_alphabet=90)
    out["bpe_unk"] = u = trained(models.BPE(unk_token="<unk>"), bpe(300, **unk), None, P.Whitespace())
    out["bpe_unk_fuse"] = changed(u, fuse_unk=True)
    out["bpe_no_unk"] = trained(models.BPE(), bpe(300, limit_alphabet=90), None, P.Whitespace())
    s = trained(models.BPE(unk_token="<unk>"), bpe(330, **unk), None, meta, byte_dec)
    for name, drop, kw in (("bpe_byte_fallback", (), {}), ("bpe_byte_fallback_fuse", (0xF0, 0xFF), {"fuse_unk": True}), ("bpe_byte_fallback_partial", (0xE4, 0xF0, 0x9F, 0x41), {})):
        out[name] = changed(with_bytes(s, drop), **kw)
    no_split = js(with_bytes(s)) | {"pre_tokenizer": None, "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}}
    out["bpe_llama"] = Tokenizer.from_str(json.dumps(no_split | {"model": no_split["model"] | {"fuse_unk": True}}))
    out["bpe_suffix"] = trained(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), bpe(420, end_of_word_suffix="</w>", **unk), N.Lowercase(), P.BertPreTokenizer(), D.BPEDecoder())
    clip = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    out["bpe_clip"] = trained(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"), bpe(900, initial_alphabet=BYTES, end_of_word_suffix="</w>", special_tokens=["<|endoftext|>"]),
                              N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()]), P.Sequence([P.Split(clip, "removed", invert=True), P.ByteLevel(add_prefix_space=False)]), D.ByteLevel())
    out["bpe_prefix"] = trained(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"), bpe(500, continuing_subword_prefix="##", **unk), None, P.Whitespace(), D.WordPiece())
    wp = lambda **kw: trainers.WordPieceTrainer(vocab_size=420, show_progress=False, limit_alphabet=120, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[MASK]"], **kw)
    out["wordpiece"] = w = trained(models.WordPiece(unk_token="[UNK]"), wp(), N.BertNormalizer(), P.BertPreTokenizer(), D.WordPiece())
    out["wordpiece_short_words"] = changed(w, max_input_chars_per_word=7)
    out["wordpiece_prefix"] = trained(models.WordPiece(unk_token="[UNK]", continuing_subword_prefix="@@"), wp(continuing_subword_prefix="@@"), N.BertNormalizer(lowercase=False), P.Whitespace(), D.WordPiece(prefix="@@", cleanup=False))
    wl = trainers.WordLevelTrainer(vocab_size=200, show_progress=False, special_tokens=["[UNK]"])
    out["wordlevel"] = trained(models.WordLevel(unk_token="[UNK]"), wl, None, P.Whitespace())
    out["wordlevel_lower"] = trained(models.WordLevel(unk_token="[UNK]"), wl, N.Sequence([N.NFKD(), N.StripAccents(), N.Lowercase()]), P.WhitespaceSplit(), D.Fuse())
    uni = lambda **kw: trainers.UnigramTrainer(vocab_size=330, show_progress=False, unk_token="<unk>", special_tokens=["<unk>", "<s>", "</s>"], **kw)
    out["unigram"] = g = trained(models.Unigram(), uni(), None, meta, D.Metaspace())
    out["unigram_byte_fallback"] = with_bytes(g)
    out["unigram_byte_fallback_partial"] = with_bytes(g, (0xE4, 0x9F))
    out["unigram_no_split"] = trained(models.Unigram(), uni(), N.Replace(" ", "\u2581"), None, D.Sequence([D.Replace("\u2581", " "), D.Fuse()]))
    out["unigram_bytelevel"] = trained(models.Unigram(), uni(initial_alphabet=BYTES), None, bl, D.ByteLevel())
    return out


# ---- parts: base "boundary", with one component set -------------------------------------------------------------------------
BEHAVIOURS = ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")


def charsmap(kw):
    """The table of nmt_nfkc, or of a few rules, by way of a model trained with it."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    m = pb.ModelProto()
    m.ParseFromString(sp_model("unigram", 300, **kw))
    return base64.b64encode(m.normalizer_spec.precompiled_charsmap).decode()


def normalizer_parts():
    seq = lambda *p: {"type": "Sequence", "normalizers": [part(x) for x in p]}
    yield from ((n.lower(), part(getattr(N, n)())) for n in ("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "Strip", "StripAccents", "BertNormalizer"))
    yield "strip_left", part(N.Strip(right=False))
    yield "strip_right", part(N.Strip(left=False))
    yield "replace", part(N.Replace("a", "\u2581x"))
    yield "replace_away", part(N.Replace("  ", ""))
    yield "replace_regex", part(N.Replace(Regex(r"(?:\r\n|\s{2,}|\p{P}+)"), " "))
    yield "prepend", part(N.Prepend("\u2581"))
    yield "bytelevel", part(N.ByteLevel())
    for i in range(16):
        b = [bool(i >> k & 1) for k in range(4)]
        yield f"bert_{i}", part(N.BertNormalizer(clean_text=b[0], handle_chinese_chars=b[1], strip_accents=b[2], lowercase=b[3]))
    yield "bert_default_accents", part(N.BertNormalizer(lowercase=False))
    yield "nfd_strip_accents", seq(N.NFD(), N.StripAccents())
    yield "albert", seq(N.Replace("``", '"'), N.Replace("''", '"'), N.NFKD(), N.StripAccents(), N.Lowercase())
    yield "llama", seq(N.Prepend("\u2581"), N.Replace(" ", "\u2581"))
    yield "empty_sequence", seq()


def pre_parts():
    seq = lambda *p: {"type": "Sequence", "pretokenizers": [part(x) for x in p]}
    one = lambda *p: seq(*p, ref.BL)
    for n in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "UnicodeScripts"):
        yield n.lower(), one(getattr(P, n)())
    yield "digits", one(P.Digits())
    yield "digits_individual", one(P.Digits(individual_digits=True))
    yield "char_delimiter", one(P.CharDelimiterSplit("-"))
    yield "char_delimiter_wide", one(P.CharDelimiterSplit("\u3000"))
    for n in (1, 3, 5):
        yield f"fixed_{n}", one(P.FixedLength(length=n))
    for b in BEHAVIOURS:
        yield "punctuation_" + b, one(P.Punctuation(b))
        yield "split_string_" + b, one(P.Split(" ", b))
        yield "split_regex_" + b, one(P.Split(Regex(r"\p{N}{1,3}|\s?\p{Lu}+"), b))
        yield "split_invert_" + b, one(P.Split(Regex(r"\w+|\s+(?!\S)"), b, invert=True))
    yield "split_empty_match", one(P.Split(Regex(r"(?=\p{Lu})"), "isolated"))
    yield "split_empty_star", one(P.Split(Regex(r"x*"), "isolated"))
    yield "split_lookbehind", one(P.Split(Regex(r"(?<=[a-z])(?=[A-Z0-9])|(?<!\p{L})\p{M}"), "merged_with_previous"))
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            yield f"metaspace_{scheme}_{'split' if split else 'whole'}", one(P.Metaspace("\u2581", scheme, split))
    yield "metaspace_underscore", one(P.Metaspace("_", "always", True))
    yield "xlmr", one(P.WhitespaceSplit(), P.Metaspace())
    yield "whitespace_metaspace_first", one(P.Whitespace(), P.Metaspace(prepend_scheme="first"))
    yield "bytelevel_regex", part(P.ByteLevel(add_prefix_space=False))
    yield "bytelevel_prefix", part(P.ByteLevel(add_prefix_space=True))
    yield "bytelevel_prefix_no_regex", part(P.ByteLevel(add_prefix_space=True, use_regex=False))
    yield "bytelevel_middle", seq(P.Digits(), P.ByteLevel(add_prefix_space=True), P.Split(Regex("\u0120+|[^A-Za-z\u0120]"), "isolated"))
    for name in ("llama-bpe", "qwen2", "qwen35", "gpt-4o", "tekken", "deepseek-v3", "deepseek-coder", "deepseek-llm", "bloom", "bailingmoe"):
        yield "family_" + name, one(*gold.SPLITS[name][0])
    yield "falcon", seq(*gold.SPLITS["falcon"][0])
    kimi = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    yield "family_kimi", one(P.Split(Regex(kimi), "isolated"))
    cl100k = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
    yield "family_cl100k", one(P.Split(Regex(cl100k), "removed", invert=True))
    yield "classes", one(P.Split(Regex(r"[[:alpha:]]+|[[:punct:]]|\d+|\h|[\x{4e00}-\x{9fff}]{2}|\p{Greek}+|\p{Cyrillic}+|[^\W\d_]"), "isolated"))


def post_parts():
    t = processors.TemplateProcessing
    yield "template", part(t(single="[A] $A [B]", pair="[A] $A [B] $B:1 [B]:1", special_tokens=[("[A]", 512), ("[B]", 513)]))
    yield "template_many", part(t(single="[A] [A] $0 [B] [A]", special_tokens=[("[A]", 512), ("[B]", 513)]))
    yield "template_bos", part(t(single="[B] $A", special_tokens=[("[B]", 513)]))
    yield "bert", part(processors.BertProcessing(("[B]", 513), ("[A]", 512)))
    yield "roberta", part(processors.RobertaProcessing(("[B]", 513), ("[A]", 512)))
    yield "bytelevel", part(processors.ByteLevel(trim_offsets=True))
    yield "sequence", {"type": "Sequence", "processors": [part(processors.ByteLevel()), part(t(single="[A] $A", special_tokens=[("[A]", 512)]))]}


def decoder_parts():
    seq = lambda *p: {"type": "Sequence", "decoders": [part(x) for x in p]}
    yield "none", None
    yield "wordpiece", part(D.WordPiece())
    yield "wordpiece_no_cleanup", part(D.WordPiece(cleanup=False))
    yield "wordpiece_prefix", part(D.WordPiece(prefix="i"))
    for scheme in ("always", "first", "never"):
        yield "metaspace_" + scheme, part(D.Metaspace(prepend_scheme=scheme))
    yield "metaspace_other", part(D.Metaspace("t", "always"))
    yield "bpe", part(D.BPEDecoder())
    yield "bpe_other", part(D.BPEDecoder(suffix="e"))
    yield "ctc", part(D.CTC(pad_token="<pad>", word_delimiter_token="|", cleanup=True))
    yield "ctc_no_cleanup", part(D.CTC(pad_token="e", word_delimiter_token="t", cleanup=False))
    yield "fuse", part(D.Fuse())
    yield "strip", part(D.Strip("e", 1, 1))
    yield "strip_2", part(D.Strip(" ", 2, 0))
    yield "replace", part(D.Replace("e", "<<>>"))
    yield "replace_regex", part(D.Replace(Regex("[aeiou]+"), "_"))
    yield "byte_fallback", part(D.ByteFallback())
    yield "bytelevel", part(D.ByteLevel())
    yield "llama", seq(D.Replace("\u2581", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0))
    yield "gemma", seq(D.Replace("\u2581", " "), D.ByteFallback(), D.Fuse())
    yield "fuse_replace", seq(D.Fuse(), D.Replace("th", "TH"))
    yield "fuse_strip", seq(D.Fuse(), D.Strip("e", 3, 3))
    yield "bytefallback_bytelevel", seq(D.ByteFallback(), D.ByteLevel())
    yield "metaspace_wordpiece", seq(D.Metaspace(), D.WordPiece())
    yield "empty_sequence", seq()


# ---- added tokens ------------------------------------------------------------------------------------------------------------
def added_json(first):
    out = []
    add = lambda s, special=False, normalized=False, **kw: out.append(
        {"id": first + len(out), "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": normalized, "special": special} | kw)
    add("[A]", True)
    add("[B]", True)
    add("<l>", lstrip=True)
    add("<r>", True, rstrip=True)
    add("<lr>", lstrip=True, rstrip=True)
    add("word", single_word=True)
    add("Été", normalized=True)
    add("ABC", True, normalized=True)
    add("abc d", normalized=True, single_word=True)
    add("  ")
    add("    ")
    add("<l><r>", True)
    add("a\u0301", normalized=True)
    add("<n> ", normalized=True, lstrip=True, rstrip=True)
    add("\n\n", True)
    add("한")
    add("<s w>", True, single_word=True, lstrip=True)
    return out


ADDED_TEXTS = ["[A]", "[A][B]", "x[A]y", " [A] ", "a <l> b", "a  <l>  b", "\n\t<l>\n", "a <r>  b", "<r>\u3000\u00a0x", "a <lr> b", "  <lr>  ", "<l><r>", "<l> <r>", " <l><r> ", "word", "words", "a word.", "sword",
               "word_", "_word", "word1", "wordé", "word\u0301", "word-word word", "中word", "ÉTÉ", "été", "Été", "\u0045\u0301te\u0301", "ABC", "abc", "Abc d", "abc de", "abc d.", "xabc d", "a  b", "a   b", "a    b",
               "a     b", "        ", "<l", "<l>>", "[A", "A]", "[[A]]", "[a]", "á", "a\u0301", "<n> x", "<N>  x", "x  <n>   y", "\n\n", "\n\n\n", "a\n\nb", "한", "\u1112\u1161\u11ab", "한글", "<s w>", "a <s w> b", "a<s w>b",
               "<s w>1", "<s w><s w>", "<l><l> <l>", "<r> <r> <r>", " <lr> <lr> ", "[A] <l> [B] <r> x", "<l>\u200b", "\u200b<l>", "<r>\ufeff x", "<r>\u0085 x", "<r>\x1c x", "word[A]", "[A]word", "word<l>word"]


def added_cases(base):
    j = js(base)
    lower = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}
    yield "added_beyond", j | {"added_tokens": added_json(512)}
    yield "added_lower", j | {"added_tokens": added_json(512), "normalizer": lower}
    yield "added_strip", j | {"added_tokens": added_json(512), "normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}}
    yield "added_prefix_space", j | {"added_tokens": added_json(512), "pre_tokenizer": part(P.ByteLevel(add_prefix_space=True))}
    yield "added_metaspace_first", j | {"added_tokens": added_json(512), "pre_tokenizer": {"type": "Sequence", "pretokenizers": [part(P.Metaspace(prepend_scheme="first")), part(ref.BL)]}}
    yield "added_prepend", j | {"added_tokens": added_json(512), "normalizer": part(N.Prepend("\u2581"))}
    holes = [t | {"id": t["id"] + 3 * k} for k, t in enumerate(added_json(600))]
    yield "added_holes", j | {"added_tokens": holes}
    inside = json.loads(json.dumps(j))
    inside["added_tokens"] = [t | {"content": BYTES[7 + k], "id": 7 + k} if k < 3 else t for k, t in enumerate(added_json(512))]
    yield "added_inside", inside


# ---- SentencePiece -------------------------------------------------------------------------------------------------------------
def sp_model(kind, size, **kw):
    import sentencepiece
    out = io.BytesIO()
    lines = [line for line in common(corpus()) if line.strip() and "\0" not in line]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=out, model_type=kind, vocab_size=size, minloglevel=2, hard_vocab_limit=False,
                                             character_coverage=1.0, num_threads=1, **kw)
    return out.getvalue()


SP = {
    "bpe_bytes": ("bpe", 560, dict(byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False)),
    "bpe": ("bpe", 320, dict(normalization_rule_name="nmt_nfkc")),
    "bpe_user": ("bpe", 560, dict(byte_fallback=True, normalization_rule_name="identity", user_defined_symbols=["<sep>", "  ", "foo bar", "<ins"], control_symbols=["<ctl>"])),
    "bpe_digits": ("bpe", 560, dict(byte_fallback=True, split_digits=True, allow_whitespace_only_pieces=True, add_dummy_prefix=False, remove_extra_whitespaces=False, normalization_rule_name="nfkc")),
    "unigram": ("unigram", 320, dict(normalization_rule_name="nmt_nfkc")),
    "unigram_bytes": ("unigram", 560, dict(byte_fallback=True, normalization_rule_name="nfkc_cf")),
    "unigram_user": ("unigram", 340, dict(user_defined_symbols=["<sep>", "the", "  "], control_symbols=["<ctl>"], normalization_rule_name="nmt_nfkc_cf", add_dummy_prefix=False)),
    "unigram_identity": ("unigram", 340, dict(normalization_rule_name="identity", remove_extra_whitespaces=False, treat_whitespace_as_suffix=True)),
    "char": ("char", 200, dict(normalization_rule_name="nmt_nfkc")),
    "word": ("word", 200, dict(normalization_rule_name="nmt_nfkc")),
    "unigram_bos": ("unigram", 330, dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1, unk_surface=" @@ ")),
}


# ---- all of them -------------------------------------------------------------------------------------------------------------
def tokenizer_cases(smap):
    """(name, base name or "", what is set over the base, whole tokenizer.json)"""
    base = boundary_model()
    plain = js(base)
    for name, tok in model_cases().items():
        yield name, "", {}, js(tok)
    specials = added_json(512)[:2]
    for key, parts in (("normalizer", normalizer_parts()), ("pre_tokenizer", pre_parts())):
        for name, p in parts:
            yield f"{key[:4].strip('_')}_{name}", "boundary", {key: p}, plain | {key: p}
    for name, p in post_parts():
        s = {"post_processor": p, "added_tokens": specials}
        yield "post_" + name, "boundary", s, plain | s
    for name, j in added_cases(base):
        yield name, "boundary", {k: v for k, v in j.items() if plain[k] != v}, j
    wide = js(model_cases()["bpe_llama"])
    n = max(wide["model"]["vocab"].values()) + 1         # with holes: some of these are there already
    for i, s in enumerate([" ", "  ", "e ", " th", "e|", "<pad>", "|", "##s", "##\u2581", "\u2581\u2581t\u2581", "</w>", "x</w>", " n't", " .", "i", "\u00e9\u0120", "eee"]):
        wide["model"]["vocab"].setdefault(s, n + i)
    for name, p in decoder_parts():
        yield "dec_" + name, "decoders", {"decoder": p}, wide | {"decoder": p}
    smap = {"normalizer": {"type": "Precompiled", "precompiled_charsmap": smap}}
    yield "norm_precompiled", "boundary", smap, plain | smap


def write_all(folder):
    """Every tokenizer as a folder; returns [(name, path, kind)]."""
    out = []
    for name, _, _, j in tokenizer_cases(charsmap({"normalization_rule_name": "nmt_nfkc"})):
        ref.write(f"{folder}/{name}", "tokenizer.json", json.dumps(j, ensure_ascii=False))
        out.append((name, f"{folder}/{name}", "json"))
    for name, (kind, size, kw) in SP.items():
        ref.write(f"{folder}/sp_{name}", "tokenizer.model", sp_model(kind, size, **dict(kw)))
        out.append(("sp_" + name, f"{folder}/sp_{name}", "sp"))
    return out


# ---- the committed subset ------------------------------------------------------------------------------------------------------
TEXTS = ["", " ", "  ", "   ", "\n", "\t\n ", "a", " a", "a ", " a ", "ab", "Hello, world!", "hello  world", "HELLO", "don't I'll it'S 'ſ", "''", "The the THE", "été É Å", "e\u0301 E\u0301 A\u030a\u0323", "ǅ ß ẞ ﬁ ſ",
         "İI ı", "ΑΣ ς", "12", "123", "1234567", "1,000.50", "1st x2 3d", "½ ² Ⅳ ①", "٣٤५", "中文", "中a文1", "一〇〡", "ひらカナー", "ﾊﾟﾜ", "한국 한", "ไทย", "नमस्ते क्ष", "שָׁלוֹם", "مرحبا", "Привет Мир", "𝕳𝟙", "𠀀 𞤀𞤢", "😀", "👍🏽", "👩‍🚀x",
         "🇩🇪", "❤️ 1️⃣", "a\u200bb", "\ufeffx", "a\u00a0b", "a\u3000b", "\u2028x\u2009", "x\u180ey", "\x1c\x1f", "\x00a\x7f", "a\x85b", "\ue000", "\u0378\U0010ffff", "\ufffd", "\u0301", "\u200d", "\r\n\r\n", "a\n\nb", " \n x", "x \n\n  y", "\t\tif x:",
         "f(x)", "a->b;", "x==y!=z", "$5.00 €", "C:\\a", "/* */", "[UNK]", "<s>", "</s>a<s>", "<unk>", "<0x41>", "##x", "▁", "▁a ▁b", "▁▁", "Ġ", "ĠaĊ", "a_b-c", "___", "---", "...", "?!", "“q”", "«x»…", "a—b", "camelCaseHTTPx9", "zzq qqz", "foo bar",
         "<sep>a<ctl>", "`` '' \"", "ab ab ab", "thethe", "x\u0345y", "₿ ⁵", "Å Ω K", "क़ ड़", "ŉ ǰ", "xxa", "a  b   c", "\u0e33 \u0e40", "[A]x", "a<l> ", "8_9", "ſt", "\u212aelvin", "ab\u0323\u0307c", "\u1100\u1161\u11a8", "\uac01\u11a8", "don\u2019t", "w\u0306\u0306"]


def case_of(name, want, texts, seed):
    """Answers of a reference: see the top of this file."""
    rng, out = random.Random(seed), {"name": name}
    out["i"] = want.encode(texts, want.no_special, want.with_bos)
    bare = want.encode(texts, want.no_special, False)
    plain = want.encode(texts, False, want.with_bos)
    out["b"] = {k: b for k, (b, i) in enumerate(zip(bare, out["i"])) if b != i}
    out["p"] = {k: p for k, (p, i) in enumerate(zip(plain, out["i"])) if p != i}
    if name.startswith(("norm_", "pre_", "post_", "added_")):      # decode is not their business: room saved
        return {k: v for k, v in out.items() if v != {}}
    shown = want.decode(bare)
    out["d"] = {k: d for k, (d, t) in enumerate(zip(shown, texts)) if d != t}
    ids = [[rng.randrange(want.size()) for _ in range(rng.randint(1, 8))] for _ in range(40 if name.startswith("dec_") else 8)]
    out["r"] = [list(p) for p in zip(ids, want.decode(ids)) if p[1] is not None]
    return {k: v for k, v in out.items() if v != {}}


def short_norms(kw):
    """A small table of rules in place of the library's own, which are 240 kB."""
    if kw.get("normalization_rule_name", "nmt_nfkc") == "identity":
        return kw
    path = "build/conformance/rules.tsv"
    pairs = {"\uff21": "A", "\ufb01": "fi", "\u00bd": "1\u20442", "\u0065\u0301": "\u00e9", "\u0041\u030a": "\u00c5", "\u3000": " ", "\u00a0": " ", "\t": " ", "\n": " ", "\u200b": "", "\u2460": "1", "\uff8a\uff9f": "\u30d1", "\u212a": "k", "H": "h"}
    ref.write("build/conformance", "rules.tsv", "".join(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n" for a, b in pairs.items()))
    return {k: v for k, v in kw.items() if k != "normalization_rule_name"} | {"normalization_rule_tsv": path}


def fixtures(path):
    rows, bases = [{"texts": TEXTS, "added": ADDED_TEXTS}], {}
    for name, base, over, whole in tokenizer_cases(charsmap(short_norms({}))):
        ref.write("build/conformance/one", "tokenizer.json", json.dumps(whole))
        want = ref.from_json("build/conformance/one", name, "")
        if base and base not in bases:
            bases[base] = 1
            rows.append({"base": base, "tokenizer": {k: v for k, v in whole.items() if k not in over} | ({"added_tokens": []} if "added_tokens" in over else {})})
        texts = ADDED_TEXTS if name.startswith("added_") else TEXTS
        rows.append({**case_of(name, want, texts, name), **({"base": base, "set": over} if base else {"tokenizer": whole})})
    for name, (kind, size, kw) in SP.items():
        data = sp_model(kind, size, **short_norms(dict(kw)))
        ref.write("build/conformance/one", "tokenizer.model", data)
        want = ref.SentencePieceRef("build/conformance/one", name, "")
        want.no_special = False
        rows.append({**case_of("sp_" + name, want, TEXTS, name), "model": base64.b64encode(data).decode()})
    with open(path, "w", encoding="utf-8") as f:
        for r in rows:
            f.write(json.dumps(r, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(len(rows) - 1 - len(bases), "cases,", os.path.getsize(path), "bytes")


if __name__ == "__main__":
    fixtures("tests/fixtures/tok/parts.json")
