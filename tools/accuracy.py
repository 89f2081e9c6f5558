#!/usr/bin/env python3
"""accuracy.py [--windows N] [--ref] [--peer] MODEL.gguf ...: how far from exact arithmetic are we, and is the peer?

Reference: transformers in float32 on the dequantised weights (tools/gold_model.py).  Per window of 256 tokens of plain
text, over the full vocabulary: mean KL(reference || ours) of the default CPU path, the same for llama.cpp (its own
default settings, f16 cache) when --peer, and with --ref the largest difference of `--device ref` on the first window.
Needs torch, transformers, gguf; --peer needs the llama_cpp package (LLAMA_CPP_LIB_PATH may name its libraries)."""
import argparse, ctypes, json, os, pydoc_data.topics, subprocess, sys, tempfile

import numpy as np
from gguf import GGUFReader

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gold_model

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
WINDOW = 256


def text_ids(model, n):
    """Ids of the standard library's own prose, as lmrun tokenizes it (every engine gets the same ids)."""
    text = "\n".join(pydoc_data.topics.topics.get(k, "") for k in ("lambda", "typesseq", "exceptions", "customization", "import", "with", "yield", "try", "binary"))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        f.write(text)
        f.flush()
        out = subprocess.run([ROOT + "/lmrun", "tokenize", "-m", model, "-f", f.name, "--json", "--no-bos"], capture_output=True, check=True).stdout
    return json.loads(out)[:n]


def ours(model, ids, *more):
    with tempfile.NamedTemporaryFile(suffix=".f32") as f:
        subprocess.run([ROOT + "/lmrun", "score", "-m", model, "--tokens", ",".join(map(str, ids)), "--json", "--logprobs-out", f.name, *more],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return np.fromfile(f.name, "<f4").reshape(len(ids), -1)


class Peer:
    def __init__(self, model):
        import llama_cpp.llama_cpp as L
        self.L = L
        quiet = L.llama_log_callback(lambda level, text, ud: None)
        self.keep = quiet
        L.llama_log_set(quiet, ctypes.c_void_p(0))
        L.llama_backend_init()
        self.model = L.llama_model_load_from_file(model.encode(), L.llama_model_default_params())
        p = L.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch, p.n_threads, p.n_threads_batch = 512, 512, 512, 2, 2
        self.ctx = L.llama_init_from_model(self.model, p)
        self.n_vocab = L.llama_vocab_n_tokens(L.llama_model_get_vocab(self.model))

    def logprobs(self, ids):
        L = self.L
        L.llama_memory_clear(L.llama_get_memory(self.ctx), True)
        b = L.llama_batch_init(len(ids), 0, 1)
        b.n_tokens = len(ids)
        for i, t in enumerate(ids):
            b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0], b.logits[i] = t, i, 1, 0, 1
        if L.llama_decode(self.ctx, b):
            sys.exit("the peer failed to decode")
        x = np.ctypeslib.as_array(L.llama_get_logits(self.ctx), (len(ids), self.n_vocab)).astype(np.float64)
        L.llama_batch_free(b)
        x -= x.max(-1, keepdims=True)
        return (x - np.log(np.exp(x).sum(-1, keepdims=True))).astype(np.float32)


def kl(ref, lp):
    r = ref.astype(np.float64)
    return (np.exp(r) * (r - lp)).sum(-1)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("models", nargs="+")
    a.add_argument("--windows", type=int, default=8)
    a.add_argument("--ref", action="store_true")
    a.add_argument("--peer", action="store_true")
    a = a.parse_args()
    for path in a.models:
        name = os.path.basename(path)
        ids = text_ids(path, a.windows * WINDOW)
        net = gold_model.build(GGUFReader(path))
        peer = Peer(path) if a.peer else None
        mine, theirs = [], []
        for w in range(0, len(ids) - WINDOW + 1, WINDOW):
            part = ids[w:w + WINDOW]
            ref = gold_model.logprobs(net, part)
            if a.ref and w == 0:
                d = np.abs(ours(path, part, "--device", "ref") - ref)
                print(f"{name}: --device ref, {d.shape[0]} positions x {d.shape[1]} tokens: largest |difference| {d.max():.3g}", flush=True)
            mine += list(kl(ref, ours(path, part)))
            if peer:
                theirs += list(kl(ref, peer.logprobs(part)))
        se = np.std(mine) / len(mine) ** 0.5
        print(f"{name}: mean KL to the reference over {len(mine)} positions: lmrun {np.mean(mine):.6f} (standard error {se:.6f})"
              + (f", llama.cpp {np.mean(theirs):.6f}" if theirs else ""), flush=True)


main()
