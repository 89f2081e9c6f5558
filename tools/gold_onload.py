#!/usr/bin/env python3
"""tests/model/onload/: a small BF16 folder, and what transformers gives in float32 once its linear layers were quantised.

    gold_onload.py        writes llama/ (config.json, model.safetensors) and nf4.gold, q8_0.gold, q4_0.gold

nf4: each weight of the layers through bitsandbytes' quantize_4bit and dequantize_4bit (blocks of 64, float32, no double
quantisation), as load_in_4bit has it; q8_0 and q4_0: through the gguf package.  The head and the embedding stay as they
are.  Format of the goldens: tools/tiny_hf.py.  Needs torch, transformers, bitsandbytes, gguf."""
import os
import shutil
import struct

import bitsandbytes.functional as bnb
import gguf
import numpy as np
import torch
import transformers as tf

OUT = "tests/model/onload"
KINDS = {
    "nf4": lambda w: bnb.dequantize_4bit(*bnb.quantize_4bit(w, blocksize=64, quant_type="nf4", compress_statistics=False)),
    "q8_0": lambda w: torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(w.numpy(), gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0)),
    "q4_0": lambda w: torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(w.numpy(), gguf.GGMLQuantizationType.Q4_0), gguf.GGMLQuantizationType.Q4_0)),
}


def main():
    torch.manual_seed(5)
    net = tf.LlamaForCausalLM(tf.LlamaConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
                                             vocab_size=48, max_position_embeddings=128, attn_implementation="eager", bos_token_id=1, eos_token_id=2))
    for name, p in net.named_parameters():
        p.data = torch.randn(p.shape) * (0.3 if p.dim() > 1 else 0.2) + (p.dim() == 1)
    net = net.to(torch.bfloat16)
    shutil.rmtree(OUT, ignore_errors=True)
    net.save_pretrained(OUT + "/llama")
    os.unlink(OUT + "/llama/generation_config.json")
    net = tf.AutoModelForCausalLM.from_pretrained(OUT + "/llama", dtype=torch.float32, attn_implementation="eager").eval()    # .float() would keep rounded rope frequencies
    plain = {k: v.clone() for k, v in net.state_dict().items()}
    seqs = [torch.randint(0, 48, (n,)) for n in (5, 11, 22)]
    for kind, fn in KINDS.items():
        net.load_state_dict(plain)
        with torch.no_grad():
            for name, m in net.named_modules():
                if isinstance(m, torch.nn.Linear) and name != "lm_head":
                    m.weight.copy_(fn(m.weight.data.contiguous()))
            with open(f"{OUT}/{kind}.gold", "wb") as f:
                f.write(b"LMGOLD2\0" + struct.pack("<2i", len(seqs), 48))
                for ids in seqs:
                    lp = torch.log_softmax(net(ids[None]).logits[0].double(), -1).float().numpy()
                    f.write(struct.pack("<2i", len(ids), 0) + ids.numpy().astype("<i4").tobytes() + lp.astype("<f4").tobytes())


main()
