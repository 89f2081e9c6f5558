#!/usr/bin/env python3
"""Tiny random models as Hugging Face folders, one or more per decoder row of src/model/arch.c, with transformers' answers.

    make_tiny.py hf [NAME...]     writes tests/model/hf/NAME/ (config.json, model.safetensors in BF16) and NAME.gold

The weights are random, norms and biases too (so that a dropped one shows), and BF16 holds them exactly.  The golden, little
endian: "LMGOLD2\\0", i32 n_seqs, n_vocab; per sequence i32 n, n_greedy, ids[n], greedy[n_greedy], f32 logprob[n][n_vocab].
float32, eager attention; greedy tokens where no second best comes near.  Cases are those of make_tiny.py, these, and CASES
of tiny_moe.py and tiny_rec.py where they are: NAME -> dict of
    config     function that makes the transformers config
    cls        model class (default: AutoModelForCausalLM's choice)
    plus       norm weights are stored as w - 1
    edit       function(config.json as a dict) -> None, on what is saved
    rename     function(tensor name) -> name in the file
    shard      save_pretrained's max_shard_size
    fill       function(name, tensor, generator) -> values or None for the usual ones
    buffers    function(model, generator): values of buffers that are saved
    after      function(path of model.safetensors): what is done with the saved weights
    clear      function(model, ids) -> is no token near another path through the model?
    n_greedy   tokens of continuation (default 6)
Needs: torch, transformers, safetensors, numpy."""
import copy
import importlib
import json
import math
import os
import shutil
import struct

import numpy as np
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

OUT = "tests/model/hf"
LENGTHS = (5, 11, 22)


def old_style(c):
    """As transformers 4 wrote it."""
    rope = c.pop("rope_parameters", None) or {}
    local = rope.get("sliding_attention")
    rope = dict(rope.get("full_attention", rope))
    if "rope_theta" in rope:
        c["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        c["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if c["model_type"].startswith("gemma3"):
        c["rope_local_base_freq"] = local["rope_theta"]
    if c["model_type"] == "gpt_neox":
        c["rotary_pct"], c["rotary_emb_base"] = c.pop("partial_rotary_factor"), c.pop("rope_theta")
    c["rope_scaling"] = None
    if rope.get("rope_type", "default") != "default":
        c["rope_scaling"] = rope
    c["torch_dtype"] = c.pop("dtype", "bfloat16")


def scaling_type(c):
    """The key's first name."""
    old_style(c)
    c["rope_scaling"]["type"] = c["rope_scaling"].pop("rope_type")


def no_types(c):
    old_style(c)
    c.pop("layer_types")


def sparse(c):
    """Without what the config class has as its default."""
    default = json.loads(type_of(c)().to_json_string(use_diff=False))
    for k in list(c):
        if k not in ("architectures", "model_type", "vocab_size") and c[k] == default.get(k, "?"):
            del c[k]


def type_of(c):
    return tf.CONFIG_MAPPING[c["model_type"]]


def dense(mt):
    """The cases of make_tiny.py, and what only a folder can show."""
    H, NH, NKV, I, V, CTX, BASE = mt.H, mt.NH, mt.NKV, mt.I, mt.V, mt.CTX, mt.BASE
    kinds, rope = mt.kinds, mt.rope
    out = {}
    for name, (arch, *_) in mt.CASES.items():
        out[name] = dict(config=lambda n=name: mt.config(n), plus=arch in mt.ONE_PLUS)
    small = dict(num_hidden_layers=1, num_key_value_heads=NKV)

    def case(name, cls, kw, **more):
        out[name] = dict(config=lambda: cls(**BASE | kw | dict(attn_implementation="eager")), **more)

    case("llama-dynamic", tf.LlamaConfig, small | dict(rope_parameters=rope() | dict(rope_type="dynamic", factor=2.0)),
         edit=scaling_type)
    case("llama-yarn-factor", tf.LlamaConfig, small | dict(rope_parameters=rope() | mt.YARN | dict(
        attention_factor=0.8, beta_fast=16.0, beta_slow=2.0, truncate=False)))
    case("mistral", tf.MistralConfig, small | dict(head_dim=24, sliding_window=None), edit=old_style)
    case("llama-gelu", tf.LlamaConfig, small | dict(hidden_act="gelu"))
    case("qwen2-window", tf.Qwen2Config, dict(num_hidden_layers=3, num_key_value_heads=NKV, use_sliding_window=True,
         sliding_window=6, max_window_layers=1), edit=no_types)
    case("vaultgemma", tf.VaultGemmaConfig, dict(num_key_value_heads=NKV, head_dim=16, query_pre_attn_scalar=20,
         sliding_window=6, final_logit_softcapping=4.0, attn_logit_softcapping=3.0), plus=True)
    text = BASE | dict(num_hidden_layers=2, num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16,
                       sliding_window=6, layer_types=kinds(2, 2), rope_parameters={
                           "full_attention": rope(1e6) | dict(rope_type="linear", factor=8.0),
                           "sliding_attention": rope(10000.0)})
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28,
                  patch_size=14)
    out["gemma3-vision"] = dict(config=lambda: tf.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1,
                                image_token_index=1, boi_token_index=1, eoi_token_index=2),
                                cls=tf.Gemma3ForConditionalGeneration, plus=True,
                                edit=lambda c: no_pattern(c["text_config"]))
    case("gptneox-tanh", tf.GPTNeoXConfig, dict(num_hidden_layers=1, hidden_act="gelu_fast",
         rope_parameters=rope(partial_rotary_factor=0.75)), edit=old_style)
    case("phi2-tied", tf.PhiConfig, small | dict(tie_word_embeddings=True, rope_parameters=rope(partial_rotary_factor=0.5)))
    case("phi3-mini4", tf.Phi3Config, small | dict(hidden_size=32, num_attention_heads=2, num_key_value_heads=1, sliding_window=None,
         tie_word_embeddings=True, rope_parameters=rope(partial_rotary_factor=0.75)), edit=old_style)
    long = rope() | dict(rope_type="longrope", short_factor=mt.SHORT, long_factor=mt.LONG,
                         original_max_position_embeddings=16)
    case("phi3-long", tf.Phi3Config, small | dict(original_max_position_embeddings=16, sliding_window=None,
                                                   rope_parameters=long), n_greedy=8)
    case("smollm3-nope", tf.SmolLM3Config, dict(num_hidden_layers=3, num_key_value_heads=NKV, no_rope_layers=[1, 0, 1]))
    case("falcon-two", tf.FalconConfig, dict(num_hidden_layers=1, multi_query=False, num_kv_heads=NH, ffn_hidden_size=I,
         bias=True, alibi=False, parallel_attn=True))
    case("falcon-11b", tf.FalconConfig, dict(num_hidden_layers=1, new_decoder_architecture=True, num_kv_heads=NKV,
         num_ln_in_parallel_attn=1, ffn_hidden_size=I, bias=False, alibi=False))
    case("cohere2-window", tf.Cohere2Config, dict(num_hidden_layers=2, num_key_value_heads=NKV, logit_scale=0.25,
         sliding_window=6, layer_types=["sliding_attention", "sliding_attention"]))

    case("qwen3-body", tf.Qwen3Config, small | dict(head_dim=16, tie_word_embeddings=True),
         rename=lambda n: n.removeprefix("model."))                        # as embedding models are saved

    out["llama"]["shard"] = "8KB"
    for name in ("llama-linear", "llama-llama3", "llama-yarn", "llama-window", "glm4", "gptneox", "phi2", "nemotron"):
        out[name]["edit"] = old_style
    for name in ("gemma2", "gemma3", "cohere2"):
        out[name]["edit"] = no_types
    for name in ("qwen3", "gemma", "granite", "stablelm-12b", "ernie4_5"):
        out[name]["edit"] = sparse
    out["gpt2"]["rename"] = lambda n: n.removeprefix("transformer.")       # as on the hub
    del out["phi3-longrope"]
    return out


def no_pattern(c):
    c.pop("_sliding_window_pattern", None)


def all_cases(mt):
    cases = dense(mt)
    for name in ("tiny_moe", "tiny_rec"):
        if importlib.util.find_spec(name):
            cases |= importlib.import_module(name).CASES
    return cases | later(mt)


def own_head(c):
    """A fine-tune whose head is no longer the table, with a config that still says so."""
    old_style(c)
    c["tie_word_embeddings"] = True


def later(mt):
    """Last, since the seeds are counted: what random configurations found."""
    import tiny_moe as moe
    out = {}

    def case(name, cls, kw, **more):
        out[name] = dict(config=lambda: cls(**mt.BASE | kw | dict(attn_implementation="eager"))) | more

    few = dict(num_key_value_heads=mt.NKV, moe_intermediate_size=12, num_experts=3, num_experts_per_tok=2, use_sliding_window=True,
               sliding_window=6)
    routed = dict(fill=moe.fill, clear=moe.clear)
    case("llama-untied", tf.LlamaConfig, dict(num_hidden_layers=1, num_key_value_heads=mt.NKV), edit=own_head)
    case("qwen2moe-window", tf.Qwen2MoeConfig, few | dict(num_hidden_layers=3, shared_expert_intermediate_size=12, max_window_layers=2),
         edit=no_types, **routed)
    case("qwen3moe-window", tf.Qwen3MoeConfig, few | dict(head_dim=16, max_window_layers=2), edit=old_style, **routed)
    case("deepseek2-epsilon", tf.DeepseekV3Config, moe.MLA | dict(num_hidden_layers=1, first_k_dense_replace=0, q_lora_rank=20, n_group=1,
         topk_group=1, rms_norm_eps=1e-3), buffers=moe.biased, **routed)
    case("gpt-oss-truncate", tf.GptOssConfig, moe.OSS | dict(num_hidden_layers=1, num_key_value_heads=mt.NKV, intermediate_size=8, head_dim=16,
         rope_parameters=moe.YARN | dict(rope_theta=500.0)), **routed)
    case("mamba-falcon-expand", tf.FalconMambaConfig, dict(num_hidden_layers=1, state_size=4, conv_kernel=4, time_step_rank=3,
         tie_word_embeddings=False), fill=importlib.import_module("tiny_rec").fill, edit=lambda c: c.update(expand=16))
    return out


def randomise(model, case, seed):
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        r = torch.randn(p.shape, generator=g)
        own = case["fill"](name, p, g) if "fill" in case else None
        if own is not None:
            r = own
        elif p.ndim == 1 or "norm" in name:
            r = 0.2 * r if name.endswith("bias") else 0.3 * r + (0 if case.get("plus") else 1)
        elif "embed" in name or "wte" in name or "wpe" in name:
            r = 0.4 * r
        else:
            r = 1.5 / math.sqrt(p.shape[0 if ".c_" in name and "h." in name else -1]) * r
        p.data = r.bfloat16().float()
    case.get("buffers", lambda m, g: None)(model, g)


def logprobs(model, ids):
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    return torch.log_softmax(logits.double(), -1)


def greedy(model, ids, n):
    """n tokens, or None when one was close."""
    ids = list(ids)
    for _ in range(n):
        top = torch.topk(logprobs(model, ids)[-1], 2)
        if top.values[0] - top.values[1] < 0.1:
            return None
        ids.append(int(top.indices[0]))
    return ids[-n:]


def save(name, model, case):
    path = f"{OUT}/{name}"
    shutil.rmtree(path, ignore_errors=True)
    copy.deepcopy(model).bfloat16().save_pretrained(path, max_shard_size=case.get("shard", "1GB"))
    for f in os.listdir(path):
        if not f.startswith(("config.json", "model")):
            os.remove(f"{path}/{f}")
    c = json.load(open(f"{path}/config.json"))
    for noise in ("attn_implementation", "_attn_implementation_autoset", "use_cache", "transformers_version", "initializer_range"):
        c.pop(noise, None)
    case.get("edit", lambda c: None)(c)
    json.dump(c, open(f"{path}/config.json", "w"), indent=1, sort_keys=True)
    if "rename" in case:
        w = load_file(f"{path}/model.safetensors")
        save_file({case["rename"](k): v for k, v in w.items()}, f"{path}/model.safetensors", metadata={"format": "pt"})
    case.get("after", lambda p: None)(f"{path}/model.safetensors")


def make(name, case, seed):
    cfg = case["config"]()
    torch.manual_seed(0)
    if "cls" in case:
        cfg._attn_implementation = "eager"
        model = case["cls"](cfg)
    else:
        model = tf.AutoModelForCausalLM.from_config(cfg, attn_implementation="eager")
    model = model.float().eval()
    randomise(model, case, seed)
    rng = np.random.default_rng(seed)
    v = cfg.get_text_config().vocab_size
    out = b"LMGOLD2\0" + struct.pack("<ii", len(LENGTHS), v)
    for n in LENGTHS:
        for _ in range(200):
            ids = rng.integers(3, v, n)
            more = greedy(model, ids, case.get("n_greedy", 6))
            if more and case.get("clear", lambda m, i: True)(model, [*ids, *more]):
                break
        else:
            more = None
        assert more, f"{name}: no sequence without close calls"
        out += struct.pack("<ii", n, len(more)) + ids.astype("<i4").tobytes() + np.array(more, "<i4").tobytes()
        out += logprobs(model, ids.tolist()).float().numpy().astype("<f4").tobytes()
    save(name, model, case)
    open(f"{OUT}/{name}.gold", "wb").write(out)
    size = sum(os.path.getsize(f"{OUT}/{name}/{f}") for f in os.listdir(f"{OUT}/{name}"))
    print(f"{name}: {type(model).__name__}, {size} + {len(out)} bytes", flush=True)


def main(mt, names):
    os.makedirs(OUT, exist_ok=True)
    for i, (name, case) in enumerate(all_cases(mt).items()):
        if not names or name in names:
            make(name, case, 1000 + i)
