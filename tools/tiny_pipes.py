#!/usr/bin/env python3
"""Tiny pipelines, tokenizer and all, with what sentence-transformers and transformers make of texts: tests/cli/pipes/NAME/
(Hugging Face folders, weights that BF16 holds exactly) and tests/cli/pipes.json.  Needs: torch, transformers,
sentence-transformers, tokenizers, safetensors, numpy."""
import json
import math
import os
import re
import shutil

import numpy as np
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

OUT = "tests/cli/pipes"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three", "four", "five", "six", "red", "blue", "green", "cat", "dog", "##s",
         "##ed", "search", ":", "query", ".", ",", "run", "jump", "a", "b", "c", "##c", "##b", "yes", "no", "is", "it"]
TEXTS = ["one two three", "Red cats, blue dogs.", "", "five six seven " * 9, "jumped a b abc", "green"]
PAIRS = [("one cat", "two dogs run"), ("is it red", "blue " * 20), ("a " * 14, "b c " * 9), ("", "five"), ("cat", "")]
H, NH, I, V = 32, 4, 24, 48
BASE = dict(hidden_size=H, num_hidden_layers=2, intermediate_size=I, num_attention_heads=NH, vocab_size=V,
            max_position_embeddings=40, pad_token_id=0)


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        r = torch.randn(p.shape, generator=g)
        r = (0.3 * r + (0 if name.endswith("bias") else 1) if p.ndim == 1 else
             0.4 * r if "embed" in name else 1.5 / math.sqrt(p.shape[1]) * r)
        p.data = r.bfloat16().float()


def tokenizer(path, bert, longest):
    tok = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.add_special_tokens(WORDS[:4])
    if bert:
        tok.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    else:
        tok.post_processor = processors.TemplateProcessing(single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", 3)])
    fast = tf.PreTrainedTokenizerFast(tokenizer_object=tok, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
                                      sep_token="[SEP]", eos_token=None if bert else "[SEP]", model_max_length=longest,
                                      model_input_names=["input_ids"] + ["token_type_ids"] * bert + ["attention_mask"])
    fast.save_pretrained(path)


def dump(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        json.dump(value, f, indent=1)


def save(name, model, bert=True, longest=40):
    path = f"{OUT}/{name}"
    shutil.rmtree(path, ignore_errors=True)
    model.save_pretrained(path)
    tokenizer(path, bert, longest)
    return path


def modules(path, *names):
    out = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    out += [{"idx": i + 1, "name": str(i + 1), "path": f"{i + 1}_{n}", "type": f"sentence_transformers.models.{n}"} for i, n in enumerate(names)]
    dump(f"{path}/modules.json", out)


def dense(path, rows, cols, act, bias, seed):
    g = torch.Generator().manual_seed(seed)
    w = {"linear.weight": (torch.randn(rows, cols, generator=g) / math.sqrt(cols)).bfloat16().float()}
    if bias:
        w["linear.bias"] = (0.3 * torch.randn(rows, generator=g)).bfloat16().float()
    dump(f"{path}/config.json", {"in_features": cols, "out_features": rows, "bias": bias, "activation_function": act})
    save_file(w, f"{path}/model.safetensors")


def vectors(path, **kw):
    st = SentenceTransformer(path, device="cpu")
    return [[float(x) for x in v] for v in st.encode(TEXTS, **kw)]


def embedder():
    """Mean pooling, two dense layers, normalised; texts cut at 12 tokens; prompts."""
    model = tf.BertModel(tf.BertConfig(**BASE)).eval()
    randomise(model, 1)
    path = save("embed", model)
    modules(path, "Pooling", "Dense", "Dense", "Normalize")
    dump(f"{path}/1_Pooling/config.json", {"word_embedding_dimension": H, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True})
    dense(f"{path}/2_Dense", 24, H, "torch.nn.modules.activation.Tanh", True, 2)
    dense(f"{path}/3_Dense", 16, 24, "torch.nn.modules.linear.Identity", False, 3)
    dump(f"{path}/sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False})
    dump(f"{path}/config_sentence_transformers.json", {"prompts": {"query": "search query: ", "document": ""}, "default_prompt_name": None})
    return {"texts": TEXTS, "plain": vectors(path), "query": vectors(path, prompt_name="query")}


def pooled():
    """The same body pooled in each way, as it comes; a default prompt."""
    out = {}
    for mode in ("cls_token", "max_tokens", "lasttoken", "weightedmean_tokens", "mean_sqrt_len_tokens"):
        path = f"{OUT}/pool"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(f"{OUT}/embed", path, ignore=lambda d, names: [n for n in names if n[1:2] == "_" or n == "modules.json"])
        modules(path, "Pooling")
        dump(f"{path}/1_Pooling/config.json", {"word_embedding_dimension": H, "pooling_mode_mean_tokens": False, f"pooling_mode_{mode}": True})
        dump(f"{path}/config_sentence_transformers.json", {"prompts": {"query": "search query: "}, "default_prompt_name": "query"})
        out[mode] = vectors(path)
    return out | {"texts": TEXTS}


def last():
    """A decoder that embeds by its last token, saved without a head."""
    model = tf.Qwen3Model(tf.Qwen3Config(**BASE, num_key_value_heads=2, head_dim=16)).eval()
    randomise(model, 5)
    path = save("last", model, bert=False)
    modules(path, "Pooling", "Normalize")
    dump(f"{path}/1_Pooling/config.json", {"word_embedding_dimension": H, "pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False})
    return {"texts": TEXTS, "plain": vectors(path)}


def cross():
    model = tf.BertForSequenceClassification(tf.BertConfig(**BASE, num_labels=1, id2label={0: "relevance"}, label2id={"relevance": 0})).eval()
    randomise(model, 7)
    path = save("cross", model, longest=24)
    ce = CrossEncoder(path, device="cpu", max_length=24)
    return {"pairs": PAIRS, "scores": [float(x) for x in ce.predict(PAIRS)]}


def classes(name, model, seed, bert, **kw):
    model = model.eval()
    randomise(model, seed)
    path = save(name, model, bert=bert)
    tok = tf.PreTrainedTokenizerFast.from_pretrained(path)     # AutoTokenizer would take Qwen2's own class
    texts = [t for t in TEXTS if t]
    out = []
    for t in texts:
        with torch.no_grad():
            ids = tok(t, truncation=True, max_length=40, return_tensors="pt")["input_ids"]
            out.append([float(x) for x in model(input_ids=ids).logits[0]])
    return {"texts": texts, "logits": out, "labels": [model.config.id2label[i] for i in range(model.config.num_labels)]}


def renamed():
    """Other names for the same tensors: NomicBERT as the hub's code saves it, BERT as TensorFlow once named it."""
    os.makedirs("tests/model/enc/nomic-hub", exist_ok=True)
    w = load_file("tests/model/enc/nomic-bert/model.safetensors")
    out = {}
    for k, v in w.items():
        k = re.sub(r"^layers\.", "encoder.layers.", k).replace("post_attention_layernorm", "norm1").replace("post_mlp_layernorm", "norm2")
        k = k.replace("mlp.up_proj", "mlp.fc11").replace("mlp.gate_proj", "mlp.fc12").replace("mlp.down_proj", "mlp.fc2")
        k = k.replace("self_attn.o_proj", "attn.out_proj").replace("embeddings.LayerNorm", "emb_ln")
        out[k] = v
    for i in range(2):
        qkv = [out.pop(f"encoder.layers.{i}.self_attn.{x}_proj.weight") for x in "qkv"]
        out[f"encoder.layers.{i}.attn.Wqkv.weight"] = torch.cat(qkv)
    save_file(out, "tests/model/enc/nomic-hub/model.safetensors")
    dump("tests/model/enc/nomic-hub/config.json", {
        "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "activation_function": "swiglu", "causal": False,
        "layer_norm_epsilon": 1e-12, "n_embd": H, "n_head": NH, "n_inner": I, "n_layer": 2, "n_positions": 48, "prenorm": False,
        "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False, "type_vocab_size": 2, "use_rms_norm": False,
        "vocab_size": 48})
    os.makedirs("tests/model/enc/bert-old", exist_ok=True)
    w = load_file("tests/model/enc/bert/model.safetensors")
    save_file({"bert." + k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v for k, v in w.items()}
              | {"cls.predictions.bias": torch.zeros(48)}, "tests/model/enc/bert-old/model.safetensors")
    dump("tests/model/enc/bert-old/config.json", json.load(open("tests/model/enc/bert/config.json")) | {"architectures": ["BertForPreTraining"]})


def main():
    decoder = BASE | dict(num_key_value_heads=2)
    gold = {"embed": embedder(), "pool": pooled(), "last": last(), "cross": cross(),
            "sst": classes("sst", tf.DistilBertForSequenceClassification(tf.DistilBertConfig(
                dim=H, n_layers=1, n_heads=NH, hidden_dim=I, vocab_size=V, max_position_embeddings=40, num_labels=2,
                id2label={0: "NEGATIVE", 1: "POSITIVE"}, label2id={"NEGATIVE": 0, "POSITIVE": 1})), 11, True),
            "topics": classes("topics", tf.Qwen2ForSequenceClassification(tf.Qwen2Config(
                **decoder, num_labels=3, problem_type="multi_label_classification", id2label={0: "x", 1: "y", 2: "z"},
                label2id={"x": 0, "y": 1, "z": 2})), 13, False)}
    with open(f"{OUT}.json", "w") as f:
        json.dump(gold, f)
    renamed()
    for d, _, names in os.walk(OUT):
        for n in names:
            if n == "README.md" or n.startswith("."):
                os.unlink(os.path.join(d, n))
            else:
                os.chmod(os.path.join(d, n), 0o644)
    print(os.popen(f"du -sh {OUT} {OUT}.json tests/model/enc").read())


if __name__ == "__main__":
    main()
