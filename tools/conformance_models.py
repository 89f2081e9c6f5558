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
WINDOWLESS = "llama.cpp knows no window in this architecture: compared within it"


# ---- what llama.cpp does otherwise ----------------------------------------------------------------------------------------
# Each entry was looked up in its sources and names a file there.  It excuses the columns it names, no others; and where a
# twin is given (the same model without what llama.cpp does not do: an edit of config.json and tensors) that must agree.
def put(**kw):
    return lambda c, t: c.update(kw)


def both(*edits):
    return lambda c, t: [e(c, t) for e in edits]


def layers(n):
    """The last layer again and again: llama.cpp tells models by the number of their layers."""
    def edit(c, t):
        had = c["num_hidden_layers"]
        for k in [k for k in t if f".layers.{had - 1}." in k]:
            t.update({k.replace(f".layers.{had - 1}.", f".layers.{i}."): t[k].clone() for i in range(had, n)})
        c["num_hidden_layers"] = n
    return edit


def kinds(period):
    return lambda c, t: c.update(layer_types=["full_attention" if i % period == period - 1 else "sliding_attention"
                                              for i in range(c["num_hidden_layers"])])


def drop(end):
    return lambda c, t: [t.pop(k) for k in list(t) if k.endswith(end)]


def wide_ffn(key, up, down):
    """Rows and columns of zeros until the inner width is four times the outer: the same function."""
    def edit(c, t):
        import torch
        wide = 4 * (c.get("hidden_size") or c["n_embd"])
        for k in list(t):
            axis = up[1] if up[0] in k else down[1] if down[0] in k else None
            if axis is None or (t[k].dim() == 1 and down[0] in k):
                continue
            shape = list(t[k].shape)
            shape[axis] = wide - shape[axis]
            t[k] = torch.cat([t[k], torch.zeros(shape, dtype=t[k].dtype)], axis).contiguous()
        c.pop("intermediate_size", None)
        c[key] = wide
    return edit


def every_head(c, t):
    """A key and a value head of its own for every query head."""
    n, kv = c["num_attention_heads"], c["num_key_value_heads"]
    for k in t:
        if any(s in k for s in ("k_proj", "v_proj", "k_norm")):
            t[k] = t[k].unflatten(0, (kv, -1)).repeat_interleave(n // kv, 0).flatten(0, 1).contiguous()
    c["num_key_value_heads"] = n


def untied(c, t):
    t["lm_head.weight"] = t["model.embed_tokens.weight"].clone()
    c["tie_word_embeddings"] = False


def one_mscale(c, t):
    rope = c.get("rope_parameters") or c["rope_scaling"]
    rope["mscale"] = rope["mscale_all_dim"]


def silent(*ends):
    """The second layer and those after it add nothing (their last norms are 1 + w = 0)."""
    return lambda c, t: [v.fill_(-1) for k, v in t.items() if k.endswith(ends) and ".layers.0." not in k]


def no_factor(c, t):
    c["rope_parameters"].pop("attention_factor")


def plain_experts(c, t):
    """MXFP4 experts written out, as transformers keeps floats: [expert, in, out]."""
    import numpy as np
    import torch
    value = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6])
    for k in [k for k in t if k.endswith("_blocks")]:
        b, s = t.pop(k), t.pop(k[:-6] + "scales")
        x = torch.stack([value[(b & 15).long()], value[(b >> 4).long()]], -1).flatten(-2) * torch.exp2(s.float() - 127)[..., None]
        t[k[:-7]] = x.flatten(-2).transpose(1, 2).contiguous().bfloat16()
    c.pop("quantization_config", None)


FALCON = wide_ffn("ffn_hidden_size", ("dense_h_to_4h", 0), ("dense_4h_to_h", 1))
PHI = wide_ffn("intermediate_size", ("mlp.fc1", 0), ("mlp.fc2", 1))
GPT2 = wide_ffn("n_inner", ("mlp.c_fc", -1), ("mlp.c_proj", 0))
WIDE = "its converter writes an inner width of 4 n_embd, whatever the config says (conversion/%s.py)"
ALL = ("ours", "theirs")
KNOWN = {
    **{n: (ALL, WINDOWLESS, None) for n in ("mistral", "llama-window", "phi3", "starcoder2", "qwen2-window", "llama-mixtral-window",
                                          "qwen2moe-window")},
    "command-r-plus": (ALL, "norms of heads in models of 64 layers and more only (models/command-r.cpp)", layers(64)),
    "deepseek2": (ALL, "a model without q_lora_rank has 26 or 27 layers (models/deepseek2.cpp)", layers(27)),
    "deepseek2-epsilon": (("ours",), "one epsilon for all norms (models/deepseek2.cpp)", put(rms_norm_eps=1e-6)),
    "deepseek2-mscale": (ALL, "the same; and it knows one mscale, which both have in released models", both(layers(27), one_mscale)),
    "exaone4": (ALL, "the window in models of 64 layers only (models/exaone4.cpp)", both(layers(64), kinds(4))),
    "falcon": (("theirs",), WIDE % "falcon", FALCON),
    "falcon-11b": (("theirs",), WIDE % "falcon", FALCON),
    "falcon-40b": (("theirs",), WIDE % "falcon", FALCON),
    "falcon-two": (ALL, "no biases of layers (models/falcon.cpp)", both(put(bias=False), FALCON, drop("mlp.dense_h_to_4h.bias"), drop("mlp.dense_4h_to_h.bias"),
                   drop("attention.dense.bias"), drop("query_key_value.bias"))),
    "falcon-h1-norm": (ALL, "the gate before the norm, never after (models/mamba-base.cpp); of a tied head's two multipliers its converter keeps one",
                       both(untied, put(mamba_norm_before_gate=False))),
    "gemma2-27b": (ALL, "this scale in models of 46 layers only (models/gemma2.cpp)", both(layers(46), kinds(2),
                   silent("post_attention_layernorm.weight", "post_feedforward_layernorm.weight"))),
    "gpt-oss-mxfp4": (ALL, "activations become int8 before MXFP4 is multiplied (ggml-cpu.c: vec_dot_type)", plain_experts),
    "gpt-oss-truncate": (("theirs",), "its converter does not write that YaRN's ramp is rounded, as it always rounds; ours does, and both agree", None),
    "gpt-oss-v4": (ALL, "the ends of YaRN's ramp are rounded (ggml.c), here they do not fall on whole dimensions", put(rope_theta=2.0)),
    "gpt2": (("theirs",), WIDE % "gpt2", GPT2),
    "lfm2-bias": (ALL, "convolutions without biases (models/lfm2.cpp)", both(put(conv_bias=False), drop("conv.bias"), drop("in_proj.bias"), drop("conv.out_proj.bias"))),
    "llama-gelu": (ALL, "one activation for this architecture (models/llama.cpp)", put(hidden_act="silu")),
    "llama-yarn-factor": (("theirs",), "does not read the key that its converter writes for attention_factor", no_factor),
    "mamba-falcon-expand": (ALL, "an expansion by 2 only (models/mamba.cpp)", None),
    "mamba-bias": (ALL, "an expansion by 2 only, and no biases (models/mamba.cpp)", None),
    "mamba2-clamp": (ALL, "no biases of projections, no bounds of dt (models/mamba2.cpp)", both(put(use_bias=False, time_step_limit=[0.0, 1e38]), drop("proj.bias"))),
    "nemotron_h-late": (ALL, "no time_step_min (ssm_scan in ggml-cpu/ops.cpp)", put(time_step_min=0.0)),
    "olmoe-norm": (ALL, "norms of keys as wide as the embedding, weights of experts not normalised (models/olmoe.cpp)",
                   both(every_head, put(norm_topk_prob=False))),
    "phi2": (("theirs",), "its converter writes as many key heads as heads and an inner width of 4 n_embd (conversion/phi.py)", both(every_head, PHI)),
    "phi2-tied": (ALL, "a head of its own (models/phi2.cpp)", both(untied, every_head, PHI)),
    "phi3-long": (ALL, "factors chosen by the size of the context: compared beyond it", "long"),
    "qwen2moe-sparse": (ALL, "experts in every layer (models/qwen2moe.cpp)", None),
    "qwen3moe-sparse": (ALL, "experts in every layer (models/qwen3moe.cpp)", None),
    "qwen3moe-window": (("ours",), "no window, and weights of experts always add up to one (models/qwen3moe.cpp)",
                        put(use_sliding_window=False, norm_topk_prob=True)),
    "qwen3next-dense": (ALL, "experts in every layer, value heads as wide as key heads (models/qwen3next.cpp)", None),
    "smollm3-nope": (("ours",), "every fourth layer is without positions (models/smollm3.cpp)", put(no_rope_layers=[1, 1, 1])),
    "stablelm-12b": (("theirs",), "its converter loses the norms of heads: it returns a generator from a generator (conversion/stablelm.py)", None),
    "vaultgemma": (ALL, "no such architecture", None),
}


def granite_names(c):
    c["layer_types"] = [{"linear_attention": "mamba", "full_attention": "attention"}.get(k, k) for k in c["layer_types"]]
    if not c["num_local_experts"]:
        c["intermediate_size"] = c["shared_intermediate_size"]


def nemotron_names(c):
    """Released configs say nothing of experts; with a default of transformers 5 it takes any for nemotron_h_moe."""
    for k in [k for k in c if "expert" in k or "moe" in k]:
        del c[k]
    letter = {"linear_attention": "M", "mamba": "M", "mlp": "-", "full_attention": "*", "attention": "*"}
    c["rms_norm_eps"] = c["layer_norm_epsilon"]
    c["n_group"] = c["topk_group"] = 0
    if "layers_block_type" not in c:
        return
    c["hybrid_override_pattern"] = "".join(letter[k] for k in c["layers_block_type"])
    c["num_hidden_layers"] = len(c["layers_block_type"])


# Its converter reads configs through transformers, but knows the names of transformers 4.
OLD_KEYS = {
    "GPT2LMHeadModel": lambda c: c.update(n_ctx=c["n_positions"]),
    "GPTNeoXForCausalLM": lambda c: c.update(rotary_pct=c["rope_parameters"]["partial_rotary_factor"]),
    "Cohere2ForCausalLM": lambda c: c.update(rotary_pct=(c.get("rope_parameters") or {}).get("partial_rotary_factor", 1.0)),
    "GraniteMoeHybridForCausalLM": granite_names,
    "NemotronHForCausalLM": nemotron_names,
}
FLAGS = {"Qwen3NextForCausalLM": ["--no-mtp"]}


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
OLD_FILES = ("GraniteMoeHybridForCausalLM", "NemotronHForCausalLM")


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


def their_convert(folder, out, arch):
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
    plain_load = C.ModelBase.load_hparams

    def load(*a, **k):
        config = plain_load(*a, **k)
        if arch in OLD_KEYS:
            OLD_KEYS[arch](config)
        return config
    C.ModelBase.load_hparams = staticmethod(load)
    plain_config = open(folder + "/config.json").read()
    if arch in OLD_FILES:                                  # hybrids read the file through transformers, past the hook
        config = json.loads(plain_config)
        OLD_KEYS[arch](config)
        with open(folder + "/config.json", "w") as f:
            json.dump(config, f)
    argv, sys.argv = sys.argv, ["convert", folder, "--outfile", out, "--outtype", "f32", *FLAGS.get(arch, [])]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            C.main()
    except SystemExit as e:
        raise Fails(f"its converter knows no such model (exit {e.code})")
    except Exception as e:
        raise Fails(f"its converter: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"[:110])
    finally:
        sys.argv = argv
        with open(folder + "/config.json", "w") as f:
            f.write(plain_config)
        C.ModelBase.load_hparams = staticmethod(plain_load)
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


def edited(src, folder, edit):
    """A copy of the folder, its config and tensors edited."""
    from safetensors.torch import load_file, save_file
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(src, folder)
    with open(folder + "/config.json") as f:
        config = json.load(f)
    if edit:
        tensors = {}
        for f in [f for f in os.listdir(folder) if f.endswith(".safetensors")]:
            tensors.update(load_file(f"{folder}/{f}"))
            os.unlink(f"{folder}/{f}")
        edit(config, tensors)
        save_file(tensors, folder + "/model.safetensors", metadata={"format": "pt"})
        with open(folder + "/config.json", "w") as f:
            json.dump(config, f)
    return config


def case(name, work, edit=None, part=slice(None)):
    """One line of the table.  An edit makes the twin of an exception, which is excused nothing."""
    import numpy as np
    src, folder = f"tests/model/hf/{name}", work + "/m"
    gold = golden(src + ".gold")[part]
    config = edited(src, folder, edit)
    twin = edit is not None or part != slice(None)
    columns, reason, _ = ((), None, None) if twin else KNOWN.get(name, ((), None, None))
    window = config.get("sliding_window") or config.get("text_config", {}).get("sliding_window")
    upto = window if reason == WINDOWLESS else None
    ours, theirs = work + "/ours.gguf", work + "/theirs.gguf"
    for f in (ours, theirs):
        if os.path.exists(f):
            os.unlink(f)
    add_tokenizer(folder, gold[0][1].shape[1])
    arch = (config.get("architectures") or [""])[0]
    row = {"name": name + (" (twin)" if twin else ""), "notes": [reason] if reason else [], "bad": False}
    p = subprocess.run(["./lmrun", "convert", folder, ours, "--outtype", "f32", "-q"], stderr=subprocess.PIPE, text=True)
    if p.returncode:
        row["bad"] = True
        row["notes"].append(p.stderr.strip().split("\n")[-1])
    for key, fn in (("folder", lambda: max(float(np.abs(lmrun(folder, i, "--precision", "f32") - lmrun(ours, i)).max()) for i, _ in gold)),
                    ("ours", lambda: between(ours, gold, upto)),
                    ("theirs", lambda: (their_convert(folder, theirs, arch), between(theirs, gold, upto))[1])):
        if p.returncode and key != "theirs":
            continue
        excused = key in columns and reason != WINDOWLESS
        try:
            row[key] = fn()
            row["bad"] |= not excused and not row[key] <= (BOUND_FOLDER if key == "folder" else BOUND)
        except Fails as e:
            row["notes"].append(str(e))
            row["bad"] |= not excused or str(e).startswith("lmrun:")
    return row


def main():
    names = sorted(f[:-5] for f in os.listdir("tests/model/hf") if f.endswith(".gold"))
    names = [n for n in names if not sys.argv[1:] or any(a in n for a in sys.argv[1:])]
    show = lambda r, k: f"{r[k]:9.2g}" if k in r else "        -"
    bad = [f"KNOWN has {n}, which is no folder" for n in KNOWN if not os.path.isdir("tests/model/hf/" + n)]
    print("\n".join([*bad, f"{'model':26}{'folder':>9} {'ours':>9} {'theirs':>9}"]))
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            if name.startswith(ENCODERS):
                print(f"{name:26}an encoder: no log-probabilities")
                continue
            twin = KNOWN.get(name, (0, 0, None))[2]
            runs = [{}] + ([{"part": slice(2, 3)}] if twin == "long" else [{"edit": twin}] if twin else [])
            for more in runs:
                try:
                    r = case(name, work, **more)
                except Exception:
                    traceback.print_exc()
                    r = {"name": name, "notes": ["failed, see above"], "bad": True}
                if r["bad"]:
                    bad.append(name)
                print(f"{r['name']:26}{show(r, 'folder')} {show(r, 'ours')} {show(r, 'theirs')}{'  TOO FAR' if r['bad'] else ''}"
                      f"  {'; '.join(dict.fromkeys(r['notes']))}", flush=True)
    sys.exit(len(bad) > 0)


if __name__ == "__main__":
    enter()
    sys.path.insert(0, "tools")
    peer()
    main()
