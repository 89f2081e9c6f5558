#!/usr/bin/env python3
"""Reference log-probabilities of a real GGUF by transformers in float32.

    gold_model.py MODEL.gguf --full OUT.f32 [--ids OUT.i32] [--logits IN.f32]   every log-prob, compare with ours
    gold_model.py MODEL.gguf --golden tests/model/NAME.gold                     compact golden for `make test`

Weights are dequantised by the gguf package and filled into transformers' own model, so nothing of lmrun takes part.
The compact golden (little endian): "LMGOLD1\\0", i32 n_ids, i32 n_rows, i32 n_per_row, i32 ids[n_ids], then per row
i32 position, i32 token[n_per_row], f32 logprob[n_per_row]: the 64 likeliest tokens and 64 drawn at random.
Needs: torch, transformers, gguf, numpy."""
import argparse
import struct
import sys

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

TEXT = """The lighthouse keeper had counted ships for thirty-one years, and in all that time he had never once been
wrong. On the morning of 12 March 1887 the fog came in from the north-west, thick as wool, and he counted by ear: the
low horn of the coal steamer, the bell of the fishing fleet, the slap of canvas. "Seven," he wrote in the log, then
crossed it out and wrote "eight", because something else was moving out there, slowly, without a light.

def count(ships):
    return sum(1 for s in ships if s.visible or s.audible)

He opened the window. Cold air rolled over the sill and across the papers, and with it came a smell of tar, oranges and
wet rope. Die Luft war still; nur das Wasser sprach. What do you do with a sound that you cannot place? You wait. He
had learned that from his father, who had learned it from the sea. By noon the fog had thinned to a pale ribbon along
the horizon, and there she was: a three-masted barque with her sails hanging like washing, no flag, nobody at the
wheel, and on her stern, in letters a foot high, the name of the village that he had left when he was a boy."""


def fields(reader):
    return {k: f.contents() for k, f in reader.fields.items() if not k.startswith("tokenizer.")}


def unpermute(w, n_head):
    """GGUF interleaves the two halves of each q and k head of the llama family; transformers wants halves."""
    out, cols = w.shape
    return w.reshape(n_head, out // n_head // 2, 2, cols).swapaxes(1, 2).reshape(out, cols)


def rename(name, arch):
    fixed = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
             "output.weight": "lm_head.weight"}
    if name in fixed:
        return fixed[name]
    _, layer, rest = name.split(".", 2)
    stem = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
            "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
            "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
            "attn_norm": "input_layernorm",
            "ffn_norm": "pre_feedforward_layernorm" if arch == "gemma3" else "post_attention_layernorm",
            "post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
    return f"model.layers.{layer}.{stem[rest.rsplit('.', 1)[0]]}.weight"


def build(reader):
    kv = fields(reader)
    arch = kv["general.architecture"]
    k = {n[len(arch) + 1:]: v for n, v in kv.items() if n.startswith(arch + ".")}
    n_head, n_kv = k["attention.head_count"], k["attention.head_count_kv"]
    n_vocab = next(int(t.shape[1]) for t in reader.tensors if t.name == "token_embd.weight")
    common = dict(hidden_size=k["embedding_length"], num_hidden_layers=k["block_count"],
                  intermediate_size=k["feed_forward_length"], num_attention_heads=n_head, num_key_value_heads=n_kv,
                  rms_norm_eps=k["attention.layer_norm_rms_epsilon"], vocab_size=n_vocab,
                  max_position_embeddings=k["context_length"], attn_implementation="eager")
    if arch == "llama":
        cfg = LlamaConfig(**common, rope_theta=k["rope.freq_base"], tie_word_embeddings=True)
        model = LlamaForCausalLM(cfg)
    elif arch == "gemma3":
        hd = k["attention.key_length"]
        kinds = ["full_attention" if i % 6 == 5 else "sliding_attention" for i in range(k["block_count"])]
        cfg = Gemma3TextConfig(**common, head_dim=hd, query_pre_attn_scalar=hd, layer_types=kinds,
                               sliding_window=k["attention.sliding_window"],
                               rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": k["rope.freq_base"]},
                                                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}},
                               hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True)
        model = Gemma3ForCausalLM(cfg)
    else:
        sys.exit(f"no mapping for architecture {arch}")
    model = model.float().eval()
    state = {}
    for t in reader.tensors:
        w = dequantize(t.data, t.tensor_type).astype(np.float32)
        if arch == "llama" and ".attn_q." in t.name:
            w = unpermute(w, n_head)
        if arch == "llama" and ".attn_k." in t.name:
            w = unpermute(w, n_kv)
        if arch == "gemma3" and t.name.endswith("norm.weight"):
            w = w - 1                       # transformers multiplies by 1 + w
        state[rename(t.name, arch)] = torch.from_numpy(np.ascontiguousarray(w))
    if "lm_head.weight" not in state:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    missing, extra = model.load_state_dict(state, strict=False)
    if missing or extra:
        sys.exit(f"missing {missing}, extra {extra}")
    return model


def logprobs(model, ids):
    with torch.no_grad():
        out = model(torch.tensor([ids])).logits[0]
    return torch.log_softmax(out.double(), -1).float().numpy()


def golden(path, ids, lp):
    rng = np.random.default_rng(7)
    with open(path, "wb") as f:
        f.write(b"LMGOLD1\0" + struct.pack("<iii", len(ids), len(ids), 128))
        f.write(np.asarray(ids, "<i4").tobytes())
        for p in range(len(ids)):
            top = np.argsort(-lp[p], kind="stable")[:64]
            rest = rng.choice(lp.shape[1], 64, replace=False)
            tok = np.concatenate([top, rest])
            f.write(struct.pack("<i", p) + tok.astype("<i4").tobytes() + lp[p][tok].astype("<f4").tobytes())


def main():
    a = argparse.ArgumentParser()
    a.add_argument("model")
    a.add_argument("--tokens", type=int, default=256)
    a.add_argument("--full")
    a.add_argument("--ids")
    a.add_argument("--logits", help="f32 logits of ours for the same ids: prints the largest difference")
    a.add_argument("--golden")
    a = a.parse_args()
    folder, _, name = a.model.rpartition("/")
    tok = AutoTokenizer.from_pretrained(folder or ".", gguf_file=name)
    ids = tok(TEXT)["input_ids"][:a.tokens]
    if len(ids) < a.tokens:
        sys.exit(f"the text has {len(ids)} tokens only")
    if a.ids:
        np.asarray(ids, "<i4").tofile(a.ids)
    lp = logprobs(build(GGUFReader(a.model)), ids)
    if a.full:
        lp.tofile(a.full)
    if a.golden:
        golden(a.golden, ids, lp)
    if a.logits:
        ours = np.fromfile(a.logits, "<f4").reshape(len(ids), -1).astype(np.float64)
        ours -= ours.max(-1, keepdims=True)
        ours -= np.log(np.exp(ours).sum(-1, keepdims=True))
        d = np.abs(ours - lp)
        print(f"{name}: {d.shape[0]} positions x {d.shape[1]} tokens, largest |difference| {d.max():.3g}, "
              f"mean {d.mean():.3g}, perplexity {np.exp(-np.mean(lp[np.arange(len(ids) - 1), ids[1:]])):.3f}")


if __name__ == "__main__":
    main()
