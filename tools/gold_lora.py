#!/usr/bin/env python3
"""Adapters made by the peft library for tiny bases, with its log-probabilities (tests/model/test_lora.c).

    gold_lora.py [NAME...]       writes tests/model/lora/NAME/ (adapter_config.json, adapter_model.*), NAME.gguf and the
                                 goldens CASE.gold (format: tools/gold_model.py)

Bases are those of make_tiny.py, made again and held against their own goldens; and two of this file: a Hugging Face folder
with the weights of tiny/llama.gguf, and one of random Q4_K and Q8_0 blocks.  LLAMA_CPP: llama.cpp's sources, for GGUF
adapters by its own converter.  Needs: torch, transformers, peft, gguf, safetensors, numpy."""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import peft
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import make_tiny as tiny

OUT = "tests/model/lora"
LLAMA_CPP = os.environ.get("LLAMA_CPP", "llama.cpp")
SCRATCH = tempfile.mkdtemp()
ALL = "all-linear"


def read_gold(path):
    b = open(path, "rb").read()
    n, rows, per = struct.unpack("<iii", b[8:20])
    ids = np.frombuffer(b, "<i4", n, 20)
    rec = np.frombuffer(b, np.uint8, offset=20 + 4 * n).reshape(rows, 4 + 8 * per)
    return ids, rec[:, 4 + 4 * per:].copy().view("<f4")


def write_gold(case, ids, lp):
    with open(f"{OUT}/{case}.gold", "wb") as f:
        f.write(b"LMGOLD1\0" + struct.pack("<iii", len(ids), len(ids), lp.shape[1]) + ids.astype("<i4").tobytes())
        for p in range(len(ids)):
            f.write(struct.pack("<i", p) + np.arange(lp.shape[1], dtype="<i4").tobytes() + lp[p].astype("<f4").tobytes())


def logprobs(model, ids):
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor(np.array(ids)[None])).logits[0].double(), -1).float().numpy()


def tiny_base(case):
    names = list(tiny.CASES)
    cfg = tiny.config(case)
    model = tf.AutoModelForCausalLM.from_config(cfg, attn_implementation="eager").float().eval()
    tiny.randomise(model, tiny.CASES[case][0], 100 + names.index(case))
    ids, want = read_gold(f"tests/model/tiny/{case}.gold")
    assert np.abs(logprobs(model, ids) - want).max() < 1e-5, f"{case} is not the model of tests/model/tiny"
    return model


def k_base():
    """Llama with matrices of random Q4_K and Q8_0 blocks; what they decode to is the reference's model."""
    cfg = tf.LlamaConfig(hidden_size=256, num_hidden_layers=1, intermediate_size=32, num_attention_heads=4,
                         num_key_value_heads=2, head_dim=16, vocab_size=48, max_position_embeddings=128,
                         rope_parameters=tiny.rope(), attn_implementation="eager", tie_word_embeddings=True)
    model = tf.AutoModelForCausalLM.from_config(cfg).float().eval()
    tiny.randomise(model, "llama", 7)
    rng = np.random.default_rng(7)
    w = gguf.GGUFWriter(f"{OUT}/q4k.gguf", "llama")
    for k, v in {"block_count": 1, "context_length": 128, "embedding_length": 256, "feed_forward_length": 32,
                 "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 16,
                 "attention.value_length": 16, "attention.layer_norm_rms_epsilon": float(cfg.rms_norm_eps),
                 "rope.freq_base": 10000.0}.items():
        tiny.add(w, f"llama.{k}", v)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 1)
    state = model.state_dict()
    for name, p in state.items():
        if name == "lm_head.weight":
            continue
        to = names.get_name(name, try_suffixes=(".weight",))
        if p.ndim == 1:
            w.add_tensor(to, p.numpy())
            continue
        rows, cols = p.shape
        if cols % 256 == 0:
            kind, n = gguf.GGMLQuantizationType.Q4_K, cols // 256
            b = rng.integers(0, 256, (rows, n, 144), dtype=np.uint8)
            d = rng.uniform(0.5, 1.5, (rows, n, 1)) * 1.5 / np.sqrt(cols) / (20 * 8)
            b[:, :, 0:2] = d.astype(np.float16).view(np.uint8).reshape(rows, n, 2)
            b[:, :, 2:4] = (7 * d).astype(np.float16).view(np.uint8).reshape(rows, n, 2)
        else:
            kind, n = gguf.GGMLQuantizationType.Q8_0, cols // 32
            b = rng.integers(0, 256, (rows, n, 34), dtype=np.uint8)
            d = rng.uniform(0.5, 1.5, (rows, n, 1)) * 1.5 / np.sqrt(cols) / 70
            b[:, :, 0:2] = d.astype(np.float16).view(np.uint8).reshape(rows, n, 2)
        b = b.reshape(rows, -1)
        w.add_tensor(to, b, raw_dtype=kind)
        x = gguf.quants.dequantize(b, kind).reshape(rows, cols)
        heads = {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2])
        if heads:                                           # pairs -> halves
            x = x.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)
        state[name] = torch.tensor(x)
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return model


def folder_base():
    model = tiny_base("llama")
    model.save_pretrained(f"{OUT}/base-llama")
    os.path.exists(f"{OUT}/base-llama/generation_config.json") and os.remove(f"{OUT}/base-llama/generation_config.json")
    return model


# adapter: (base, LoraConfig, what is done to the base before)
GPT2 = dict(target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)
NEOX = dict(target_modules=["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"])
ADAPTERS = {
    "llama-a": ("llama", dict(r=4, lora_alpha=6, target_modules=ALL), {"dtype": torch.float32}),
    "llama-b": ("llama", dict(r=3, lora_alpha=2, target_modules=["q_proj", "k_proj", "down_proj"]), {}),
    "llama-r1": ("llama", dict(r=1, lora_alpha=2, target_modules=["q_proj", "o_proj", "up_proj"]), {"bin": True}),
    "llama-rs": ("llama", dict(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "v_proj", "gate_proj"],
                 rank_pattern={"layers.0.self_attn.q_proj": 8, "^.*gate_proj": 2},
                 alpha_pattern={"layers.0.self_attn.q_proj": 3, "v_pro[a-z]": 12}), {"dtype": torch.bfloat16}),
    "llama-embd": ("llama", dict(r=4, lora_alpha=6, target_modules=["embed_tokens", "lm_head", "v_proj"]), {}),
    "llama-save": ("llama", dict(r=2, lora_alpha=2, target_modules=["v_proj"], modules_to_save=["embed_tokens", "lm_head",
                   "norm"]), {"resize": 55}),
    "llama-grow": ("llama", dict(r=2, lora_alpha=2, target_modules=["v_proj"]), {"resize": 53, "embeddings": True}),
    "gemma2-grow": ("gemma2", dict(r=2, lora_alpha=2, target_modules=["v_proj"]), {"resize": 51, "embeddings": True}),
    "llama-dora": ("llama", dict(r=4, lora_alpha=6, target_modules=["q_proj", "o_proj", "down_proj"], use_dora=True), {}),
    "bias-all": ("llama-bias", dict(r=2, lora_alpha=4, target_modules=["q_proj", "o_proj"], bias="all"), {}),
    "qwen2-a": ("qwen2", dict(r=4, lora_alpha=6, target_modules=ALL), {}),
    "qwen2-b": ("qwen2", dict(r=8, lora_alpha=4, use_rslora=True, target_modules=["k_proj", "o_proj"]), {"dtype": torch.float32}),
    "gpt2-a": ("gpt2", dict(r=4, lora_alpha=6, **GPT2), {}),
    "gpt2-b": ("gpt2", dict(r=2, lora_alpha=6, target_modules=["c_attn", "wte"], fan_in_fan_out=True), {}),
    "phi3-a": ("phi3", dict(r=4, lora_alpha=6, target_modules=ALL), {}),
    "phi3-b": ("phi3", dict(r=2, lora_alpha=6, target_modules=["qkv_proj", "gate_up_proj"]), {}),
    "neox-a": ("gptneox", dict(r=4, lora_alpha=6, **NEOX), {}),
    "gemma2-a": ("gemma2", dict(r=4, lora_alpha=6, target_modules=["q_proj", "embed_tokens"],
                 modules_to_save=["post_attention_layernorm"]), {}),
    "cohere-a": ("command-r", dict(r=4, lora_alpha=6, target_modules=ALL), {}),
    "q4k-a": ("q4k", dict(r=4, lora_alpha=6, target_modules=ALL), {}),
    "q4k-b": ("q4k", dict(r=2, lora_alpha=6, target_modules=["q_proj", "down_proj"]), {}),
}
# golden: the adapters that are active, with their weights
CASES = {
    "llama-1": [("llama-a", 1.0)], "llama-2": [("llama-a", 0.7), ("llama-b", -1.3)],
    "llama-3": [("llama-rs", 1.0)], "llama-4": [("llama-embd", 0.8), ("llama-r1", 1.5)],
    "llama-5": [("llama-save", 1.0)], "llama-6": [("llama-grow", 1.0)], "llama-7": [("llama-dora", 1.0)],
    "bias-1": [("bias-all", 1.0)],
    "qwen2-1": [("qwen2-a", 1.0)], "qwen2-2": [("qwen2-a", 0.5), ("qwen2-b", 0.9)],
    "gpt2-1": [("gpt2-a", 1.0)], "gpt2-2": [("gpt2-a", 0.5), ("gpt2-b", 0.9)],
    "phi3-1": [("phi3-a", 1.0)], "phi3-2": [("phi3-a", 0.5), ("phi3-b", 0.9)],
    "neox-1": [("neox-a", 1.0)], "gemma2-1": [("gemma2-a", 1.0)], "gemma2-2": [("gemma2-grow", 1.0)], "cohere-1": [("cohere-a", 1.0)],
    "q4k-0": [("q4k-a", 0.0)], "q4k-1": [("q4k-a", 1.0)], "q4k-2": [("q4k-a", 0.7), ("q4k-b", -0.8)],
}
CONVERTED = ["llama-a", "llama-b", "phi3-a", "gemma2-a"]


def base_of(name):
    return k_base() if name == "q4k" else tiny_base(name)


def save(name):
    base, settings, how = ADAPTERS[name]
    model = base_of(base)
    g = torch.Generator().manual_seed(sum(name.encode()))
    if "resize" in how:
        model.resize_token_embeddings(how["resize"], mean_resizing=False)
    if "embeddings" in how:
        for m in (model.get_input_embeddings(), model.get_output_embeddings()):
            m.weight.data = 0.4 * torch.randn(m.weight.shape, generator=g)
    m = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings), autocast_adapter_dtype=False).eval()
    for n, p in m.named_parameters():
        if "lora_A" in n or "lora_embedding_B" in n:
            p.data = torch.randn(p.shape, generator=g) * (1.0 / p.shape[-1] ** 0.5)
        elif "lora_B" in n or "lora_embedding_A" in n:
            p.data = torch.randn(p.shape, generator=g) * 0.5
        elif "magnitude" in n:
            p.data = p.data * (1 + 0.3 * torch.randn(p.shape, generator=g))
        elif "modules_to_save" in n or (settings.get("bias") == "all" and n.endswith(".bias")):
            p.data = (0.2 if n.endswith("bias") else 0.4) * torch.randn(p.shape, generator=g) + (p.ndim == 1 and "weight" in n)
        if "lora_" in n or "modules_to_save" in n:
            p.data = p.data.to(how.get("dtype", torch.float16))
    path = f"{OUT}/{name}"
    shutil.rmtree(path, ignore_errors=True)
    m.save_pretrained(path, safe_serialization=not how.get("bin"), save_embedding_layers=bool(how.get("embeddings")) or "auto")
    cfg = json.load(open(f"{path}/adapter_config.json"))
    cfg["target_modules"] = sorted(cfg["target_modules"])     # a set: in any order
    json.dump(cfg, open(f"{path}/adapter_config.json", "w"), indent=1)
    for extra in os.listdir(path):
        if not extra.startswith("adapter_"):
            os.remove(f"{path}/{extra}")
    convert(name, model, path)


def convert(name, model, path):
    if name not in CONVERTED or not os.path.isdir(LLAMA_CPP):
        return
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(SCRATCH)
    weights = f"{path}/adapter_model.safetensors"
    t = load_file(weights)
    save_file({k: v for k, v in t.items() if "lora_" in k}, f"{SCRATCH}/adapter_model.safetensors")
    shutil.copy(f"{path}/adapter_config.json", SCRATCH)
    subprocess.run([sys.executable, f"{LLAMA_CPP}/convert_lora_to_gguf.py", SCRATCH, "--base", SCRATCH,
                    "--outfile", f"{OUT}/{name}.gguf"], check=True)


def smol(name, modules, layers):
    """For SmolLM2-135M of tests/engine: no golden, only something to tell adapters apart by."""
    path = f"{OUT}/{name}"
    rows = {"q_proj": 576, "v_proj": 192, "up_proj": 1536}
    g = torch.Generator().manual_seed(sum(name.encode()))
    t = {}
    for il in layers:
        for m in modules:
            at = f"base_model.model.model.layers.{il}.{'mlp' if m == 'up_proj' else 'self_attn'}.{m}"
            t[f"{at}.lora_A.weight"] = (torch.randn((2, 576), generator=g) / 24).half()
            t[f"{at}.lora_B.weight"] = torch.randn((rows[m], 2), generator=g).half()
    os.makedirs(path, exist_ok=True)
    peft.LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules=sorted(modules), inference_mode=True).save_pretrained(path)
    save_file(t, f"{path}/adapter_model.safetensors")


def gold(case):
    active = CASES[case]
    base, _, how = ADAPTERS[active[0][0]]
    model = base_of(base)
    if "resize" in how:
        model.resize_token_embeddings(how["resize"], mean_resizing=False)
    m = peft.PeftModel.from_pretrained(model, f"{OUT}/{active[0][0]}", adapter_name="x0")
    for i, (name, _) in enumerate(active[1:], 1):
        m.load_adapter(f"{OUT}/{name}", adapter_name=f"x{i}")
    m.base_model.set_adapter([f"x{i}" for i in range(len(active))])
    for layer in m.modules():
        if isinstance(layer, peft.tuners.lora.LoraLayer):
            for i, (_, weight) in enumerate(active):
                if f"x{i}" in layer.scaling:
                    layer.set_scale(f"x{i}", weight)
    m = m.float().eval()
    n = m.get_input_embeddings().weight.shape[0]
    ids = np.random.default_rng(sum(case.encode())).integers(3, n, 12)
    lp = logprobs(m, ids)
    write_gold(case, ids, lp)
    moved = np.abs(lp[:, :48] - logprobs(base_of(base), np.minimum(ids, 47))[:, :48]).max()
    print(f"{case}: {type(model).__name__} {n} tokens, moved by up to {moved:.3f}")


def main():
    os.makedirs(OUT, exist_ok=True)
    want = sys.argv[1:]
    if not want or "base-llama" in want:
        folder_base()
    for name in ADAPTERS:
        if not want or name in want:
            save(name)
    for args in (("smol-a", ["q_proj", "v_proj"], [1]), ("smol-b", ["q_proj", "up_proj"], [0])):
        if not want or args[0] in want:
            smol(*args)
    for case in CASES:
        if not want or case in want or any(n in want for n, _ in CASES[case]):
            gold(case)


if __name__ == "__main__":
    main()
