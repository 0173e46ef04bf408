"""Causal models with random weights, too small to be slow, and tokenizers for them."""

from functools import cache

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

SIZES = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
WIDE = {**SIZES, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128}
GROUPED = {**WIDE, "intermediate_size": 48, "num_key_value_heads": 2}
MIXED = {**GROUPED, "head_dim": 8, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
OLD = {**SIZES, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
SHARING = {
    **MIXED,
    "layer_types": MIXED["layer_types"] * 2,
    "num_hidden_layers": 4,
    "num_kv_shared_layers": 2,
    "vocab_size_per_layer_input": 300,
    "hidden_size_per_layer_input": 8,
    "laurel_rank": 4,
    "activation_sparsity_pattern": [0.0] * 4,
}
LOCAL = {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_heads": 4, "window_size": 5}

# name: (model type, its config)
PACKED = {
    "llama": ("llama", {**GROUPED, "tie_word_embeddings": True}),
    "qwen2": ("qwen2", GROUPED),
    "qwen3": ("qwen3", {**GROUPED, "head_dim": 8}),
    "gpt2": ("gpt2", OLD),
    "gpt_neox": ("gpt_neox", {**WIDE, "intermediate_size": 48}),
    "opt": ("opt", {**WIDE, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "olmo2": ("olmo2", GROUPED),
    "phi3": ("phi3", GROUPED),
    "gemma": ("gemma", {**GROUPED, "head_dim": 8}),
    "falcon": ("falcon", {**WIDE, "alibi": False}),
    "mistral, wide window": ("mistral", {**GROUPED, "sliding_window": 128}),
}
CACHED = {
    "mistral": ("mistral", {**GROUPED, "sliding_window": 4}),
    "qwen2, window": (
        "qwen2",
        {**GROUPED, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "gemma2": ("gemma2", {**MIXED, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0}),
    "gemma3": ("gemma3_text", MIXED),
    "gemma3n": ("gemma3n_text", SHARING),
    "gpt_neo": ("gpt_neo", {**WIDE, **LOCAL}),
    "bloom": ("bloom", {**SIZES, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "mpt": ("mpt", {**SIZES, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128}),
    "falcon, alibi": ("falcon", {**WIDE, "alibi": True}),
}
PLAIN = {"mamba": ("mamba", {**SIZES, "hidden_size": 32, "num_hidden_layers": 2})}
EVERY = {**PACKED, **CACHED, **PLAIN}
WINDOWS = ("sliding_window", "window_size")
WIDENED = {  # as most windows are, for most texts
    f"{name}, widened": (kind, {**config, **{size: 64 for size in WINDOWS if size in config}})
    for name, (kind, config) in CACHED.items()
    if set(WINDOWS) & set(config)
}
EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
OTHERS = {
    **{name: (name, GROUPED) for name in ("cohere", "granite", "olmo", "phi", "smollm3", "stablelm")},
    **{name: (name, {**GROUPED, "sliding_window": 64}) for name in ("exaone4", "olmo3", "starcoder2")},
    **{name: (name, {**GROUPED, **EXPERTS, "head_dim": 8}) for name in ("mixtral", "qwen3_moe")},
}
MERGES = (("a", "b"), ("i", "t"))


@cache
def tiny_model(name, attention=None, dtype=torch.float32):
    """A model with weights large enough for its answers to differ by many nats."""
    kind, config = {**EVERY, **WIDENED, **OTHERS}[name]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**config), attn_implementation=attention)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.25)
    return model.to(dtype).eval()


@cache
def byte_tokenizer(bos=True, eos=False, merges=(), prefix_space=False, padding_side="right"):
    """A byte-level tokenizer: a token per UTF-8 byte, but for what `merges` joins."""
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<s>", "</s>", "<pad>", *signs, *(a + b for a, b in merges)]
    bpe = models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges))
    tokenizer = Tokenizer(bpe)
    tokenizer.add_special_tokens(["<s>", "</s>", "<pad>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", padding_side=padding_side
    )


def save_tiny_lm(folder, context=1024):
    """Saves a random Llama and a tokenizer of bytes, as a folder that `pretrained` takes."""
    kind, config = PACKED["llama"]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**{**config, "max_position_embeddings": context}))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.25)
    model.save_pretrained(folder)
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(folder)
    return folder


def write_gguf(path):
    """Writes a random Llama and its tokenizer of bytes into a GGUF file; gives the model, as it must be read again."""
    from gguf import GGUFWriter, TokenType

    tokenizer = byte_tokenizer(merges=MERGES)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    kind, config = PACKED["llama"]
    config = CONFIG_MAPPING[kind](**{**config, "vocab_size": len(tokens), "tie_word_embeddings": False})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, weights in gguf_tensors(model).items():
        writer.add_tensor(name, weights.detach().numpy().copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def gguf_tensors(model):
    """A Llama's weights by their names in a GGUF file, whose queries and keys have the halves of a head interleaved."""

    def interleaved(weights, heads):
        return weights.view(heads, 2, -1, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)

    config = model.config
    tensors = {
        "token_embd.weight": model.model.embed_tokens.weight,
        "output_norm.weight": model.model.norm.weight,
        "output.weight": model.lm_head.weight,
    }
    for i, layer in enumerate(model.model.layers):
        attention, mlp = layer.self_attn, layer.mlp
        parts = {
            "attn_q": interleaved(attention.q_proj.weight, config.num_attention_heads),
            "attn_k": interleaved(attention.k_proj.weight, config.num_key_value_heads),
            "attn_v": attention.v_proj.weight,
            "attn_output": attention.o_proj.weight,
            "ffn_gate": mlp.gate_proj.weight,
            "ffn_up": mlp.up_proj.weight,
            "ffn_down": mlp.down_proj.weight,
            "attn_norm": layer.input_layernorm.weight,
            "ffn_norm": layer.post_attention_layernorm.weight,
        }
        tensors |= {f"blk.{i}.{name}.weight": weights for name, weights in parts.items()}
    return tensors
