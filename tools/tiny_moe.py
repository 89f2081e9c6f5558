"""Cases of tiny_hf.py: mixtures of experts.  Routers are made steep and sequences chosen so that no token is near another
choice of experts (`clear`)."""
import math

import torch
import transformers as tf

H, NH, NKV, V, CTX = 32, 4, 2, 48, 128
BASE = dict(hidden_size=H, num_hidden_layers=2, intermediate_size=24, num_attention_heads=NH, num_key_value_heads=NKV,
            vocab_size=V, max_position_embeddings=CTX, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            attn_implementation="eager")
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
CASES = {}


def fill(name, p, g):
    r = torch.randn(p.shape, generator=g)
    if name.endswith(("gate.weight", "router.weight", "router.layer.weight")):
        return r * 4 / math.sqrt(p.shape[-1])
    if "router.bias" in name:
        return r
    if name.endswith("sinks"):
        return 1.5 * r
    if "experts" in name and p.ndim == 3:              # gpt-oss stores them transposed
        return 1.5 * r / math.sqrt(24)
    if name.endswith("_proj_bias"):
        return 0.3 * r
    return None


def routers(model):
    return [m for n, m in model.named_modules() if type(m).__name__.lower().endswith(("router", "gating"))]


def choices(model, ids, noise):
    got, g = [], torch.Generator().manual_seed(noise)

    def shake(_, args):
        x = args[0]
        return (x + 0.01 * noise * x.abs().mean() * torch.randn(x.shape, generator=g), *args[1:])

    def note(_, args, out):
        got.extend(o.sort(-1).values.flatten().tolist() for o in out if torch.is_tensor(o) and not o.is_floating_point())

    hooks = [h for m in routers(model) for h in (m.register_forward_pre_hook(shake), m.register_forward_hook(note))]
    with torch.no_grad():
        model(torch.tensor([list(ids)]), use_cache=False)
    for h in hooks:
        h.remove()
    assert got
    return got


def clear(model, ids):
    return all(choices(model, ids, 0) == choices(model, ids, n) for n in (1, 2))


def case(name, cls, kw, **more):
    def config():
        return cls(**BASE | kw)
    CASES[name] = dict(config=config, fill=fill, clear=clear) | more


def biased(model, g):
    """DeepSeek V3's correction of choices is a buffer."""
    for n, b in model.named_buffers():
        if n.endswith("e_score_correction_bias"):
            b.data = (0.3 * torch.randn(b.shape, generator=g)).bfloat16().float()


def v4(c):
    """As transformers 4 wrote it, without what is a default."""
    rope = c.pop("rope_parameters", None) or {}
    c["rope_theta"] = rope.pop("rope_theta", 10000.0)
    c["rope_scaling"] = None if rope.get("rope_type", "default") == "default" else rope
    c["torch_dtype"] = c.pop("dtype", "bfloat16")


def v3(c):
    """What the released config.json has and transformers 5 does not write."""
    c["scoring_func"], c["topk_method"] = "sigmoid", "noaux_tc"


case("llama-mixtral", tf.MixtralConfig, dict(intermediate_size=20, num_local_experts=4, num_experts_per_tok=2, sliding_window=None))
case("llama-mixtral-window", tf.MixtralConfig, dict(num_hidden_layers=1, num_local_experts=3, num_experts_per_tok=1,
     sliding_window=6, head_dim=16), edit=v4)

QWEN = dict(moe_intermediate_size=12, num_experts=5, num_experts_per_tok=3)
case("qwen2moe", tf.Qwen2MoeConfig, QWEN | dict(shared_expert_intermediate_size=20, norm_topk_prob=False), edit=v4)
case("qwen2moe-sparse", tf.Qwen2MoeConfig, QWEN | dict(num_hidden_layers=4, shared_expert_intermediate_size=12,
     norm_topk_prob=True, decoder_sparse_step=2, mlp_only_layers=[3], num_experts=3, num_experts_per_tok=2))
case("qwen3moe", tf.Qwen3MoeConfig, QWEN | dict(norm_topk_prob=True, head_dim=16))
case("qwen3moe-sparse", tf.Qwen3MoeConfig, QWEN | dict(num_hidden_layers=3, norm_topk_prob=False, head_dim=16,
     decoder_sparse_step=1, mlp_only_layers=[1], num_experts=4, num_experts_per_tok=2), edit=v4)
case("olmoe", tf.OlmoeConfig, dict(intermediate_size=16, num_experts=5, num_experts_per_tok=2, norm_topk_prob=False))
case("olmoe-norm", tf.OlmoeConfig, dict(num_hidden_layers=1, num_experts=4, num_experts_per_tok=2, norm_topk_prob=True), edit=v4)

GRANITE = dict(embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.4, attention_multiplier=0.2,
               num_local_experts=5, num_experts_per_tok=2, intermediate_size=16)
case("granitemoe", tf.GraniteMoeConfig, GRANITE, edit=v4)
case("granitemoe-shared", tf.GraniteMoeSharedConfig, GRANITE | dict(num_hidden_layers=1, shared_intermediate_size=20))

OSS = dict(num_local_experts=4, num_experts_per_tok=2, head_dim=16, sliding_window=6, intermediate_size=16)
case("gpt-oss", tf.GptOssConfig, OSS | dict(rope_parameters=YARN | dict(truncate=False)))
case("gpt-oss-v4", tf.GptOssConfig, OSS | dict(num_hidden_layers=1, layer_types=["full_attention"], rope_parameters=YARN | dict(
     truncate=False, rope_theta=500.0)), edit=v4)

E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])


def mxfp4(w):
    """Codes and exponents of [experts][in][out] in groups of 32 along `in`: [experts][out][in / 32](, 32)."""
    g = w.float().swapaxes(1, 2).unflatten(-1, (-1, 32))
    e = torch.floor(torch.log2(g.abs().amax(-1))) - 2
    codes = (g.div(torch.exp2(e).unsqueeze(-1)).unsqueeze(-1) - E2M1).abs().argmin(-1)
    return codes, e


def fill_mx(name, p, g):
    if "experts" not in name or p.ndim != 3:
        return fill(name, p, g)
    codes, e = mxfp4(1.5 * torch.randn(p.shape, generator=g) / math.sqrt(32))
    return (E2M1[codes] * torch.exp2(e).unsqueeze(-1)).flatten(-2).swapaxes(1, 2).contiguous()


def pack_mx(path):
    """As gpt-oss is released: element 2k in the low half of byte k."""
    from safetensors.torch import load_file, save_file
    w = load_file(path)
    for name in [n for n in w if n.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        codes, e = mxfp4(w.pop(name))
        w[name + "_blocks"] = (codes[..., 0::2] | codes[..., 1::2] << 4).to(torch.uint8).contiguous()
        w[name + "_scales"] = (e + 127).to(torch.uint8).contiguous()
    save_file(w, path, metadata={"format": "pt"})


def mx_config(c):
    c["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}


case("gpt-oss-mxfp4", tf.GptOssConfig, OSS | dict(num_hidden_layers=2, num_local_experts=3, intermediate_size=32, head_dim=8,
     rope_parameters=YARN | dict(truncate=False)), fill=fill_mx, after=pack_mx, edit=mx_config)

MLA = dict(kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=12, v_head_dim=10, moe_intermediate_size=12,
           n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=2, num_key_value_heads=NH, rms_norm_eps=1e-6)
case("deepseek2", tf.DeepseekV2Config, MLA | dict(q_lora_rank=None, first_k_dense_replace=1, topk_method="greedy",
     n_group=1, topk_group=1, routed_scaling_factor=1.0, norm_topk_prob=False), edit=v4)
case("deepseek2-v2", tf.DeepseekV2Config, MLA | dict(q_lora_rank=20, first_k_dense_replace=1, topk_method="group_limited_greedy",
     n_routed_experts=6, n_group=3, topk_group=2, routed_scaling_factor=3.0, norm_topk_prob=False, rope_parameters=YARN | dict(
         mscale=0.707, mscale_all_dim=0.707)))
case("deepseek2-v3", tf.DeepseekV3Config, MLA | dict(q_lora_rank=20, first_k_dense_replace=1, n_routed_experts=8, n_group=4,
     topk_group=2, routed_scaling_factor=2.5, norm_topk_prob=True, rope_parameters=YARN | dict(
         mscale=1.0, mscale_all_dim=1.0)), buffers=biased, edit=v3)
case("deepseek2-mscale", tf.DeepseekV3Config, MLA | dict(num_hidden_layers=1, q_lora_rank=None, first_k_dense_replace=0, n_group=1,
     topk_group=1, routed_scaling_factor=1.5, norm_topk_prob=False, rope_parameters=YARN | dict(
         mscale=1.0, mscale_all_dim=0.5)), buffers=biased, edit=v4)


# ---- GGUFs of DeepSeek, as today's converters write them and as the first ones did ---------------------------------
def deepseek_tensors(model, cfg, old):
    """(GGUF name, array); old: kv_b whole, one matrix per expert; else split per head, gate and up in one stack."""
    nh, nope, dv = cfg.num_attention_heads, cfg.qk_nope_head_dim, cfg.v_head_dim
    w = {n: p.float().numpy() for n, p in model.state_dict().items()}
    yield "token_embd.weight", w["model.embed_tokens.weight"]
    yield "output_norm.weight", w["model.norm.weight"]
    yield "output.weight", w["lm_head.weight"]
    for il in range(cfg.num_hidden_layers):
        p, b = f"model.layers.{il}.", f"blk.{il}."
        for a, z in (("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"), ("self_attn.q_a_proj", "attn_q_a"),
                     ("self_attn.q_a_layernorm", "attn_q_a_norm"), ("self_attn.q_b_proj", "attn_q_b"),
                     ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"), ("self_attn.kv_a_layernorm", "attn_kv_a_norm"),
                     ("self_attn.o_proj", "attn_output"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
                     ("mlp.down_proj", "ffn_down"), ("mlp.gate", "ffn_gate_inp"), ("mlp.shared_experts.gate_proj", "ffn_gate_shexp"),
                     ("mlp.shared_experts.up_proj", "ffn_up_shexp"), ("mlp.shared_experts.down_proj", "ffn_down_shexp")):
            if p + a + ".weight" in w:
                yield b + z + ".weight", w[p + a + ".weight"]
        kv = w[p + "self_attn.kv_b_proj.weight"]
        if old:
            yield b + "attn_kv_b.weight", kv
        else:
            kv = kv.reshape(nh, nope + dv, -1)
            yield b + "attn_k_b.weight", kv[:, :nope].swapaxes(1, 2)
            yield b + "attn_v_b.weight", kv[:, nope:]
        if p + "mlp.gate.weight" not in w:
            continue
        yield b + "exp_probs_b.bias", w[p + "mlp.gate.e_score_correction_bias"]
        gate_up, down = w[p + "mlp.experts.gate_up_proj"], w[p + "mlp.experts.down_proj"]
        if not old:
            yield b + "ffn_gate_up_exps.weight", gate_up
            yield b + "ffn_down_exps.weight", down
        for e in range(cfg.n_routed_experts if old else 0):
            half = gate_up.shape[1] // 2
            yield b + f"ffn_gate.{e}.weight", gate_up[e, :half]
            yield b + f"ffn_up.{e}.weight", gate_up[e, half:]
            yield b + f"ffn_down.{e}.weight", down[e]


def write_deepseek(mt, path, model, cfg, old):
    import gguf
    import numpy as np
    w = gguf.GGUFWriter(path, "deepseek2")
    rope, c = cfg.qk_rope_head_dim, cfg.kv_lora_rank
    keys = {"block_count": cfg.num_hidden_layers, "context_length": CTX, "embedding_length": H, "feed_forward_length": cfg.intermediate_size,
            "attention.head_count": NH, "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0, "rope.dimension_count": rope,
            "attention.q_lora_rank": cfg.q_lora_rank, "attention.kv_lora_rank": c, "expert_count": cfg.n_routed_experts,
            "expert_used_count": cfg.num_experts_per_tok, "expert_feed_forward_length": cfg.moe_intermediate_size,
            "expert_shared_count": cfg.n_shared_experts, "expert_weights_scale": 2.5, "expert_weights_norm": True, "expert_gating_func": 2,
            "expert_group_count": cfg.n_group, "expert_group_used_count": cfg.topk_group, "leading_dense_block_count": 1,
            "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32,
            "rope.scaling.yarn_log_multiplier": 0.1}
    own = cfg.qk_nope_head_dim + rope, cfg.v_head_dim
    mqa = {"attention.head_count_kv": 1, "attention.key_length": c + rope, "attention.value_length": c,
           "attention.key_length_mla": own[0], "attention.value_length_mla": own[1]}
    mha = {"attention.head_count_kv": NH, "attention.key_length": own[0], "attention.value_length": own[1]}
    for k, v in (keys | (mha if old else mqa)).items():
        mt.add(w, f"deepseek2.{k}", v)
    for name, a in deepseek_tensors(model, cfg, old):
        w.add_tensor(name, np.ascontiguousarray(a, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def make_gguf(mt):
    """tests/model/tiny/deepseek2-{old,new}.gguf and .gold"""
    import tiny_hf
    cfg = tf.DeepseekV3Config(**BASE | MLA | dict(q_lora_rank=20, first_k_dense_replace=1, n_routed_experts=4, n_group=2, topk_group=1,
                              routed_scaling_factor=2.5, norm_topk_prob=True, moe_intermediate_size=8, n_shared_experts=1,
                              rope_parameters=YARN | dict(mscale=1.0, mscale_all_dim=1.0)))
    model = tf.AutoModelForCausalLM.from_config(cfg, attn_implementation="eager").float().eval()
    tiny_hf.randomise(model, dict(fill=fill, buffers=biased), 7)
    rng = mt.np.random.default_rng(7)
    ids = rng.integers(3, V, mt.T)
    while not clear(model, ids):
        ids = rng.integers(3, V, mt.T)
    lp = tiny_hf.logprobs(model, ids.tolist()).float().numpy()
    for old in (False, True):
        case = f"{mt.OUT}/deepseek2-{'old' if old else 'new'}"
        write_deepseek(mt, case + ".gguf", model, cfg, old)
        mt.write_gold(case, ids, lp)
