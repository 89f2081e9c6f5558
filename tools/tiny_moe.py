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

MLA = dict(kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=12, v_head_dim=10, moe_intermediate_size=12,
           n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=2, num_key_value_heads=NH, rms_norm_eps=1e-6)
case("deepseek2", tf.DeepseekV2Config, MLA | dict(q_lora_rank=None, first_k_dense_replace=1, topk_method="greedy",
     n_group=1, topk_group=1, routed_scaling_factor=1.0, norm_topk_prob=False), edit=v4)
case("deepseek2-v2", tf.DeepseekV2Config, MLA | dict(q_lora_rank=20, first_k_dense_replace=1, topk_method="group_limited_greedy",
     n_routed_experts=6, n_group=3, topk_group=2, routed_scaling_factor=3.0, norm_topk_prob=False, rope_parameters=YARN | dict(
         mscale=0.707, mscale_all_dim=0.707)))
case("deepseek2-v3", tf.DeepseekV3Config, MLA | dict(q_lora_rank=20, first_k_dense_replace=1, n_routed_experts=8, n_group=4,
     topk_group=2, routed_scaling_factor=2.5, norm_topk_prob=True, rope_parameters=YARN | dict(
         mscale=1.0, mscale_all_dim=1.0)), buffers=biased)
case("deepseek2-mscale", tf.DeepseekV3Config, MLA | dict(num_hidden_layers=1, q_lora_rank=None, first_k_dense_replace=0, n_group=1,
     topk_group=1, routed_scaling_factor=1.5, norm_topk_prob=False, rope_parameters=YARN | dict(
         mscale=1.0, mscale_all_dim=0.5)), buffers=biased, edit=v4)
