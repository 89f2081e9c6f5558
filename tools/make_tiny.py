#!/usr/bin/env python3
"""Tiny random models, one or more per row of src/model/arch.c, with transformers' answers.

    make_tiny.py [NAME...]        writes tests/model/tiny/NAME.gguf and NAME.gold (format: tools/gold_model.py)
    make_tiny.py hf [NAME...]     writes tests/model/hf/NAME/ and NAME.gold (tools/tiny_hf.py)

Each case is a transformers model of a few layers with random weights (norms and biases too, so that a dropped one
shows), written as a GGUF in F32 under the names and in the layout that converters use.  The golden holds the
log-probability of every token at every position.  Needs: torch, transformers, gguf, numpy."""
import math
import os
import struct
import sys

import gguf
import numpy as np
import torch
import transformers as tf

OUT = "tests/model/tiny"
H, NH, NKV, I, V, CTX, T = 32, 4, 2, 24, 48, 128, 16
BASE = dict(hidden_size=H, num_hidden_layers=2, intermediate_size=I, num_attention_heads=NH, vocab_size=V,
            max_position_embeddings=CTX, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def rope(theta=10000.0, **kw):
    return {"rope_type": "default", "rope_theta": theta, **kw}


YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
YARN_KEYS = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32}
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)


def llama3_divisors(base, dims):
    """The piecewise scaling of Llama 3 as converters write it: divisors of the plain frequencies."""
    out = []
    for i in range(dims // 2):
        wavelength = 2 * math.pi * base ** (2 * i / dims)
        low, high = 64 / LLAMA3["low_freq_factor"], 64 / LLAMA3["high_freq_factor"]
        if wavelength < high:
            out.append(1.0)
        elif wavelength > low:
            out.append(LLAMA3["factor"])
        else:
            k = (64 / wavelength - LLAMA3["low_freq_factor"]) / (LLAMA3["high_freq_factor"] - LLAMA3["low_freq_factor"])
            out.append(1 / ((1 - k) / LLAMA3["factor"] + k))
    return np.array(out, np.float32)


def kinds(n, period):
    return ["full_attention" if i % period == period - 1 else "sliding_attention" for i in range(n)]


SHORT, LONG = [1.0, 1.1, 1.3, 1.7], [2.0, 3.0, 4.0, 5.0]

# name: (architecture, config class, config, keys beyond the common, head size if not H/NH)
CASES = {
    "llama": ("llama", tf.LlamaConfig, dict(num_key_value_heads=NKV, rope_parameters=rope(5000.0)), {}, None),
    "llama-bias": ("llama", tf.LlamaConfig, dict(num_hidden_layers=1, num_key_value_heads=NKV, head_dim=16,
                   attention_bias=True, mlp_bias=True,
                   tie_word_embeddings=True), {}, 16),
    "llama-linear": ("llama", tf.LlamaConfig, dict(num_hidden_layers=1, num_key_value_heads=NKV,
                   rope_parameters=rope() | dict(
                     rope_type="linear", factor=3.0)), {"rope.scaling.type": "linear", "rope.scaling.factor": 3.0},
                   None),
    "llama-yarn": ("llama", tf.LlamaConfig, dict(num_hidden_layers=1, num_key_value_heads=NKV, head_dim=16,
                   rope_parameters=rope() | YARN),
                   YARN_KEYS, 16),
    "llama-llama3": ("llama", tf.LlamaConfig, dict(num_hidden_layers=1, num_key_value_heads=NKV, head_dim=16,
                     rope_parameters=rope(500.0) | LLAMA3), {}, 16),
    "llama-window": ("llama", tf.MistralConfig, dict(num_hidden_layers=1, num_key_value_heads=NKV, head_dim=16,
                   sliding_window=6),
                     {"attention.sliding_window": 6}, 16),
    "qwen2": ("qwen2", tf.Qwen2Config, dict(num_key_value_heads=NKV, rope_parameters=rope(1e6)), {}, None),
    "qwen3": ("qwen3", tf.Qwen3Config, dict(num_key_value_heads=NKV, head_dim=16, rope_parameters=rope(1e6)), {}, 16),
    "phi3": ("phi3", tf.Phi3Config, dict(num_key_value_heads=NKV, sliding_window=7,
             original_max_position_embeddings=CTX), {"attention.sliding_window": 7}, None),
    "phi3-longrope": ("phi3", tf.Phi3Config, dict(
        num_hidden_layers=1, num_key_value_heads=NKV, original_max_position_embeddings=64,
                   tie_word_embeddings=True, sliding_window=None,
        rope_parameters=rope() | dict(rope_type="longrope", short_factor=SHORT, long_factor=LONG, factor=2.0,
                                      original_max_position_embeddings=64)),
        {"attention.sliding_window": 0, "rope.scaling.type": "longrope", "rope.scaling.original_context_length": 64,
         "rope.scaling.attn_factor": math.sqrt(1 + math.log(2) / math.log(64))}, None),
    "granite": ("granite", tf.GraniteConfig, dict(num_key_value_heads=NKV, embedding_multiplier=3.0, logits_scaling=2.0,
                residual_multiplier=0.4, attention_multiplier=0.2),
                {"embedding_scale": 3.0, "logit_scale": 2.0, "residual_scale": 0.4, "attention.scale": 0.2}, None),
    "smollm3": ("smollm3", tf.SmolLM3Config, dict(num_hidden_layers=4, num_key_value_heads=NKV,
                   rope_parameters=rope(2e6)),
                {}, None),
    "glm4": ("glm4", tf.Glm4Config, dict(num_key_value_heads=NKV, head_dim=16, attention_bias=True,
             rope_parameters=rope(partial_rotary_factor=0.5)), {"rope.dimension_count": 8}, 16),
    "ernie4_5": ("ernie4_5", tf.Ernie4_5Config, dict(num_key_value_heads=NKV, head_dim=16), {}, 16),
    "arcee": ("arcee", tf.ArceeConfig, dict(num_key_value_heads=NKV), {}, None),
    "seed_oss": ("seed_oss", tf.SeedOssConfig, dict(num_key_value_heads=NKV, head_dim=16, attention_bias=True,
                 attention_dropout=0.0, residual_dropout=0.0), {}, 16),
    "olmo2": ("olmo2", tf.Olmo2Config, dict(num_key_value_heads=NKV), {}, None),
    "olmo2-olmo3": ("olmo2", tf.Olmo3Config, dict(
        num_hidden_layers=4, num_key_value_heads=NKV, sliding_window=6, layer_types=kinds(4, 4),
        rope_parameters={"full_attention": rope() | YARN, "sliding_attention": rope()}),
        {"attention.sliding_window": 6} | YARN_KEYS, None),
    "exaone4": ("exaone4", tf.Exaone4Config, dict(num_hidden_layers=4, num_key_value_heads=NKV, sliding_window=6,
                layer_types=kinds(4, 2)), {"attention.sliding_window": 6,
                "attention.sliding_window_pattern": [k == "sliding_attention" for k in kinds(4, 2)]}, None),
    "exaone4-full": ("exaone4", tf.Exaone4Config, dict(num_hidden_layers=1, num_key_value_heads=NKV,
                   sliding_window=None,
                     layer_types=["full_attention"]), {}, None),
    "gemma": ("gemma", tf.GemmaConfig, dict(num_key_value_heads=1, head_dim=16), {}, 16),
    "gemma2": ("gemma2", tf.Gemma2Config, dict(
        num_hidden_layers=3, num_key_value_heads=NKV, head_dim=16, query_pre_attn_scalar=16, sliding_window=6,
        final_logit_softcapping=4.0, attn_logit_softcapping=3.0),
        {"attention.sliding_window": 6, "final_logit_softcapping": 4.0, "attn_logit_softcapping": 3.0}, 16),
    "gemma2-27b": ("gemma2", tf.Gemma2Config, dict(     # heads of 128: the scale comes from n_embd / n_head
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=128, query_pre_attn_scalar=H // 2,
        sliding_window=6), {"attention.sliding_window": 6, "final_logit_softcapping": 30.0,
                            "attn_logit_softcapping": 50.0}, 128),
    "gemma3": ("gemma3", tf.Gemma3TextConfig, dict(
        num_hidden_layers=6, num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16, sliding_window=6,
        layer_types=kinds(6, 6), rope_parameters={"full_attention": rope(1e6) | dict(rope_type="linear", factor=8.0),
                                                  "sliding_attention": rope(10000.0)}),
        {"attention.sliding_window": 6, "rope.scaling.type": "linear", "rope.scaling.factor": 8.0}, 16),
    "gpt2": ("gpt2", tf.GPT2Config, None, {}, None),
    "starcoder2": ("starcoder2", tf.Starcoder2Config, dict(num_key_value_heads=NKV, sliding_window=None), {}, None),
    "nemotron": ("nemotron", tf.NemotronConfig, dict(num_key_value_heads=NKV, head_dim=8,
                 rope_parameters=rope(partial_rotary_factor=0.5)), {"rope.dimension_count": 4}, None),
    "stablelm": ("stablelm", tf.StableLmConfig, dict(num_key_value_heads=NKV, use_qkv_bias=True,
                 rope_parameters=rope(partial_rotary_factor=0.25)), {"rope.dimension_count": 2}, None),
    "stablelm-12b": ("stablelm", tf.StableLmConfig, dict(
        num_hidden_layers=1, num_key_value_heads=NKV, qk_layernorm=True, use_parallel_residual=True,
        rope_parameters=rope(partial_rotary_factor=0.25)), {"rope.dimension_count": 2}, None),
    "phi2": ("phi2", tf.PhiConfig, dict(num_key_value_heads=NKV, rope_parameters=rope(partial_rotary_factor=0.5)),
             {"rope.dimension_count": 4}, None),
    "gptneox": ("gptneox", tf.GPTNeoXConfig, dict(rope_parameters=rope(partial_rotary_factor=0.25)),
                {"rope.dimension_count": 2, "use_parallel_residual": True}, None),
    "gptneox-seq": ("gptneox", tf.GPTNeoXConfig, dict(num_hidden_layers=1, use_parallel_residual=False,
                    rope_parameters=rope(partial_rotary_factor=0.25)),
                    {"rope.dimension_count": 2, "use_parallel_residual": False}, None),
    "falcon": ("falcon", tf.FalconConfig, dict(multi_query=True, num_kv_heads=1), {}, None),
    "falcon-40b": ("falcon", tf.FalconConfig, dict(new_decoder_architecture=True, num_kv_heads=NKV,
                   num_ln_in_parallel_attn=2),
                   {}, None),
    "command-r": ("command-r", tf.CohereConfig, dict(num_key_value_heads=NKV, logit_scale=0.5),
                   {"logit_scale": 0.5}, None),
    "command-r-plus": ("command-r", tf.CohereConfig, dict(num_hidden_layers=1, num_key_value_heads=NKV,
                   logit_scale=0.5, use_qk_norm=True),
                       {"logit_scale": 0.5}, None),
    "cohere2": ("cohere2", tf.Cohere2Config, dict(num_hidden_layers=4, num_key_value_heads=NKV, logit_scale=0.5,
                sliding_window=6, layer_types=kinds(4, 4)), {"logit_scale": 0.5, "attention.sliding_window": 6}, None),
}
LN_ARCHS = {"gpt2", "starcoder2", "nemotron", "stablelm", "phi2", "gptneox", "falcon", "command-r", "cohere2"}
PERMUTED = {"llama", "granite", "smollm3", "arcee"}            # q and k heads interleaved
ONE_PLUS = {"gemma", "gemma2", "gemma3", "nemotron"}           # transformers stores norm weight - 1


def config(case):
    arch, cls, kw, _, _ = CASES[case]
    if arch == "gpt2":
        return cls(vocab_size=V, n_positions=CTX, n_embd=H, n_layer=2, n_head=NH, n_inner=I, resid_pdrop=0.0,
                   embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=1, eos_token_id=2, attn_implementation="eager")
    kw = BASE | kw | dict(attn_implementation="eager")
    if arch == "falcon":
        kw |= dict(ffn_hidden_size=I, bias=False, alibi=False, parallel_attn=True)
        del kw["intermediate_size"]
    return cls(**kw)


def randomise(model, arch, seed):
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        r = torch.randn(p.shape, generator=g)
        if p.ndim == 1 or "norm" in name:
            if name.endswith("bias"):
                p.data = 0.2 * r
            else:
                p.data = 0.3 * r + (0 if arch in ONE_PLUS else 1)
        elif "embed" in name or "wte" in name or "wpe" in name:
            p.data = 0.4 * r
        else:
            fan_in = p.shape[0] if "c_" in name and arch == "gpt2" else p.shape[1]
            p.data = 1.5 / math.sqrt(fan_in) * r


def permute(w, n_head):
    """halves -> pairs: row h*hd + 2i + j of the file is row h*hd + j*hd/2 + i of transformers."""
    rest = w.shape[1:]
    return w.reshape(n_head, 2, w.shape[0] // n_head // 2, *rest).swapaxes(1, 2).reshape(w.shape)


def regroup(w, n_kv, per, hd):
    """fused rows per key head [q.. k v] -> [Q; K; V]"""
    rest = w.shape[1:]
    g = w.reshape(n_kv, per + 2, hd, *rest)
    parts = [g[:, :per].reshape(-1, *rest), g[:, per].reshape(-1, *rest), g[:, per + 1].reshape(-1, *rest)]
    return np.concatenate(parts)


def tensors(model, arch, cfg, n_layer):
    """(GGUF name, array) of every weight, in the converters' layout."""
    kinds_by_name = {v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds_by_name[arch], n_layer)
    tied = cfg.tie_word_embeddings
    stacked = {}
    for name, p in model.state_dict().items():
        w = p.float().numpy()
        if (tied and name.startswith(("lm_head", "embed_out"))) or name.endswith((".attn.bias",
                   ".attn.masked_bias", ".inv_freq")):
            continue
        if "_layernorm.norms." in name:                    # StableLM 2 12B: one weight per head
            stem, _, tail = name.partition(".norms.")
            stacked.setdefault(stem, []).append(w)
            continue
        if arch in ONE_PLUS and "norm" in name and name.endswith("weight"):
            w = w + 1
        if arch in PERMUTED and (".q_proj." in name or ".k_proj." in name):
            w = permute(w, NH if ".q_proj." in name else NKV)
        if arch == "gptneox" and "query_key_value" in name:
            w = regroup(w, NH, 1, H // NH)
        if arch == "falcon" and "query_key_value" in name and cfg.new_decoder_architecture:
            w = regroup(w, NKV, NH // NKV, H // NH)
        if arch == "gpt2" and ".c_" in name and name.endswith("weight"):
            w = w.T
        to = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert to, f"no GGUF name for {name}"
        yield to, w
    for stem, rows in stacked.items():
        layer = stem.split(".")[2]
        yield f"blk.{layer}.attn_{'q' if '.q_' in stem else 'k'}_norm.weight", np.stack(rows)


def add(w, key, v):
    if isinstance(v, bool):
        w.add_bool(key, v)
    elif isinstance(v, int):
        w.add_uint32(key, v)
    elif isinstance(v, float):
        w.add_float32(key, v)
    elif isinstance(v, str):
        w.add_string(key, v)
    else:
        w.add_array(key, v)


def theta(cfg):
    p = getattr(cfg, "rope_parameters", None) or {}
    return (p.get("full_attention") or p).get("rope_theta", 10000.0)


def write(case, model, cfg):
    arch, _, _, extra, hd = CASES[case]
    n_layer = cfg.num_hidden_layers
    n_head = cfg.num_attention_heads
    n_kv = {"gpt2": NH, "gptneox": NH}.get(arch) or getattr(cfg, "num_kv_heads", None) or cfg.num_key_value_heads
    w = gguf.GGUFWriter(f"{OUT}/{case}.gguf", arch)
    keys = {"block_count": n_layer, "context_length": CTX, "embedding_length": H, "feed_forward_length": I,
            "attention.head_count": n_head, "attention.head_count_kv": n_kv}
    eps = next(getattr(cfg, n) for n in ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps",
                   "norm_epsilon")
               if hasattr(cfg, n))
    keys["attention.layer_norm_epsilon" if arch in LN_ARCHS else "attention.layer_norm_rms_epsilon"] = float(eps)
    if arch != "gpt2":
        keys["rope.freq_base"] = float(theta(cfg))
    if hd:
        keys |= {"attention.key_length": hd, "attention.value_length": hd}
    for k, v in (keys | extra).items():
        add(w, f"{arch}.{k}", v)
    for name, a in tensors(model, arch, cfg, n_layer):
        w.add_tensor(name, np.ascontiguousarray(a, np.float32))
    if case == "llama-llama3":
        w.add_tensor("rope_freqs.weight", llama3_divisors(500.0, hd))
    if case == "phi3-longrope":
        w.add_tensor("rope_factors_short.weight", np.array(SHORT, np.float32))
        w.add_tensor("rope_factors_long.weight", np.array(LONG, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_gold(path, ids, lp):
    with open(f"{path}.gold", "wb") as f:
        f.write(b"LMGOLD1\0" + struct.pack("<iii", T, T, V) + ids.astype("<i4").tobytes())
        for p in range(T):
            f.write(struct.pack("<i", p) + np.arange(V, dtype="<i4").tobytes() + lp[p].astype("<f4").tobytes())


def make(case, seed):
    arch = CASES[case][0]
    cfg = config(case)
    model = tf.AutoModelForCausalLM.from_config(cfg, attn_implementation="eager").float().eval()
    randomise(model, arch, seed)
    ids = np.random.default_rng(seed).integers(3, V, T)
    with torch.no_grad():
        lp = torch.log_softmax(model(torch.tensor(ids[None])).logits[0].double(), -1).float().numpy()
    write(case, model, cfg)
    write_gold(f"{OUT}/{case}", ids, lp)
    size = os.path.getsize(f"{OUT}/{case}.gguf")
    print(f"{case}: {type(model).__name__}, {size} bytes, log-probs {lp.min():.2f} to {lp.max():.2f}")


def main():
    if sys.argv[1:2] == ["hf"]:
        import tiny_hf
        return tiny_hf.main(sys.modules[__name__], sys.argv[2:])
    os.makedirs(OUT, exist_ok=True)
    for i, case in enumerate(CASES):
        if len(sys.argv) < 2 or case in sys.argv[1:]:
            make(case, 100 + i)
    if len(sys.argv) < 2 or "deepseek2" in sys.argv[1:]:
        import tiny_moe
        tiny_moe.make_gguf(sys.modules[__name__])


if __name__ == "__main__":
    main()
