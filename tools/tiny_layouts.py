#!/usr/bin/env python3
"""Tiny models whose linear layers are pre-quantised, one per layout, with transformers' answers for the dequantised model.

    OMP_NUM_THREADS=1 python tools/tiny_layouts.py [NAME...]     writes tests/model/layouts/NAME/ and NAME.gold

The golden is that of tools/tiny_hf.py: float32, eager attention, weights dequantised by the reference before any rounding
to bf16 or f16 (docs/decisions.md says why)."""
import json
import os
import shutil
import struct
import sys

import numpy as np
import torch
import transformers as tf
from safetensors.torch import save_file

import gold_layouts as gl
from gold_layouts import BF16, F16, F32

OUT = "tests/model/layouts"
LENGTHS = (3, 7, 12)
H, I, V = 64, 64, 48
LLAMA = dict(hidden_size=H, intermediate_size=I, vocab_size=V, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, attn_implementation="eager")


def bnb4(kind, nested):
    def f(t, p, rows, cols):
        gl.bnb4(t, p + ".weight", (rows, cols), kind, F32, nested)
        return t.pop(p + ".weight:gold")
    return f, {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind}


def bnb8():
    def f(t, p, rows, cols):
        q, scb, _ = gl.bnb.int8_vectorwise_quant(gl.normal(rows, cols, scale=0.2).to(F16))
        t |= {p + ".weight": q, p + ".SCB": scb, p + ".weight_format": torch.tensor(0, dtype=torch.uint8)}
        return gl.bnb.int8_vectorwise_dequant(q, scb)
    return f, {"quant_method": "bitsandbytes", "load_in_8bit": True}


def fp8():
    def f(t, p, rows, cols):
        w, s = gl.f8((rows, cols)), gl.normal(rows // 32, cols // 64, scale=0.003).abs() + 0.003
        t |= {p + ".weight": w, p + ".weight_scale_inv": s}
        return gl.Fp8Dequantize(None)._dequantize_one(w, s, output_dtype=F32)
    return f, {"quant_method": "fp8", "weight_block_size": [32, 64]}


def ct(fmt, **args):
    groups = {}

    def f(t, p, rows, cols):
        groups.clear()
        gl.ct_module(t, groups, p, fmt, (rows, cols), **args)
        del t[p + ".weight:gold"]
        if fmt[:2] == "nv":
            q, s = t[p + ".weight_packed"], t[p + ".weight_scale"].to(F32) / t[p + ".weight_global_scale"]
            lut = torch.tensor(gl.Fp8Dequantize._FP4_E2M1_LUT)
            v = torch.stack([lut[(q & 15).long()], lut[(q >> 4).long()]], dim=-1).reshape(rows, cols)
            return v * s.repeat_interleave(16, dim=1)
        return gl.exact[p]
    return f, {"quant_method": "compressed-tensors", "format": fmt, "config_groups": groups}


def gptq(**kw):
    def f(t, p, rows, cols):
        made = gl.gptq_module(p, rows, cols, 4, 32, **kw)
        del made[p + ".weight:gold"]
        t |= made
        q, z = unpack(made[p + ".qweight"].numpy().T).T, unpack(made[p + ".qzeros"].numpy()) + 1
        g, s = made[p + ".g_idx"].long().numpy(), made[p + ".scales"].to(F32).numpy()
        return torch.from_numpy(np.ascontiguousarray(((q - z[g]).astype(np.float32) * s[g]).T))
    return f, {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": bool(kw.get("order"))}


def awq():
    def f(t, p, rows, cols):
        made = gl.awq_module(p, rows, cols, 64)
        del made[p + ".weight:gold"]
        t |= made
        at = [0, 4, 1, 5, 2, 6, 3, 7]
        q, z = (unpack(made[p + k].numpy()).reshape(-1, rows // 8, 8)[:, :, at].reshape(-1, rows) for k in (".qweight", ".qzeros"))
        s = made[p + ".scales"].to(F32).numpy()
        g = np.arange(cols) // 64
        return torch.from_numpy(np.ascontiguousarray(((q - z[g]).astype(np.float32) * s[g]).T))
    return f, {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm", "zero_point": True}


def unpack(words):
    """[R][C] of 32 bits -> [R][8 C] nibbles, the lowest first"""
    w = np.ascontiguousarray(words).view(np.uint32)
    return np.stack([(w >> np.uint32(4 * i)) & 15 for i in range(8)], axis=2).reshape(len(w), -1).astype(np.int64)


CASES = {
    "bnb-nf4": bnb4("nf4", True), "bnb-fp4": bnb4("fp4", False), "bnb-int8": bnb8(), "fp8": fp8(),
    "ct-int4": ct("pack-quantized", num_bits=4, strategy="group", group_size=32),
    "ct-int4-asym": ct("pack-quantized", zero=True, dtype=F16, num_bits=4, strategy="group", group_size=32),
    "ct-int8": ct("int-quantized", num_bits=8, strategy="channel"),
    "ct-fp8": ct("float-quantized", num_bits=8, type="float", strategy="channel"),
    "ct-nvfp4": ct("nvfp4-pack-quantized", dtype=F32, num_bits=4, type="float", strategy="tensor_group", group_size=16),
    "ct-mxfp4": ct("mxfp4-pack-quantized", dtype=F32, e8m0=True, num_bits=4, type="float", strategy="group", group_size=32),
    "gptq": gptq(zero=8), "gptq-asym": gptq(), "gptq-order": gptq(order=True), "awq": awq(),
}


def logprobs(model, ids):
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids]), use_cache=False).logits[0].double(), -1)


def greedy(model, ids, n):
    ids = list(ids)
    for _ in range(n):
        top = torch.topk(logprobs(model, ids)[-1], 2)
        if top.values[0] - top.values[1] < 0.4:
            return None
        ids.append(int(top.indices[0]))
    return ids[-n:]


def mxfp4_oss(seed):
    """gpt-oss: experts in MXFP4, all else in bf16"""
    cfg = tf.GptOssConfig(hidden_size=H, intermediate_size=32, vocab_size=V, num_hidden_layers=2, num_attention_heads=4,
                          num_key_value_heads=2, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=6,
                          max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
                          rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, attn_implementation="eager",
                          layer_types=["sliding_attention", "full_attention"])
    model = tf.AutoModelForCausalLM.from_config(cfg, attn_implementation="eager").float().eval()
    gen, t = torch.Generator().manual_seed(seed), {}
    for name, p in model.named_parameters():
        if p.ndim == 3:
            e, k, n = p.shape
            q = gl.integers(0, 256, (e, n, k // 32, 16)).to(torch.uint8)
            s = gl.integers(122, 126, (e, n, k // 32)).to(torch.uint8)
            t |= {name + "_blocks": q, name + "_scales": s}
            p.data = gl.convert_moe_packed_tensors(q, s, dtype=F32)
            continue
        r = torch.randn(p.shape, generator=gen)
        r = 0.3 * r + 1 if "norm" in name else 0.4 * r if p.ndim == 1 or "bias" in name or "embed" in name else 1.5 * r / p.shape[-1] ** .5
        p.data = r.to(BF16).to(F32)
        t[name] = p.data.to(BF16)
    return cfg, model, t, {"quant_method": "mxfp4"}


def llama(seed, case):
    quantise, config = case
    cfg = tf.LlamaConfig(**LLAMA)
    model = tf.AutoModelForCausalLM.from_config(cfg, attn_implementation="eager").float().eval()
    gen, t = torch.Generator().manual_seed(seed), {}
    for name, p in model.named_parameters():
        if p.ndim == 2 and "layers" in name:
            p.data = quantise(t, name.removesuffix(".weight"), *p.shape).clone()
            continue
        r = torch.randn(p.shape, generator=gen)
        r = 0.3 * r + 1 if "norm" in name else 0.4 * r if "embed" in name else 2.5 / H ** .5 * r
        p.data = r.to(BF16).to(F32)
        t[name] = p.data.to(BF16)
    return cfg, model, t, config


def make(name, seed):
    path = f"{OUT}/{name}"
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    cfg, model, t, config = mxfp4_oss(seed) if name == "mxfp4-oss" else llama(seed, CASES[name])
    save_file({k: v.contiguous() for k, v in t.items()}, f"{path}/model.safetensors", metadata={"format": "pt"})
    os.chmod(f"{path}/model.safetensors", 0o644)
    c = json.loads(cfg.to_json_string(use_diff=False))
    keep = {k: v for k, v in c.items() if v is not None and k in type(cfg)().to_dict() and not k.startswith("_")}
    keep |= {"architectures": [type(model).__name__], "quantization_config": config}
    for noise in ("attn_implementation", "use_cache", "transformers_version", "initializer_range"):
        keep.pop(noise, None)
    json.dump(keep, open(f"{path}/config.json", "w"), indent=1, sort_keys=True)
    rng = np.random.default_rng(seed)
    out = b"LMGOLD2\0" + struct.pack("<ii", len(LENGTHS), V)
    for n in LENGTHS:
        for _ in range(2000):
            ids = rng.integers(3, V, n)
            more = greedy(model, ids, 4)
            if more:
                break
        assert more, f"{name}: no sequence without close calls"
        out += struct.pack("<ii", n, len(more)) + ids.astype("<i4").tobytes() + np.array(more, "<i4").tobytes()
        out += logprobs(model, ids.tolist()).float().numpy().astype("<f4").tobytes()
    open(f"{OUT}/{name}.gold", "wb").write(out)
    print(name, os.path.getsize(f"{path}/model.safetensors"), flush=True)


for i, name in enumerate(list(CASES) + ["mxfp4-oss"]):
    if len(sys.argv) == 1 or name in sys.argv[1:]:
        make(name, 100 + i)
