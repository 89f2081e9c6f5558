#!/usr/bin/env python3
"""Tiny random encoders, one or more per encoder row of src/model/arch.c, with transformers' answers.

    tiny_enc.py [NAME...]     writes tests/model/enc/NAME/ (config.json, model.safetensors: a Hugging Face folder, weights
                              stored as BF16), NAME.gguf (the same in F32 under the names of converters) and NAME.gold

NAME.gold, little endian: "LMENC1\\0\\0", i32 n_seqs, hidden, labels; for each sequence i32 n, i32 ids[n], i32 types[n],
f32 rows[n][hidden] after the last norm, f32 logits[labels].  Float32, eager attention; three sequences, one of them longer
than any sliding window.  Needs: torch, transformers, gguf, safetensors, numpy."""
import json
import math
import os
import re
import struct
import sys

import gguf
import numpy as np
import torch
import transformers as tf
from safetensors.torch import save_file

OUT = "tests/model/enc"
H, NH, I, V, CTX = 32, 4, 24, 48, 48
BASE = dict(hidden_size=H, num_hidden_layers=2, intermediate_size=I, num_attention_heads=NH, vocab_size=V,
            max_position_embeddings=CTX, pad_token_id=0)
BOUND = dict(bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
BERT = {"block_count": 2, "context_length": CTX, "embedding_length": H, "feed_forward_length": I,
        "attention.head_count": NH, "attention.layer_norm_epsilon": 1e-12, "attention.causal": False}
LAYER = [(r"(?:encoder\.layer|transformer\.layer|layers)\.(\d+)\.", r"blk.\1.")]
NAMES = {
    "bert": LAYER + [
        (r"embeddings\.word_embeddings", "token_embd"), (r"embeddings\.position_embeddings", "position_embd"),
        (r"embeddings\.token_type_embeddings", "token_types"), (r"embeddings\.LayerNorm", "token_embd_norm"),
        (r"attention\.self\.query|attention\.q_lin|self_attn\.q_proj", "attn_q"),
        (r"attention\.self\.key|attention\.k_lin|self_attn\.k_proj", "attn_k"),
        (r"attention\.self\.value|attention\.v_lin|self_attn\.v_proj", "attn_v"),
        (r"attention\.output\.dense|attention\.out_lin|self_attn\.o_proj", "attn_output"),
        (r"attention\.output\.LayerNorm|sa_layer_norm|post_attention_layernorm", "attn_output_norm"),
        (r"intermediate\.dense|ffn\.lin1|mlp\.up_proj", "ffn_up"),
        (r"output\.dense|ffn\.lin2|mlp\.down_proj", "ffn_down"), (r"mlp\.gate_proj", "ffn_gate"),
        (r"output\.LayerNorm|output_layer_norm|post_mlp_layernorm", "layer_output_norm"),
        (r"^pooler\.dense|^pre_classifier|^classifier\.dense", "cls"), (r"^classifier\.out_proj", "cls.output"),
        (r"^classifier\.(weight|bias)", r"cls.output.\1")],
    "modern-bert": LAYER + [
        (r"embeddings\.tok_embeddings", "token_embd"), (r"embeddings\.norm", "token_embd_norm"),
        (r"attn_norm", "attn_norm"), (r"attn\.Wqkv", "attn_qkv"), (r"attn\.Wo", "attn_output"),
        (r"mlp_norm", "ffn_norm"), (r"mlp\.Wi", "ffn_up"), (r"mlp\.Wo", "ffn_down"), (r"^final_norm", "output_norm"),
        (r"^head\.dense", "cls"), (r"^head\.norm", "cls.norm"), (r"^classifier", "cls.output")],
    "gemma-embedding": LAYER + [
        (r"embed_tokens", "token_embd"), (r"self_attn\.(q|k|v)_proj", r"attn_\1"), (r"self_attn\.o_proj", "attn_output"),
        (r"self_attn\.(q|k)_norm", r"attn_\1_norm"), (r"input_layernorm", "attn_norm"),
        (r"post_attention_layernorm", "post_attention_norm"), (r"pre_feedforward_layernorm", "ffn_norm"),
        (r"post_feedforward_layernorm", "post_ffw_norm"), (r"mlp\.(gate|up|down)_proj", r"ffn_\1"),
        (r"^norm", "output_norm")],
}

# name: (GGUF architecture, model class, config, keys beyond BERT's)
CASES = {
    "bert": ("bert", tf.BertModel, tf.BertConfig(**BASE), {}),
    "bert-cls": ("bert", tf.BertForSequenceClassification, tf.BertConfig(**BASE | dict(num_hidden_layers=1), num_labels=3,
                 id2label={0: "bad", 1: "so so", 2: "good"}), {"block_count": 1}),
    "roberta": ("bert", tf.RobertaForSequenceClassification, tf.RobertaConfig(**BASE | dict(
                max_position_embeddings=CTX + 2, pad_token_id=1), num_labels=1, type_vocab_size=1, layer_norm_eps=1e-5),
                {"attention.layer_norm_epsilon": 1e-5}),
    "distilbert": ("bert", tf.DistilBertForSequenceClassification, tf.DistilBertConfig(
                   dim=H, n_layers=2, n_heads=NH, hidden_dim=I, vocab_size=V, max_position_embeddings=CTX, num_labels=2),
                   {}),
    "nomic-bert": ("nomic-bert", tf.NomicBertModel, tf.NomicBertConfig(**BASE), {"rope.freq_base": 1000.0}),
    "modern-bert": ("modern-bert", tf.ModernBertForSequenceClassification, tf.ModernBertConfig(
                    **BASE | BOUND | dict(num_hidden_layers=4), num_labels=3, local_attention=8, classifier_pooling="mean",
                    global_attn_every_n_layers=3),
                    {"block_count": 4, "attention.layer_norm_epsilon": 1e-5, "attention.sliding_window": 8,
                     "rope.freq_base": 160000.0, "rope.freq_base_swa": 10000.0, "classifier.pooling_type": 1}),
    "gemma-embedding": ("gemma-embedding", tf.Gemma3TextModel, tf.Gemma3TextConfig(
                        **BASE | dict(num_hidden_layers=3), num_key_value_heads=2, head_dim=16, sliding_window=8,
                        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                        query_pre_attn_scalar=16, use_bidirectional_attention=True, bos_token_id=1, eos_token_id=2),
                        {"block_count": 3, "attention.head_count_kv": 2, "attention.sliding_window_pattern": 2, "attention.key_length": 16,
                         "attention.value_length": 16, "attention.layer_norm_rms_epsilon": 1e-6,
                         "attention.sliding_window": 8, "rope.freq_base": 1000000.0, "rope.freq_base_swa": 10000.0}),
}
LENGTHS = (5, 16, 37)


def randomise(model, seed):
    """Values that BF16 holds exactly: the folder stores them as such, the GGUF as F32."""
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        r = torch.randn(p.shape, generator=g)
        if p.ndim == 1:
            plus = 0 if isinstance(model, tf.Gemma3TextModel) or name.endswith("bias") else 1
            r = (0.2 if name.endswith("bias") else 0.3) * r + plus
        elif "embed" in name:
            r = 0.4 * r
        else:
            r = 1.5 / math.sqrt(p.shape[1]) * r
        p.data = r.bfloat16().float()


def body(model):
    return model.base_model if hasattr(model, "base_model") else model


def write_gguf(case, model):
    arch, _, cfg, extra = CASES[case]
    keys = BERT | extra
    w = gguf.GGUFWriter(f"{OUT}/{case}.gguf", arch)
    for k, v in keys.items():
        name = f"{arch}.{k}"
        (w.add_bool if isinstance(v, bool) else w.add_uint32 if isinstance(v, int) else
         w.add_float32 if isinstance(v, float) else w.add_string)(name, v)
    if hasattr(model, "classifier") and cfg.num_labels > 1:
        w.add_array(f"{arch}.classifier.output_labels", [cfg.id2label[i] for i in range(cfg.num_labels)])
    for name, p in model.state_dict().items():
        a = p.float().numpy()
        name = re.sub(r"^(bert|roberta|distilbert|model)\.", "", name)
        if "position_ids" in name or (name.startswith("pooler") and not hasattr(model, "classifier")):
            continue
        for pattern, to in NAMES["bert" if arch == "nomic-bert" else arch]:
            name = re.sub(pattern, to, name)
        if name == "position_embd.weight":
            a = a[a.shape[0] - CTX:]
        if arch == "gemma-embedding" and "norm" in name:
            a = a + 1
        w.add_tensor(name, np.ascontiguousarray(a, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_folder(case, model):
    path = f"{OUT}/{case}"
    os.makedirs(path, exist_ok=True)
    cfg = json.loads(model.config.to_json_string(use_diff=True))
    cfg["architectures"] = [type(model).__name__]
    json.dump(cfg, open(f"{path}/config.json", "w"), indent=1, sort_keys=True)
    save_file({k: v.bfloat16().contiguous() for k, v in model.state_dict().items() if v.is_floating_point()},
              f"{path}/model.safetensors", metadata={"format": "pt"})


def make(case, seed):
    _, cls, cfg, _ = CASES[case]
    cfg._attn_implementation = "eager"
    torch.manual_seed(0)
    model = cls(cfg).float().eval()
    randomise(model, seed)
    rng = np.random.default_rng(seed)
    n_types = getattr(cfg, "type_vocab_size", 1) or 1
    labels = cfg.num_labels if hasattr(model, "classifier") else 0
    out = b"LMENC1\0\0" + struct.pack("<iii", len(LENGTHS), H, labels)
    for n in LENGTHS:
        ids = rng.integers(3, V, n)
        types = (np.arange(n) > n // 2) * (1 if n_types > 1 and n != 5 and cls is not tf.DistilBertForSequenceClassification
                                           else 0)
        kw = {"token_type_ids": torch.tensor(types[None])} if types.any() else {}
        kw["input_ids"] = torch.tensor(ids[None])
        with torch.no_grad():
            rows = body(model)(**kw).last_hidden_state[0]
            logits = model(**kw).logits[0].numpy() if labels else np.zeros(0)
        out += struct.pack("<i", n) + ids.astype("<i4").tobytes() + types.astype("<i4").tobytes()
        out += rows.numpy().astype("<f4").tobytes() + logits.astype("<f4").tobytes()
    open(f"{OUT}/{case}.gold", "wb").write(out)
    write_gguf(case, model)
    write_folder(case, model)
    print(f"{case}: {cls.__name__}, {os.path.getsize(f'{OUT}/{case}.gguf')} bytes, rows {rows.min():.2f} to {rows.max():.2f}")


def main():
    os.makedirs(OUT, exist_ok=True)
    for i, case in enumerate(CASES):
        if len(sys.argv) < 2 or case in sys.argv[1:]:
            make(case, 300 + i)


if __name__ == "__main__":
    main()
