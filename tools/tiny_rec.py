"""Cases of tiny_hf.py: recurrent and hybrid models, as transformers computes them without its kernel packages.  Scans run in
chunks of 8 there, so that the longest sequence crosses several."""
import math

import torch
import transformers as tf
from tiny_moe import clear

BASE = dict(hidden_size=32, vocab_size=48, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager")
HEADS = dict(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128)
CASES = {}


def fill(name, p, g):
    r, u = torch.randn(p.shape, generator=g), torch.rand(p.shape, generator=g)
    if name.endswith("A_log"):
        return torch.log(0.2 + 3 * u)
    if name.endswith(("dt_bias", "dt_proj.bias")):
        return r - 1
    if name.endswith(".D"):
        return r
    if p.ndim == 3 and "conv" in name:
        return 0.6 * r
    if name.endswith(("gate.weight", "router.layer.weight")) and "proj" not in name:
        return 4 * r / math.sqrt(p.shape[-1])
    if "linear_attn.norm" in name:                      # plain where the others are 1 + w
        return 1 + 0.3 * r
    return None


def case(name, cls, kw, **more):
    CASES[name] = dict(config=lambda: cls(**BASE | kw), fill=fill) | more


def v4(c):
    """As transformers 4 wrote it: names of layers, rope at the top, Infinity."""
    for key in ("layer_types", "layers_block_type"):
        if key in c and not c["model_type"].startswith(("qwen", "lfm2")):
            c[key] = [{"linear_attention": "mamba", "full_attention": "attention"}.get(k, k) for k in c[key]]
    rope = c.pop("rope_parameters", None) or {}
    if rope:
        c["rope_theta"] = rope["rope_theta"]
        if "partial_rotary_factor" in rope:
            c["partial_rotary_factor"] = rope["partial_rotary_factor"]
    if "time_step_limit" in c and isinstance(c["time_step_limit"][1], dict):
        c["time_step_limit"][1] = math.inf
    c["torch_dtype"] = c.pop("dtype", "bfloat16")


def letters(c):
    """Nemotron-H as released: a pattern, and nothing of experts."""
    kinds = c.pop("layers_block_type")
    for k in [k for k in c if "expert" in k or "moe" in k or "mtp" in k or "topk" in k or k in ("n_group", "layer_types")]:
        del c[k]
    c["hybrid_override_pattern"] = "".join({"linear_attention": "M", "mlp": "-", "full_attention": "*"}[k] for k in kinds)
    c["num_hidden_layers"] = len(kinds)


MAMBA = dict(num_hidden_layers=2, state_size=6, conv_kernel=4, time_step_rank=3)
case("mamba", tf.MambaConfig, MAMBA, edit=v4)
case("mamba-bias", tf.MambaConfig, MAMBA | dict(num_hidden_layers=1, use_bias=True, use_conv_bias=False, expand=3, conv_kernel=3,
     tie_word_embeddings=False))
case("mamba-falcon", tf.FalconMambaConfig, MAMBA | dict(tie_word_embeddings=False, mixer_rms_eps=1e-6))

MAMBA2 = dict(num_hidden_layers=2, state_size=6, conv_kernel=4, num_heads=4, head_dim=16, n_groups=2, chunk_size=8)
case("mamba2", tf.Mamba2Config, MAMBA2, edit=v4)
case("mamba2-clamp", tf.Mamba2Config, MAMBA2 | dict(num_hidden_layers=1, time_step_limit=(0.2, 0.6), use_bias=True, n_groups=1,
     tie_word_embeddings=True))

GRANITE = HEADS | dict(num_hidden_layers=3, layer_types=["linear_attention", "full_attention", "linear_attention"],
                       intermediate_size=16, shared_intermediate_size=24, num_local_experts=0, num_experts_per_tok=0,
                       mamba_n_heads=4, mamba_n_groups=2, mamba_d_state=6, mamba_d_head=16, mamba_d_conv=4, mamba_chunk_size=8,
                       position_embedding_type="nope", embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.4,
                       attention_multiplier=0.2, tie_word_embeddings=True)
case("granitehybrid", tf.GraniteMoeHybridConfig, GRANITE, edit=v4)
case("granitehybrid-moe", tf.GraniteMoeHybridConfig, GRANITE | dict(num_local_experts=4, num_experts_per_tok=2), clear=clear)
case("granitehybrid-rope", tf.GraniteMoeHybridConfig, GRANITE | dict(num_hidden_layers=2, position_embedding_type="rope",
     layer_types=["linear_attention", "full_attention"]), edit=v4)
case("granite-hybrid4", tf.GraniteMoeHybridConfig, GRANITE | dict(num_hidden_layers=1, position_embedding_type="rope",
     layer_types=["full_attention"]), edit=v4)
case("granitemoe-hybrid4", tf.GraniteMoeHybridConfig, GRANITE | dict(num_hidden_layers=1, position_embedding_type="rope",
     layer_types=["full_attention"], num_local_experts=4, num_experts_per_tok=2), clear=clear)

LFM2 = HEADS | dict(num_hidden_layers=3, intermediate_size=48, block_auto_adjust_ff_dim=True, block_multiple_of=8)
case("lfm2", tf.Lfm2Config, LFM2 | dict(layer_types=["conv", "full_attention", "conv"]), edit=v4)
case("lfm2-bias", tf.Lfm2Config, LFM2 | dict(num_hidden_layers=2, full_attn_idxs=[1], conv_bias=True, conv_L_cache=4,
     block_auto_adjust_ff_dim=False))

H1 = HEADS | dict(num_hidden_layers=2, intermediate_size=24, head_dim=16, mamba_d_ssm=48, mamba_n_heads=3, mamba_d_head=16,
                  mamba_n_groups=1, mamba_d_state=6, mamba_d_conv=4, mamba_chunk_size=8, lm_head_multiplier=0.5,
                  embedding_multiplier=3.0, mlp_multipliers=[1.25, 0.75], key_multiplier=0.625, attention_out_multiplier=0.875,
                  attention_in_multiplier=1.25, ssm_multipliers=[0.875, 1.125, 1.25, 0.75, 0.625], ssm_in_multiplier=1.5,
                  ssm_out_multiplier=0.75)
case("falcon-h1", tf.FalconH1Config, H1, edit=v4)
case("falcon-h1-norm", tf.FalconH1Config, H1 | dict(num_hidden_layers=1, mamba_rms_norm=True, mamba_n_heads=4, mamba_d_ssm=64,
     mamba_n_groups=2, tie_word_embeddings=True))
case("falcon-h1-late", tf.FalconH1Config, H1 | dict(num_hidden_layers=1, mamba_rms_norm=True, mamba_norm_before_gate=False))

NEMOTRON = HEADS | dict(layers_block_type=["linear_attention", "mlp", "full_attention", "mlp"], intermediate_size=24, head_dim=16,
                        ssm_state_size=6, mamba_num_heads=4, mamba_head_dim=16, n_groups=2, chunk_size=8, conv_kernel=4)
case("nemotron_h", tf.NemotronHConfig, NEMOTRON, edit=letters)
case("nemotron_h-late", tf.NemotronHConfig, NEMOTRON | dict(layers_block_type=["mlp", "linear_attention", "full_attention"],
     time_step_min=0.02))

QWEN = HEADS | dict(num_hidden_layers=2, layer_types=["linear_attention", "full_attention"], intermediate_size=24, head_dim=16,
                    linear_conv_kernel_dim=4, linear_key_head_dim=12, linear_value_head_dim=12, linear_num_key_heads=2,
                    linear_num_value_heads=4, moe_intermediate_size=12, shared_expert_intermediate_size=20, num_experts=4,
                    num_experts_per_tok=2,
                    rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25})
case("qwen3next", tf.Qwen3NextConfig, QWEN, plus=True, clear=clear)
case("qwen3next-dense", tf.Qwen3NextConfig, QWEN | dict(mlp_only_layers=[0, 1], linear_value_head_dim=8), plus=True, edit=v4)
