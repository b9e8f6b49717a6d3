"""A model of SmolLM2-135M's shape with random weights in bfloat16 and the tokenizer of another model, for measurements of memory.

    python tools/models/random_smollm2.py OUTPUT TOKENIZER_DIR
"""

import pathlib
import shutil
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

output, tokenizer = map(pathlib.Path, sys.argv[1:3])
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
    max_position_embeddings=2048, tie_word_embeddings=True, rope_theta=10000.0, initializer_range=0.041666666666666664,
)
LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(output)
for path in tokenizer.glob("token*"):
    shutil.copy(path, output / path.name)
