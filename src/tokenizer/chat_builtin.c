/* chat_builtin.c - short templates for models that bring none.  Content may be text or a list of parts. */
#include "tokenizer/chat.h"
#include <string.h>

#define TEXT \
	"{%- macro text(c) -%}" \
	"{%- if c is string -%}{{ c }}{%- elif c -%}{%- for p in c -%}" \
	"{{ p.text if p.text is defined else '<start_of_image>'" \
	" if p.type == 'image' and image is defined else '' }}" \
	"{%- endfor -%}{%- endif -%}{%- endmacro -%}"
/* system: the text of a leading system message, or ""; turns: the messages behind it, which must alternate */
#define SPLIT \
	TEXT "{%- set turns = messages -%}{%- set system = '' -%}" \
	"{%- if messages and messages[0].role == 'system' -%}" \
	"{%- set system = text(messages[0].content)|trim -%}{%- set turns = messages[1:] -%}{%- endif -%}"
#define ALTERNATE \
	"{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}" \
	"{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}" \
	"{%- endif -%}"

static const struct { const char *name, *text; } builtin[] = {
	{ "chatml", TEXT
	  "{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\\n' + text(m.content)"
	  " + '<|im_end|>\\n' }}{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}" },
	{ "gemma", "{%- set image = true -%}" SPLIT
	  "{{ bos_token }}{%- for m in turns -%}" ALTERNATE
	  "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' }}"
	  "{{ system + '\\n\\n' if loop.first and system else '' }}"
	  "{{ text(m.content)|trim + '<end_of_turn>\\n' }}{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}" },
	{ "llama2", SPLIT
	  "{%- for m in turns -%}" ALTERNATE
	  "{%- if m.role == 'user' -%}{{ bos_token ~ '[INST] ' }}"
	  "{{ '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' if loop.first and system else '' }}"
	  "{{ text(m.content)|trim + ' [/INST]' }}"
	  "{%- else -%}{{ ' ' + text(m.content)|trim + ' ' ~ eos_token }}{%- endif -%}{%- endfor -%}" },
	{ "llama3", TEXT
	  "{{ bos_token }}{%- for m in messages -%}"
	  "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + text(m.content)|trim"
	  " + '<|eot_id|>' }}{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
	  "{%- endif -%}" },
	{ "phi3", TEXT
	  "{%- for m in messages -%}{{ '<|' + m.role + '|>\\n' + text(m.content) + '<|end|>\\n' }}"
	  "{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}" },
	{ "mistral", SPLIT
	  "{{ bos_token }}{%- for m in turns -%}" ALTERNATE
	  "{%- if m.role == 'user' -%}{{ '[INST] ' + (system + '\\n\\n' if loop.last and system else '')"
	  " + text(m.content) + '[/INST]' }}"
	  "{%- else -%}{{ ' ' + text(m.content)|trim ~ eos_token }}{%- endif -%}{%- endfor -%}" },
	{ "zephyr", TEXT
	  "{%- for m in messages -%}{{ '<|' + m.role + '|>\\n' + text(m.content) ~ eos_token + '\\n' }}"
	  "{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}" },
	{ "vicuna", SPLIT
	  "{{ bos_token ~ (system + '\\n\\n' if system else '') }}{%- for m in turns -%}"
	  "{%- if m.role == 'user' -%}{{ 'USER: ' + text(m.content)|trim + '\\n' }}"
	  "{%- else -%}{{ 'ASSISTANT: ' + text(m.content)|trim ~ eos_token + '\\n' }}{%- endif -%}"
	  "{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}" },
	{ "alpaca", SPLIT
	  "{{ system + '\\n\\n' if system else '' }}{%- for m in turns -%}"
	  "{%- if m.role == 'user' -%}{{ '### Instruction:\\n' + text(m.content)|trim + '\\n\\n' }}"
	  "{%- else -%}{{ '### Response:\\n' + text(m.content)|trim ~ eos_token + '\\n\\n' }}"
	  "{%- endif -%}{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ '### Response:\\n' }}{%- endif -%}" },
	{ "granite", TEXT
	  "{%- for m in messages -%}"
	  "{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + text(m.content)"
	  " + '<|end_of_text|>\\n' }}{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif -%}" },
	{ "deepseek", SPLIT
	  "{{ bos_token ~ system }}{%- for m in turns -%}"
	  "{%- if m.role == 'user' -%}{{ '<｜User｜>' + text(m.content) }}"
	  "{%- else -%}{{ '<｜Assistant｜>' + text(m.content) ~ eos_token }}{%- endif -%}{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ '<｜Assistant｜>' }}{%- endif -%}" },
	{ "command-r", TEXT
	  "{%- set names = {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT'} -%}"
	  "{{ bos_token }}{%- for m in messages -%}"
	  "{%- if m.role not in names -%}{{ raise_exception('unknown role ' + m.role) }}{%- endif -%}"
	  "{{ '<|START_OF_TURN_TOKEN|><|' + names[m.role] + '_TOKEN|>' + text(m.content)|trim"
	  " + '<|END_OF_TURN_TOKEN|>' }}{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{%- endif -%}" },
};

const char *chat_builtin(const char *name)
{
	for (size_t i = 0; i < sizeof builtin / sizeof builtin[0]; i++)
		if (strcmp(builtin[i].name, name) == 0) return builtin[i].text;
	return NULL;
}
