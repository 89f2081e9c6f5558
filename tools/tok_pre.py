"""Every tokenizer.ggml.pre that llama.cpp knows: its names and patterns are read from its source at run time.

One vocabulary serves all: every pair of bytes has a merge, so a word's ids show where it begins and ends.  The reference
is the pattern of the model's own tokenizer.json where the source quotes it, or gold_tok.py has it; else llama.cpp's,
with its spelling of case-folded contractions undone.  Texts are in NFC, so that a normalizer has no say."""
import ast
import itertools
import os
import random
import re

import gguf
import gold_tok as gold
import tok_reference as ref
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

# Not patterns in the source: a handler of its own stands behind them
O200K = gold.O200K.replace("APOS", gold.APOS + "?").replace("NUM", r"\p{N}{1,3}")
UP, LO = gold.UP[:-1] + r"&&[^\p{Han}]]", gold.LO[:-1] + r"&&[^\p{Han}]]"
KIMI = r"[\p{Han}]+|" + O200K.replace(gold.UP, UP).replace(gold.LO, LO).replace("[\\r\\n/]*", "[\\r\\n]*")
OWN = {
    "kimi-k2": [KIMI], "granite-embed-multi-97m": [O200K], "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", O200K], "cohere2moe": [r"\d{1,3}(?=(?:\d{3})*\b)", O200K],
    "afmoe": [r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"],
}
SAME = {"gpt-4o": "gpt-4o", "llama4": "gpt-4o", "kanana2": "gpt-4o", "talkie": "gpt-4o", "minimax-m2": "gpt-4o", "tekken": "tekken", "deepseek-llm": "deepseek-llm", "deepseek-coder": "deepseek-coder", "falcon": "falcon",
        "bailingmoe": "bailingmoe", "bailingmoe2": "bailingmoe", "llada-moe": "bailingmoe", "seed-coder": "seed-coder", "minicpm5": "minicpm5"}
DIGITS_GPT2 = ("starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2")
RAW = ("gemma4", "granite-embed-multi-311m", "sarvam-moe", "whitespace")   # words are no bytes: other vocabularies


def strings_of(block):
    """The patterns of one case: C strings, comments left out."""
    code = "\n".join(line for line in block.split("\n") if not line.strip().startswith("//"))
    code = re.sub(r'"\s*//[^\n]*', '"', code)
    return [ast.literal_eval(s.replace("\n", "\\n")) for s in re.findall(r'"(?:[^"\\]|\\.)*"', code)]


def read(source):
    """{name: [patterns]}"""
    case, patterns, labels = {}, source[source.index("struct llm_tokenizer_bpe : llm_tokenizer"):], []
    for m in re.finditer(r"case LLAMA_VOCAB_PRE_TYPE_(\w+):|regex_exprs = \{(.*?)\n +\};", patterns[:patterns.index("struct llm_tokenizer_bpe_session")], re.S):
        if m[1]:
            labels.append(m[1])
        else:
            for label in labels:
                case[label] = strings_of(m[2])
            labels = []
    out, names = {}, []
    start = source.index('tokenizer_pre == "default"')
    for m in re.finditer(r'tokenizer_pre == "([^"]+)"|pre_type = LLAMA_VOCAB_PRE_TYPE_(\w+);', source[start:source.index("unknown pre-tokenizer type", start)]):
        if m[1]:
            names.append(m[1])
        else:
            for n in names:
                if m[2] in case:
                    out[n] = case[m[2]]
            names = []
    return out


def pipeline(name, patterns):
    if name in SAME:
        seq, letters = gold.SPLITS[SAME[name]]
        return list(seq) + ([] if letters else [ref.BL])
    if name in DIGITS_GPT2:
        return list(gold.SPLITS["smollm"][0])
    if name in OWN:
        patterns = OWN[name] + (patterns[1:] if name == "afmoe" else [])
    fold = lambda p: p.replace("(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", gold.APOS)
    # "Punctuation, Isolated", says the source of this one: the library's own, whose table is older than \\p{P}
    own = lambda p: pre_tokenizers.Punctuation("isolated") if p == r"[\p{P}!-/:-@\[-`{-~]" else gold.RX(fold(p))[0]
    return [own(p) for p in patterns] + [ref.BL]


def pairs():
    """256 letters and all their pairs, in an order of its own."""
    b = list(ref.byte_letters().values())
    two = list(itertools.product(b, b))
    random.Random(3).shuffle(two)
    return b + ["".join(p) for p in two], two


class PreRef(ref.Ref):
    def __init__(self, name, patterns, work):
        tokens, two = pairs()
        path = f"{work}/pre-{name}.gguf"
        w = gguf.GGUFWriter(path, "llama")
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(name)
        w.add_token_list(tokens)
        w.add_token_types([1] * len(tokens))
        w.add_token_merges([" ".join(p) for p in two])
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.close()
        tok = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, two))
        tok.normalizer, tok.pre_tokenizer, tok.decoder = normalizers.NFC(), pre_tokenizers.Sequence(pipeline(name, patterns)), decoders.ByteLevel()
        super().__init__("pre:" + name, "tokenizer.ggml.pre of llama.cpp", path, tok)
        self.with_bos, self.only_ids = False, True

    def __del__(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
