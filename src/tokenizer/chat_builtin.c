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
	"{%- set system = text(messages[0].content) -%}{%- set turns = messages[1:] -%}{%- endif -%}"
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
	  "{{ (('<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' if loop.first and system else '')"
	  " + text(m.content))|trim + ' [/INST]' }}"
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
	  "{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- else -%}{{ eos_token }}{%- endif -%}" },
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
	  "{%- set t = text(m.content) -%}"
	  "{{ '<|START_OF_TURN_TOKEN|><|' + names[m.role] + '_TOKEN|>' + (t if m.role == 'system' else t|trim)"
	  " + '<|END_OF_TURN_TOKEN|>' }}{%- endfor -%}"
	  "{%- if add_generation_prompt -%}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{%- endif -%}" },
};

const char *chat_builtin(const char *name)
{
	for (size_t i = 0; i < sizeof builtin / sizeof builtin[0]; i++)
		if (strcmp(builtin[i].name, name) == 0) return builtin[i].text;
	return NULL;
}

/* Rows in order: what is sure first.  A row needs all its tokens. */
static const struct { const char *name, *token[3]; } told_by[] = {
	{ "deepseek", { "<｜User｜>", "<｜Assistant｜>" } },     /* before those whose vocabulary it distilled into */
	{ "llama3", { "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" } },
	{ "granite", { "<|start_of_role|>", "<|end_of_role|>" } },
	{ "command-r", { "<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>" } },
	{ "gemma", { "<start_of_turn>", "<end_of_turn>" } },
	{ "chatml", { "<|im_start|>", "<|im_end|>" } },
	{ "phi3", { "<|user|>", "<|assistant|>", "<|end|>" } },
	{ "zephyr", { "<|user|>", "<|assistant|>" } },
	{ "mistral", { "[INST]", "[/INST]" } },
};

const char *chat_builtin_for(bool (*has)(void *ud, const char *token), void *ud)
{
	for (size_t i = 0; i < sizeof told_by / sizeof told_by[0]; i++) {
		bool all = true;
		for (int k = 0; k < 3 && told_by[i].token[k]; k++) all = all && has(ud, told_by[i].token[k]);
		if (all) return told_by[i].name;
	}
	return NULL;
}
