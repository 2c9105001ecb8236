"""A language model of a page: weights that are a table of which word follows which, in the GGUF file that llama.cpp
loads.

Nothing is fetched and nothing is trained, and what it says is known beforehand: one sentence, whatever it is asked.
Where a tool has to be called, it calls; where it must not stop, it begins anew. What is not one of its words is spelled
in bytes, so it has as many tokens as a prompt can have.
"""

from pathlib import Path
from typing import Final

import gguf
import numpy as np

CONTEXT_TOKENS: Final = 32_768

_CONTROL: Final = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
"""Its last one ends an answer."""
_WORDS: Final = ("<tool_call>", "</tool_call>", "Whoever", " crosses", " pays", " the", " toll", ".")
_BYTES: Final = tuple(f"<0x{byte:02X}>" for byte in range(256))
_TOKENS: Final = (*_CONTROL, *_WORDS, *_BYTES)
_NEW_LINE: Final = "<0x0A>"
_FOLLOWS: Final = (
    *((one, other, 3) for one, other in zip((_NEW_LINE, *_WORDS[2:]), _WORDS[2:], strict=False)),
    (".", "<|im_end|>", 3),
    (".", "<tool_call>", 2),
    (".", _NEW_LINE, 1),
    ("<tool_call>", _NEW_LINE, 3),
    ("</tool_call>", "<|im_end|>", 3),
    ("<0x3E>", "<|im_end|>", 3),
)
"""What comes after what, and how much sooner than anything else."""

_TEMPLATE: Final = """\
{%- if tools %}<|im_start|>system
Tools: {{ tools | tojson }}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}
{%- for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def write(path: Path) -> None:
    """One layer that adds nothing: the token alone decides which comes next."""
    width = -(-len(_TOKENS) // 32) * 32
    hidden = 32
    number = {token: at for at, token in enumerate(_TOKENS)}
    follows = np.zeros((len(_TOKENS), width), dtype=np.float32)
    for one, other, weight in _FOLLOWS:
        follows[number[other], number[one]] = weight
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * (len(_CONTROL) - 1)]
    kinds += [gguf.TokenType.USER_DEFINED] * len(_WORDS) + [gguf.TokenType.BYTE] * len(_BYTES)

    file = gguf.GGUFWriter(path, "llama")
    file.add_context_length(CONTEXT_TOKENS)
    file.add_embedding_length(width)
    file.add_block_count(1)
    file.add_feed_forward_length(hidden)
    file.add_head_count(1)
    file.add_key_length(hidden)
    file.add_value_length(hidden)
    file.add_rope_dimension_count(hidden)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_vocab_size(len(_TOKENS))
    file.add_tokenizer_model("llama")
    file.add_token_list(_TOKENS)
    file.add_token_scores([0.0] * len(_TOKENS))
    file.add_token_types([int(kind) for kind in kinds])
    file.add_unk_token_id(0)
    file.add_bos_token_id(1)
    file.add_eos_token_id(_CONTROL.index("<|im_end|>"))
    file.add_add_bos_token(True)
    file.add_add_space_prefix(False)
    file.add_chat_template(_TEMPLATE)
    file.add_tensor("token_embd.weight", np.eye(len(_TOKENS), width, dtype=np.float32))
    file.add_tensor("output.weight", follows)
    for norm in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        file.add_tensor(f"{norm}.weight", np.ones(width, dtype=np.float32))
    for into in ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"):
        file.add_tensor(f"blk.0.{into}.weight", np.zeros((hidden, width), dtype=np.float32))
    for out_of in ("attn_output", "ffn_down"):
        file.add_tensor(f"blk.0.{out_of}.weight", np.zeros((width, hidden), dtype=np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
