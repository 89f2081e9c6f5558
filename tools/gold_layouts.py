#!/usr/bin/env python3
"""Writes tests/format/layouts/ and tests/fuzz/corpus/layouts/: small pre-quantised checkpoints in every layout, with what the reference makes of them.

One CASE.safetensors each; its tensors "NAME:gold" are the dequantised NAME, in the type that the reference returns.
cases.json has for each the quantization_config, the types that lmrun is expected to choose, and for malformed
ones the sentence.  References: bitsandbytes on the CPU, compressed-tensors' decompress, transformers for FP8 and
MXFP4; AWQ and GPTQ are defined here by their published formulas, packed bit by bit.
Usage: OMP_NUM_THREADS=1 python tools/gold_layouts.py
"""
import json
import os
import shutil

import bitsandbytes.functional as bnb
import compressed_tensors.compressors as ctc
import numpy as np
import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from safetensors.torch import save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

OUT, CORPUS = "tests/format/layouts", "tests/fuzz/corpus/layouts"
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
E4M3, E5M2, E8M0 = torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu
rng = np.random.default_rng(5)
cases = {}
exact = {}      # weights of compressed-tensors before they are rounded to the type of the scales


def seed(name, config, tensors):
    """for tests/fuzz/fuzz_layouts.c: shapes, and the bytes that open before any weight is made"""
    names = {F32: "F32", F16: "F16", BF16: "BF16", E4M3: "F8_E4M3", E5M2: "F8_E5M2", E8M0: "F8_E8M0", torch.uint8: "U8",
             torch.int8: "I8", torch.int32: "I32", torch.int64: "I64"}
    t = {}
    for k, v in tensors.items():
        first = k.split(".")[0] in ("a", "p", "sym", "asym", "row", "full", "nv", "mx", "order", "three", "zero", "ragged")
        if not first or k.endswith(":gold"):
            continue
        small = "quant_state" in k or "weight_shape" in k
        fill = v.contiguous().view(torch.uint8).numpy().tobytes().decode("latin-1") if small else 56
        t[k] = [names[v.dtype], list(v.shape), 0 if "g_idx" in k else fill]
    with open(f"{CORPUS}/{name}", "w") as f:
        json.dump({"q": config, "t": t}, f)


def put(name, config, tensors, types=None, expect=None):
    if not expect:
        seed(name, config, tensors)
    cases[name] = {"quantization_config": config}
    if types is not None:
        cases[name]["types"] = types
    if expect is not None:
        cases[name]["expect"] = expect
        tensors = {k: v for k, v in tensors.items() if k[-5:] != ":gold"}
    save_file({k: v.contiguous() for k, v in tensors.items()}, f"{OUT}/{name}.safetensors")
    os.chmod(f"{OUT}/{name}.safetensors", 0o644)


def normal(*shape, scale=0.05):
    return torch.from_numpy((rng.standard_normal(shape) * scale).astype(np.float32))


def integers(lo, hi, shape):
    return torch.from_numpy(rng.integers(lo, hi, shape).astype(np.int64))


# ---- bitsandbytes ---------------------------------------------------------------------------------------------
def bnb4(t, name, shape, kind, dtype, nested, block=64):
    w = normal(*shape).to(dtype)
    q, state = bnb.quantize_4bit(w, blocksize=block, compress_statistics=nested, quant_type=kind)
    t[name] = q
    for k, v in state.as_dict(packed=True).items():
        t[f"{name}.{k}"] = v
    # + 0: the library's vector and scalar loops differ in the sign of fp4's second zero
    t[name + ":gold"] = bnb.dequantize_4bit(q, state) + 0


def bitsandbytes():
    four = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    t = {}
    bnb4(t, "a.weight", (24, 128), "nf4", F32, False)
    bnb4(t, "b.weight", (130, 128), "nf4", BF16, True)
    bnb4(t, "c.weight", (33, 50), "nf4", F16, False)
    bnb4(t, "d.weight", (7, 9), "nf4", F32, True)
    bnb4(t, "e.weight", (8, 128), "nf4", F32, True, 128)
    t["plain.weight"] = normal(4, 8).to(BF16)
    put("bnb-nf4", four, t, {"a.weight": "nf4", "b.weight": "nf4", "c.weight": "f32", "d.weight": "f32", "e.weight": "nf4",
                             "plain.weight": "bf16"})
    f = {}
    bnb4(f, "a.weight", (16, 64), "fp4", F32, False)
    bnb4(f, "b.weight", (8, 128), "fp4", BF16, True, 128)
    bnb4(f, "c.weight", (40, 100), "fp4", F16, True)
    put("bnb-fp4", four, f, {"a.weight": "fp4", "b.weight": "fp4", "c.weight": "f32"})

    m = {k: v.clone() for k, v in t.items() if k.startswith("a.")}
    code = m["a.weight.quant_map"]
    code[3] += 0.01
    q = m["a.weight"].numpy().ravel()
    idx = np.stack([q >> 4, q & 15], axis=1).reshape(-1, 64)
    m["a.weight:gold"] = torch.from_numpy((code.numpy()[idx] * m["a.weight.absmax"].numpy()[:, None]).reshape(24, 128))
    put("bnb-map", four, m, {"a.weight": "f32"})

    t8 = {}
    for name, shape in ("a", (20, 96)), ("b", (9, 50)):
        q, scb, _ = bnb.int8_vectorwise_quant(normal(*shape).to(F16))
        t8 |= {f"{name}.weight": q, f"{name}.SCB": scb, f"{name}.weight_format": torch.tensor(0, dtype=torch.uint8),
               f"{name}.weight:gold": bnb.int8_vectorwise_dequant(q, scb)}
    put("bnb-int8", {"quant_method": "bitsandbytes", "load_in_8bit": True}, t8, {"a.weight": "bnb8", "b.weight": "f32"})

    def bad(name, expect, **change):
        b = {k: v for k, v in t.items() if k.startswith("a.")}
        for k, v in change.items():
            k = "a.weight" + k.replace("_dot_", ".").replace("state", "quant_state.bitsandbytes__nf4")
            if v is None:
                del b[k]
            else:
                b[k] = v
        put("bad-bnb-" + name, four, b, expect=expect)

    state = json.loads(bytes(t["a.weight.quant_state.bitsandbytes__nf4"].numpy()))
    text = lambda **kw: torch.frombuffer(bytearray(json.dumps(state | kw).encode()), dtype=torch.uint8)
    bad("absmax", "expected a.weight.absmax beside it, which is missing", _dot_absmax=None)
    bad("map", "a.weight.quant_map: F32 15, expected F32 16", _dot_quant_map=t["a.weight.quant_map"][:15])
    bad("short", "a.weight: 1536 bytes for 6144 weights of 4 bits, expected 3072", _dot_state=text(shape=[48, 128]))
    bad("shape", "its \"shape\" is no list of one to four numbers above 0", _dot_state=text(shape=[1 << 62, 1 << 62]))
    bad("block", "its \"blocksize\" is 0 or less, expected a number above 0", _dot_state=text(blocksize=0))
    bad("json", "a.weight.quant_state.bitsandbytes__nf4: ", _dot_state=torch.zeros(9, dtype=torch.uint8))
    nan = t["a.weight.absmax"].clone()
    nan[17] = float("nan")
    bad("nan", "a.weight.absmax: element 17 is nan, expected a finite number", _dot_absmax=nan)
    b8 = {k: v for k, v in t8.items() if k.startswith("a.")}
    put("bad-bnb-scb", {"quant_method": "bitsandbytes"}, b8 | {"a.SCB": b8["a.SCB"][:19]},
        expect="a.SCB: F32 19, expected F32 20")
    put("bad-bnb-format", {"quant_method": "bitsandbytes"}, b8 | {"a.weight_format": torch.tensor(2, dtype=torch.uint8)},
        expect="a.weight_format: is not 0, expected weights in rows")


# ---- MXFP4 of gpt-oss -----------------------------------------------------------------------------------------
def mxfp4():
    t, shape = {}, (2, 6, 3, 16)
    t["p_blocks"] = integers(0, 256, shape).to(torch.uint8)
    t["p_scales"] = integers(90, 150, shape[:3]).to(torch.uint8)
    t["p_scales"].view(-1)[:4] = torch.tensor([1, 2, 127, 252], dtype=torch.uint8)
    t["p:gold"] = convert_moe_packed_tensors(t["p_blocks"], t["p_scales"], dtype=F32).transpose(1, 2)
    config = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    put("mxfp4", config, t, {"p": "mxfp4"})
    nan = t["p_scales"].clone()
    nan[1, 2, 0] = 255
    put("bad-mx-nan", config, t | {"p_scales": nan}, expect="p_scales: element 24 is nan, expected a finite number")
    put("bad-mx-shape", config, t | {"p_scales": t["p_scales"][:, :5]},
        expect="p_scales: U8 2x5x3, expected F8_E8M0 or U8 2x6x3")
    put("bad-mx-alone", config, {"p_blocks": t["p_blocks"]}, expect="p_blocks: expected p_scales beside it, which is missing")
    put("bad-mx-blocks", config, t | {"p_blocks": t["p_blocks"].view(2, 6, 6, 8)},
        expect="p_blocks: U8 2x6x6x8, expected U8 experts x rows x groups x 16")


# ---- FP8 ------------------------------------------------------------------------------------------------------
def f8(shape, dtype=E4M3):
    w = normal(*shape, scale=40).clamp(-440, 440).to(dtype)
    return w


def blocks(w, s, br, bc):
    r, c = np.arange(w.shape[-2]) // br, np.arange(w.shape[-1]) // bc
    return w.to(F32) * s.to(F32)[..., r[:, None], c[None, :]]


def fp8():
    ref = Fp8Dequantize(None)
    t, types = {}, {}

    def add(name, w, s, suffix, want, gold=None):
        t[f"{name}.weight"], t[f"{name}.weight{suffix}"], types[f"{name}.weight"] = w, s, want
        t[f"{name}.weight:gold"] = ref._dequantize_one(w, s, output_dtype=F32) if gold is None else gold

    add("full", f8((16, 256)), normal(1, 2).abs(), "_scale_inv", "f8_128")
    s, w = normal(2, 2).abs(), f8((20, 160))
    add("ragged", w, s, "_scale_inv", "f8_32", blocks(w, s, 16, 128))
    s, w = normal(1, 1).abs(), f8((20, 50))
    add("odd", w, s, "_scale_inv", "f32")
    add("tensor", f8((6, 128)), torch.tensor(0.0123), "_scale", "f8_128")
    add("channel", f8((9, 96)), normal(9, 1).abs().to(BF16), "_scale", "f8_32")
    s, w = normal(9).abs(), f8((9, 64))
    add("rows", w, s, "_scale", "f8_32", w.to(F32) * s[:, None])
    add("e8m0", f8((16, 128)), torch.tensor([[2.0 ** -7]]).to(E8M0), "_scale_inv", "f8_128")
    w, s = f8((3, 4, 64)), normal(3, 2, 1).abs()
    add("experts", w, s, "_scale_inv", "f8_32", blocks(w, s, 2, 64))
    w = f8((5, 64), E5M2)
    add("e5m2", w, torch.tensor(0.37), "_scale", "f32")
    t |= {"raw.weight": torch.arange(256).to(torch.uint8).view(E4M3), "raw2.weight": torch.arange(256).to(torch.uint8).view(E5M2)}
    for n in "raw", "raw2":
        t[f"{n}.weight:gold"] = t[f"{n}.weight"].to(F32)
    t["tensor.input_scale"] = torch.tensor(1.0)
    types |= {"raw.weight": "f8_e4m3", "raw2.weight": "f8_e5m2"}
    config = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [16, 128]}
    put("fp8", config, t, types)
    a = {"a.weight": t["full.weight"]}
    put("bad-fp8-shape", config, a | {"a.weight_scale_inv": normal(1, 3)},
        expect="a.weight_scale_inv: 1x3 scales for 16x256 weights, expected one, one a row or one a block")
    put("bad-fp8-bare", config, {"a.weight": a["a.weight"]}, expect="a.weight: expected a.weight_scale beside it, which is missing")
    put("bad-fp8-type", config, a | {"a.weight_scale_inv": torch.ones(1, 2, dtype=torch.int32)},
        expect="a.weight_scale_inv: I32, expected scales of F32, F16, BF16, U8 or F8_E8M0")
    put("bad-fp8-inf", config, a | {"a.weight_scale_inv": torch.tensor([[1.0, float("inf")]])},
        expect="a.weight_scale_inv: element 1 is inf, expected a finite number")


def modelopt():
    t = {}
    for name, cols in ("a", 128), ("b", 48):
        n = 7
        q = integers(0, 256, (n, cols // 2)).to(torch.uint8)
        s, g = normal(n, cols // 16, scale=3).abs().to(E4M3), torch.tensor(0.0371)
        e2m1 = torch.tensor(Fp8Dequantize._FP4_E2M1_LUT)
        v = torch.stack([e2m1[(q & 15).long()], e2m1[(q >> 4).long()]], dim=-1).reshape(n, cols)
        t |= {f"{name}.weight": q, f"{name}.weight_scale": s, f"{name}.weight_scale_2": g, f"{name}.input_scale": torch.tensor(2.0),
              f"{name}.weight:gold": v * (s.to(F32) * g).repeat_interleave(16, dim=1)}
    w = f8((5, 128))
    t |= {"c.weight": w, "c.weight_scale": torch.tensor(0.02), "c.input_scale": torch.tensor(1.0), "x.k_scale": torch.tensor(1.0),
          "c.weight:gold": w.to(F32) * torch.tensor(0.02)}
    config = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
    put("modelopt", config, t, {"a.weight": "nv4", "b.weight": "f32", "c.weight": "f8_128"})
    del t["a.weight_scale_2"]
    put("bad-nv-global", config, t, expect="a.weight: expected a.weight_scale_2 beside it, which is missing")


# ---- compressed-tensors ---------------------------------------------------------------------------------------
def ct_module(t, groups, name, fmt, shape, dtype=BF16, zero=False, scale_dtype=None, e8m0=False, **args):
    """quantises a random weight with the library's own compressor, and dequantises it with its decompressor"""
    if zero:
        args["symmetric"] = False
    a = QuantizationArgs(**args)
    scheme = QuantizationScheme(targets=["Linear"], weights=a)
    rows, cols = shape
    strategy = getattr(a.strategy, "value", a.strategy)
    s_shape = {"tensor": (1,), "channel": (rows, 1)}.get(strategy)
    if strategy in ("group", "tensor_group"):
        s_shape = (rows, cols // a.group_size)
    if strategy == "block":
        s_shape = (-(-rows // a.block_structure[0]), -(-cols // a.block_structure[1]))
    w = normal(*shape)
    state = {"weight": w.to(dtype)}
    top = {"int": 2 ** (a.num_bits - 1), "float": 6 if a.num_bits == 4 else 440}[getattr(a.type, "value", a.type)]
    scale = (normal(*s_shape, scale=0.02).abs() + 0.12) / top
    if e8m0:
        scale = torch.exp2(torch.floor(torch.log2(scale)))
    if strategy == "tensor_group":
        state["weight_global_scale"] = torch.tensor([337.25])
        scale = (scale * 337.25).to(E4M3).to(F32)
    state["weight_scale"] = scale.to(scale_dtype or dtype)
    if zero:
        state["weight_zero_point"] = integers(-top, top, s_shape).to(torch.int8)
    compressor = ctc.BaseCompressor.get_value_from_registry(fmt)
    packed = compressor.compress(state, scheme)
    gold = compressor.decompress(packed, scheme)["weight"]
    for k, v in packed.items():
        t[f"{name}.{k}"] = v
    t[f"{name}.weight:gold"] = gold
    wide = packed | {"weight_scale": packed["weight_scale"].to(F32)} if "global" not in " ".join(packed) else packed
    exact[name] = compressor.decompress(wide, scheme)["weight"].to(F32)
    groups[f"group_{len(groups)}"] = {"targets": ["Linear"], "format": fmt, "weights": json.loads(a.model_dump_json())}


def compressed_tensors():
    def config(groups, fmt="mixed-precision"):
        return {"quant_method": "compressed-tensors", "format": fmt, "config_groups": groups, "ignore": ["lm_head"]}

    t, g, types = {}, {}, {}

    def add(name, want, *args, **kw):
        ct_module(t, g, name, *args, **kw)
        types[f"{name}.weight"] = want

    pack = "pack-quantized"
    add("sym", "q4_0", pack, (40, 128), num_bits=4, strategy="group", group_size=32)
    add("fine", "z4_128", pack, (10, 128), F32, num_bits=4, strategy="channel")
    add("asym", "z4_128", pack, (40, 256), F16, zero=True, num_bits=4, strategy="group", group_size=128)
    add("asym32", "z4_32", pack, (33, 96), BF16, zero=True, num_bits=4, strategy="group", group_size=32)
    add("channel", "q8_0", pack, (11, 96), num_bits=8, strategy="channel")
    add("channel0", "z8_32", pack, (24, 96), F16, zero=True, num_bits=8, strategy="channel")
    add("long0", "z8_128", pack, (8, 256), zero=True, num_bits=8, strategy="group", group_size=128)
    add("odd", "f32", pack, (9, 50), zero=True, num_bits=4, strategy="channel")
    add("small", "f32", pack, (6, 48), num_bits=4, strategy="group", group_size=16)
    add("tensor", "q4_0", pack, (5, 64), num_bits=4, strategy="tensor")
    put("ct-pack", config(g, pack), t, types)
    base, conf = dict(t), config(g, pack)
    t, g, types = {}, {}, {}
    add("three", "q4_0", pack, (7, 96), num_bits=3, strategy="group", group_size=32)
    add("six", "z8_32", pack, (7, 64), zero=True, num_bits=6, strategy="group", group_size=32)
    put("ct-odd-bits", config(g, pack), t, types)
    t, g, types = {}, {}, {}
    add("row", "q8_0", "int-quantized", (12, 128), num_bits=8, strategy="channel")
    add("one", "q8_0", "naive-quantized", (6, 64), F16, num_bits=8, strategy="tensor")
    add("zero", "z8_32", "int-quantized", (7, 96), zero=True, num_bits=8, strategy="channel")
    add("odd", "f32", "int-quantized", (3, 50), num_bits=8, strategy="channel")
    add("f8row", "f8_128", "float-quantized", (9, 128), num_bits=8, type="float", strategy="channel")
    add("f8one", "f8_32", "float-quantized", (6, 64), F32, num_bits=8, type="float", strategy="tensor")
    add("f8block", "f8_32", "float-quantized", (40, 96), num_bits=8, type="float", strategy="block", block_structure=[16, 32])
    add("mx8", "f8_32", "mxfp8-quantized", (4, 64), e8m0=True, num_bits=8, type="float", strategy="group", group_size=32,
        scale_dtype=None)
    t["f8row.input_scale"] = torch.tensor(1.0)
    put("ct-naive", config(g), t, types)
    t, g, types = {}, {}, {}
    add("nv", "nv4", "nvfp4-pack-quantized", (9, 128), F32, num_bits=4, type="float", strategy="tensor_group", group_size=16)
    add("nv48", "f32", "nvfp4-pack-quantized", (5, 48), F32, num_bits=4, type="float", strategy="tensor_group", group_size=16)
    add("mx", "mxfp4", "mxfp4-pack-quantized", (6, 96), F32, e8m0=True, num_bits=4, type="float", strategy="group", group_size=32)
    put("ct-fp4", config(g), t, types)
    put("bad-nv-zero", config(g), {k: v for k, v in t.items() if k.startswith("nv.")} | {"nv.weight_global_scale": torch.zeros(1)},
        expect="nv.weight_global_scale: is 0.000000, expected a finite number above 0")

    # activation order, as the library had it: column c takes the scale of group g_idx[c]
    sym = {k.replace("sym.", "o."): v for k, v in base.items() if k.startswith("sym.")}
    order = torch.from_numpy(rng.permutation(128) // 32).to(torch.int32)
    q = np.stack([(base["sym.weight_packed"].numpy().view(np.uint32) >> np.uint32(4 * i)) & 15 for i in range(8)], axis=2)
    gold = (torch.from_numpy(q.reshape(40, 128).astype(np.float32)) - 8) * sym["o.weight_scale"].to(F32)[:, order.long()]
    put("ct-order", conf, sym | {"o.weight_g_idx": order, "o.weight:gold": gold.to(BF16)}, {"o.weight": "bf16"})

    def bad(name, expect, change, c=conf):
        b = {k: v for k, v in base.items() if k.startswith("asym.") or k.startswith("sym.")} | change
        put("bad-ct-" + name, c, {k: v for k, v in b.items() if v is not None}, expect=expect)

    bad("scale", "sym.weight_packed: expected sym.weight_scale beside it, which is missing", {"sym.weight_scale": None})
    bad("shape", "sym.weight_packed: expected sym.weight_shape beside it, which is missing", {"sym.weight_shape": None})
    bad("rows", "sym.weight_shape: says 41 x 128, which is not what sym.weight_packed holds", {"sym.weight_shape": torch.tensor([41, 128])})
    bad("words", "sym.weight_packed: 16 words for rows of 136 weights, expected the num_bits of a config_group",
        {"sym.weight_shape": torch.tensor([40, 136])})
    bad("groups", "sym.weight_scale: BF16 40x3 for 40x128 weights, expected floats: one, one a row or one a group",
        {"sym.weight_scale": base["sym.weight_scale"][:, :3]})
    bad("zeros", "asym.weight_zero_point: I32 4x2, expected I32 5x2", {"asym.weight_zero_point": base["asym.weight_zero_point"][:4]})
    bad("order", "sym.weight_g_idx: element 5 is 4, expected a group from 0 to 3",
        {"sym.weight_g_idx": torch.arange(128, dtype=torch.int32) // 32 + 4 * (torch.arange(128) == 5).int()})
    bad("format", "format of compressed-tensors is \"marlin-24\", which is not read", {}, conf | {"format": "marlin-24"})
    bad("sparse", "format of compressed-tensors is \"sparse-24-bitmask\", which is not read", {},
        conf | {"sparsity_config": {"format": "sparse-24-bitmask"}})
    bad("turn", "has a \"transform_config\", which is not read", {}, conf | {"transform_config": {"config_groups": {"u": {}}}})
    nan = base["sym.weight_scale"].clone()
    nan[3, 2] = float("nan")
    bad("nan", "sym.weight_scale: element 14 is nan, expected a finite number", {"sym.weight_scale": nan})


# ---- AWQ, GPTQ: published formulas, bit by bit ----------------------------------------------------------------
def int32(words):
    return torch.from_numpy(np.array(words, np.uint32).view(np.int32))


def pack_columns(v, bits, order=None):
    """[R][C] -> [R][C*bits/32]: element 32/bits*j + k of a row in field order[k] of word j; other widths run on"""
    out = []
    for row in v:
        if order:
            out.append([sum(int(row[8 * j + k]) << 4 * order[k] for k in range(8)) for j in range(len(row) // 8)])
            continue
        n = sum(int(x) << (bits * i) for i, x in enumerate(row))
        out.append([n >> 32 * j & 0xFFFFFFFF for j in range((len(row) * bits + 31) // 32)])
    return out


def pack_rows(v, bits):
    return np.array(pack_columns(v.T, bits), np.uint32).T


def scales(groups, rows, dtype):
    return (normal(groups, rows, scale=0.01) + 0.02).to(dtype)


def gptq_module(name, rows, cols, bits, group, zero=None, order=False, v2=False, dtype=F16, g_idx=True):
    top, groups = 1 << bits, -(-cols // group)
    q = rng.integers(0, top, (cols, rows))
    z = rng.integers(0 if v2 else 1, top + (0 if v2 else 1), (groups, rows)) if zero is None else np.full((groups, rows), zero)
    g = np.arange(cols) // group
    if order:
        g = g[rng.permutation(cols)]
    s = scales(groups, rows, dtype)
    gold = torch.from_numpy((q - z[g]).astype(np.float32)) * s.to(F32)[g]
    t = {f"{name}.qweight": torch.from_numpy(np.ascontiguousarray(pack_rows(q, bits)).view(np.int32)),
         f"{name}.qzeros": int32(pack_columns(z - (0 if v2 else 1), bits)), f"{name}.scales": s,
         f"{name}.weight:gold": gold.T.to(dtype)}
    if g_idx:
        t[f"{name}.g_idx"] = torch.from_numpy(g.astype(np.int32))
    return t


def gptq():
    for v2 in (False, True):
        t, types = {}, {}

        def add(name, want, *args, **kw):
            t.update(gptq_module(name, *args, v2=v2, **kw))
            types[f"{name}.weight"] = want

        add("sym", "q4_0", 40, 64, 4, 32, 8)
        add("asym", "z4_128", 8, 256, 4, 128)
        add("asym32", "z4_32", 40, 96, 4, 32)
        if v2:
            add("eight", "z8_32", 8, 96, 8, 96)
            add("three", "z4_32", 32, 64, 3, 64)
            put("gptq-v2", {"quant_method": "gptq", "bits": 4, "group_size": 128, "checkpoint_format": "gptq_v2"}, t, types)
            break
        add("two", "z4_32", 32, 64, 2, 32)
        add("three", "z4_128", 32, 128, 3, 128)
        add("three_sym", "q4_0", 32, 64, 3, 64, 4)
        add("eight", "z8_32", 24, 96, 8, 96)
        add("eight_sym", "q8_0", 32, 64, 8, 32, 128)
        add("order", "f16", 40, 96, 4, 32, order=True)
        add("odd", "f32", 8, 40, 4, 20)
        add("short", "z4_32", 8, 160, 4, 128)
        put("gptq", {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}, t, types)
    whole = gptq_module("a", 32, 64, 3, 64, g_idx=False) | gptq_module("b", 32, 96, 3, 96, g_idx=False)
    put("gptq-bare", {"quant_method": "gptq", "bits": 3, "group_size": -1}, whole, {"a.weight": "z4_32", "b.weight": "z4_32"})

    base = gptq_module("a", 32, 64, 4, 32)
    conf = {"quant_method": "gptq", "bits": 4, "group_size": 32}

    def bad(name, expect, change, **c):
        put("bad-gptq-" + name, conf | c, {k: v for k, v in (base | change).items() if v is not None}, expect=expect)

    order = base["a.g_idx"].clone()
    order[7] = -1
    nan = base["a.scales"].clone()
    nan[1, 3] = float("nan")
    bad("scales", "a.qweight: expected a.scales beside it, which is missing", {"a.scales": None})
    bad("zeros", "a.qweight: expected a.qzeros beside it, which is missing", {"a.qzeros": None})
    bad("order", "a.g_idx: element 7 is -1, expected a group from 0 to 1", {"a.g_idx": order})
    bad("short", "a.qweight: 8 words for 33 inputs, expected 2, 3, 4 or 8 bits each", {"a.g_idx": base["a.g_idx"][:33]})
    bad("shape", "a.qzeros: I32 2x3, expected I32 2x4", {"a.qzeros": base["a.qzeros"][:, :3]})
    bad("wide", "a.scales: F16 2x31, expected F32 or F16 or BF16 2x32", {"a.scales": base["a.scales"][:, :31]})
    bad("groups", "a.scales: 3 groups of 64 inputs, expected groups of 32", {"a.scales": torch.ones(3, 32).to(F16)})
    bad("nan", "a.scales: element 35 is nan, expected a finite number", {"a.scales": nan})
    bad("type", "a.qweight: U8 8x32, expected I32 with two dimensions", {"a.qweight": base["a.qweight"].to(torch.uint8)})
    bad("marlin", "checkpoint_format is \"marlin\", expected gptq or gptq_v2", {}, checkpoint_format="marlin")
    bad("bits", "\"bits\" is 16, expected 2 to 8", {}, bits=16)
    bad("group", "\"group_size\" is 0, expected -1 or 1 and more", {}, group_size=0)
    bad("method", "quant_method is \"aqlm\", expected one of bitsandbytes", {}, quant_method="aqlm")


def awq_module(name, rows, cols, group, zero=None, dtype=F16):
    groups = cols // group
    q, z = rng.integers(0, 16, (cols, rows)), rng.integers(0, 16, (groups, rows))
    if zero is not None:
        z[:] = zero
    s = scales(groups, rows, dtype)
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    g = np.arange(cols) // group
    gold = torch.from_numpy((q - z[g]).astype(np.float32)) * s.to(F32)[g]
    return {f"{name}.qweight": int32(pack_columns(q, 4, order)), f"{name}.qzeros": int32(pack_columns(z, 4, order)),
            f"{name}.scales": s, f"{name}.weight:gold": gold.T.to(dtype)}


def awq():
    t = awq_module("a", 16, 256, 128) | awq_module("b", 8, 128, 128, 8) | awq_module("c", 8, 384, 128, dtype=BF16)
    conf = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
    put("awq", conf, t, {"a.weight": "z4_128", "b.weight": "q4_0", "c.weight": "z4_128"})
    put("awq-old", {"quant_method": "awq", "w_bit": 4, "q_group_size": 32, "version": "GEMM"},
        awq_module("a", 24, 96, 32) | awq_module("b", 16, 48, 24), {"a.weight": "z4_32", "b.weight": "f32"})
    b = {k: v for k, v in t.items() if k[:2] == "a."}

    def bad(name, expect, change, **c):
        put("bad-awq-" + name, conf | c, {k: v for k, v in (b | change).items() if v is not None}, expect=expect)

    bad("scales", "a.qweight: expected a.scales beside it, which is missing", {"a.scales": None})
    bad("shape", "a.scales: F16 2x15, expected F32 or F16 or BF16 2x16", {"a.scales": t["a.scales"][:, :15]})
    bad("zeros", "a.qzeros: I32 1x2, expected I32 2x2", {"a.qzeros": t["a.qzeros"][:1]})
    bad("version", "version of awq is \"gemv\", expected gemm", {}, version="gemv")
    bad("bits", "\"bits\" is 3, expected 4 to 4", {}, bits=3)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    os.makedirs(CORPUS, exist_ok=True)
    torch.manual_seed(0)
    for f in (bitsandbytes, mxfp4, fp8, modelopt, compressed_tensors, gptq, awq):
        f()
    with open(f"{OUT}/cases.json", "w") as f:
        f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in cases.items()) + "\n}\n")


if __name__ == "__main__":
    main()
