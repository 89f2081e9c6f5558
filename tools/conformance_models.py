#!/usr/bin/env python3
"""conformance_models.py [NAME...]: models written by `lmrun convert` in current llama.cpp, and models written by llama.cpp's
own converter in lmrun.

For every folder under tests/model/hf (with names: those whose name contains one of them), given a tiny tokenizer:
    ours    lmrun convert --outtype f32; lmrun's and llama.cpp's log-probabilities of that file
    theirs  convert_hf_to_gguf.py --outtype f32; the same two
    folder  lmrun on the folder against lmrun on the file it was converted to
The largest difference over the golden's sequences counts; above 5e-3 (folder: 1e-3) the exit status is 1.  What llama.cpp
does not know, or is known to do otherwise, is listed as such.

`make conformance` runs it.  Needs torch, transformers, gguf, safetensors (installed into build/conformance/venv-models
when the running python lacks them) and llama.cpp: LLAMA_CPP_LIB_PATH names its libraries and LLAMA_CPP_SRC the unpacked
llama-cpp-python package; without them it is fetched and built under build/peers, once."""
import contextlib
import ctypes
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import traceback

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
BOUND, BOUND_FOLDER = 5e-3, 1e-3
ENCODERS = ("bert", "roberta", "xlm", "distil", "nomic-bert", "modern-bert", "gemma-embedding")
# What llama.cpp does otherwise, by its sources; WINDOWLESS is judged within the window, the others are shown only.
WINDOWLESS = "llama.cpp knows no window in this architecture: compared within it"
KNOWN = {
    "mistral": WINDOWLESS, "llama-window": WINDOWLESS, "phi3": WINDOWLESS, "starcoder2": WINDOWLESS, "qwen2-window": WINDOWLESS,
    "llama-mixtral-window": WINDOWLESS,
    "exaone4": "llama.cpp takes the window in models of 64 layers only",
    "gemma2-27b": "llama.cpp takes this scale in models of 46 layers only",
    "llama-gelu": "llama.cpp has one activation for this architecture",
    "llama-yarn-factor": "llama.cpp does not read the key that its converter writes for attention_factor",
    "gpt-oss-v4": "llama.cpp rounds the ends of YaRN's ramp, transformers does not",
    "gpt-oss-mxfp4": "llama.cpp makes activations int8 before it multiplies MXFP4",
    "deepseek2-v3": "its converter leaves out the gating function that transformers 5 leaves out of config.json",
    "phi3-long": "llama.cpp chooses the factors by the size of the context",
    "smollm3-nope": "llama.cpp: every fourth layer is without positions, whatever the config says",
}
# Edits of config.json after which both do the same: none now.
EDITS = {}
# Keys that its converter asks for and transformers 5 leaves out of config.json.
OLD_KEYS = {
    "GPT2LMHeadModel": lambda c: {"n_ctx": c["n_positions"]},
    "Cohere2ForCausalLM": lambda c: {"rotary_pct": (c.get("rope_parameters") or {}).get("partial_rotary_factor", 1.0)},
}


def enter():
    """Goes on in a python that has the libraries."""
    try:
        import torch, transformers, safetensors
        return
    except ImportError:
        pass
    venv = "build/conformance/venv-models"
    if os.path.realpath(sys.prefix) == os.path.realpath(venv):
        sys.exit("the reference libraries cannot be imported from " + venv)
    print("installing the reference libraries of models under " + venv, file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv + "/bin/python", "-m", "pip", "install", "-q", "torch", "transformers==5.23.0", "safetensors", "sentencepiece",
                    "protobuf", "gguf"], check=True)
    os.execv(venv + "/bin/python", [venv + "/bin/python", *sys.argv])


def peer():
    """Folder of the unpacked package; its library is built with it."""
    if "LLAMA_CPP_SRC" not in os.environ:
        import bench_peers
        os.environ["LLAMA_CPP_LIB_PATH"] = os.path.abspath(bench_peers.peer_folder())
        os.environ["LLAMA_CPP_SRC"] = next(e.path for e in os.scandir("build/peers") if e.is_dir() and e.name.startswith("llama_cpp_python"))
    src = os.environ["LLAMA_CPP_SRC"]
    os.environ["GGML_NO_BACKTRACE"] = "1"
    sys.path[:0] = [src, src + "/vendor/llama.cpp"]
    return src + "/vendor/llama.cpp"


# ---- the engines -------------------------------------------------------------------------------------------------------
class Fails(Exception):
    pass


def golden(path):
    import numpy as np
    with open(path, "rb") as f:
        assert f.read(8) == b"LMGOLD2\0", path
        n_seqs, n_vocab = np.fromfile(f, "<i4", 2)
        out = []
        for _ in range(n_seqs):
            n, n_greedy = np.fromfile(f, "<i4", 2)
            ids = np.fromfile(f, "<i4", n)
            np.fromfile(f, "<i4", n_greedy)
            out.append((ids.tolist(), np.fromfile(f, "<f4", n * n_vocab).reshape(n, n_vocab)))
    return out


def lmrun(model, ids, *flags):
    import numpy as np
    with tempfile.NamedTemporaryFile(suffix=".f32") as f:
        p = subprocess.run(["./lmrun", "score", "-m", model, "--tokens", ",".join(map(str, ids)), "--json", "--logprobs-out", f.name, *flags],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if p.returncode:
            raise Fails("lmrun: " + (p.stderr.strip().split("\n") or [""])[-1])
        return np.fromfile(f.name, "<f4").reshape(len(ids), -1)


class Peer:
    """llama.cpp with F32 keys and values: its f16 cache alone is worth 3e-3."""
    log = []

    def __init__(self, path):
        import llama_cpp.llama_cpp as L
        self.L = L
        Peer.log = []
        Peer.keep = L.llama_log_callback(lambda level, text, ud: Peer.log.append(text))
        L.llama_log_set(Peer.keep, ctypes.c_void_p(0))
        L.llama_backend_init()
        self.model = L.llama_model_load_from_file(path.encode(), L.llama_model_default_params())
        if not self.model:
            why = [t.decode().strip() for t in Peer.log if b"error" in t]
            raise Fails("llama.cpp: " + (why[0].split("error loading model: ")[-1] if why else "cannot load it"))
        p = L.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch, p.n_threads, p.n_threads_batch = 64, 64, 64, 1, 1
        p.type_k = p.type_v = 0
        p.flash_attn_type = 0
        self.ctx = L.llama_init_from_model(self.model, p)
        if not self.ctx:
            raise Fails("llama.cpp: makes no context of it")
        self.n_vocab = L.llama_vocab_n_tokens(L.llama_model_get_vocab(self.model))

    def logprobs(self, ids):
        import numpy as np
        L = self.L
        L.llama_memory_clear(L.llama_get_memory(self.ctx), True)
        b = L.llama_batch_init(len(ids), 0, 1)
        b.n_tokens = len(ids)
        for i, t in enumerate(ids):
            b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0], b.logits[i] = t, i, 1, 0, 1
        if L.llama_decode(self.ctx, b):
            raise Fails("llama.cpp: cannot decode")
        x = np.array(np.ctypeslib.as_array(L.llama_get_logits(self.ctx), (len(ids), self.n_vocab)), np.float64)
        L.llama_batch_free(b)
        x -= x.max(-1, keepdims=True)
        return (x - np.log(np.exp(x).sum(-1, keepdims=True))).astype(np.float32)


# ---- folders and files -------------------------------------------------------------------------------------------------
def letters(n):
    return [chr(0x21 + i) if i < 94 else chr(0x100 + i) for i in range(n - 1)] + ['!"']


def add_tokenizer(folder, n):
    """Byte-level BPE of n tokens with one merge: what matters here is that each side finds one."""
    spec = {"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None, "decoder": {"type": "ByteLevel"},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(letters(n))}, "merges": [["!", '"']]}}
    with open(folder + "/tokenizer.json", "w") as f:
        json.dump(spec, f)


def their_vocab(self):
    n = self.hparams.get("vocab_size") or self.hparams["text_config"]["vocab_size"]
    w = self.gguf_writer
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(letters(n))
    w.add_token_types([1] * n)
    w.add_token_merges(['! "'])


def their_convert(folder, out, more):
    """convert_hf_to_gguf.py, but for the vocabulary: it knows those of released models only."""
    import logging
    import convert_hf_to_gguf as C
    logging.disable(logging.CRITICAL)
    if not hasattr(C, "plain_get"):
        C.plain_get = C.get_model_class

        def get(*a, **k):
            cls = C.plain_get(*a, **k)
            cls.set_vocab = their_vocab
            return cls
        C.get_model_class = get
        plain_from = C.ModelBase.from_model_architecture if hasattr(C.ModelBase, "from_model_architecture") else None
        if plain_from:
            def chosen(*a, **k):
                cls = plain_from(*a, **k)
                cls.set_vocab = their_vocab
                return cls
            C.ModelBase.from_model_architecture = chosen
    if more:
        with open(folder + "/config.json") as f:
            config = json.load(f)
        with open(folder + "/config.json", "w") as f:
            json.dump({**config, **more(config)}, f)
    argv, sys.argv = sys.argv, ["convert", folder, "--outfile", out, "--outtype", "f32"]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            C.main()
    except SystemExit as e:
        raise Fails(f"its converter knows no such model (exit {e.code})")
    except Exception as e:
        raise Fails(f"its converter: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"[:110])
    finally:
        sys.argv = argv
    if not os.path.exists(out):
        raise Fails("its converter wrote nothing")


def in_child(fn):
    """What fn returns, from a process of its own: llama.cpp aborts where it finds something amiss."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            out = fn()
        except Fails as e:
            out = str(e)
        with os.fdopen(w, "wb") as f:
            pickle.dump(out, f)
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        data = f.read()
    os.waitpid(pid, 0)
    if not data:
        raise Fails("llama.cpp: aborts on it")
    out = pickle.loads(data)
    if isinstance(out, str):
        raise Fails(out)
    return out


def between(path, gold, upto):
    """Largest difference between both engines on the file."""
    import numpy as np

    def run():
        p = Peer(path)
        return [p.logprobs(ids) for ids, _ in gold]
    theirs = in_child(run)
    return max(float(np.abs(lmrun(path, ids) - b)[:upto].max()) for (ids, _), b in zip(gold, theirs))


def case(name, work):
    import numpy as np
    src, folder = f"tests/model/hf/{name}", work + "/m"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(src, folder)
    gold = golden(src + ".gold")
    with open(folder + "/config.json") as f:
        config = json.load(f)
    if name in EDITS:
        EDITS[name](config)
        with open(folder + "/config.json", "w") as f:
            json.dump(config, f)
    window = config.get("sliding_window") or config.get("text_config", {}).get("sliding_window")
    reason = KNOWN.get(name)
    upto = window if reason == WINDOWLESS else None
    ours, theirs = work + "/ours.gguf", work + "/theirs.gguf"
    for f in (ours, theirs):
        if os.path.exists(f):
            os.unlink(f)
    add_tokenizer(folder, gold[0][1].shape[1])
    more = OLD_KEYS.get((config.get("architectures") or [""])[0])
    row = {"name": name, "notes": [reason] if reason else [], "bad": False}
    p = subprocess.run(["./lmrun", "convert", folder, ours, "--outtype", "f32", "-q"], stderr=subprocess.PIPE, text=True)
    if p.returncode:
        row["bad"] = True
        row["notes"].append(p.stderr.strip().split("\n")[-1])
    for key, fn in (("folder", lambda: max(float(np.abs(lmrun(folder, i, "--precision", "f32") - lmrun(ours, i)).max()) for i, _ in gold)),
                    ("ours", lambda: between(ours, gold, upto)),
                    ("theirs", lambda: (their_convert(folder, theirs, more), between(theirs, gold, upto))[1])):
        if p.returncode and key != "theirs":
            continue
        try:
            row[key] = fn()
            judged = key == "folder" or not reason or reason == WINDOWLESS
            row["bad"] |= judged and not row[key] <= (BOUND_FOLDER if key == "folder" else BOUND)
        except Fails as e:
            row["notes"].append(str(e))
            row["bad"] |= str(e).startswith("lmrun:")
    return row


def main():
    names = sorted(f[:-5] for f in os.listdir("tests/model/hf") if f.endswith(".gold"))
    names = [n for n in names if not sys.argv[1:] or any(a in n for a in sys.argv[1:])]
    show = lambda r, k: f"{r[k]:9.2g}" if k in r else "        -"
    bad = 0
    print(f"{'model':26}{'folder':>9} {'ours':>9} {'theirs':>9}")
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            if name.startswith(ENCODERS):
                print(f"{name:26}an encoder: no log-probabilities")
                continue
            try:
                r = case(name, work)
            except Exception:
                traceback.print_exc()
                r = {"name": name, "notes": ["failed, see above"], "bad": True}
            bad += r["bad"]
            print(f"{name:26}{show(r, 'folder')} {show(r, 'ours')} {show(r, 'theirs')}{'  TOO FAR' if r['bad'] else ''}  {'; '.join(dict.fromkeys(r['notes']))}", flush=True)
    sys.exit(bad > 0)


if __name__ == "__main__":
    enter()
    sys.path.insert(0, "tools")
    peer()
    main()
