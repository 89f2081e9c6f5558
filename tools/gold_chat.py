#!/usr/bin/env python3
"""Writes tests/fixtures/chat_gold.json: templates, variables and what jinja2 makes of them, set up exactly as
transformers sets it up (its own _compile_jinja_template).  Needs transformers, jinja2 >= 3.1.6, gguf, and
models/SmolLM2-135M-Instruct.Q4_1.gguf for that model's own template (else the one already in the fixture stays).

    python tools/gold_chat.py            run from the root of the repository
"""
import ast, datetime, json, os, re, warnings
warnings.simplefilter("ignore")
from transformers.utils import chat_template_utils

OUT = "tests/fixtures/chat_gold.json"
MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf"
NOW = 1753871400          # Wed 30 Jul 2025 10:30:00 UTC

BASE = {
    "bos_token": "<s>", "eos_token": "</s>", "now": NOW, "s": "Hello World", "e": "", "n": 7, "f": 2.5, "t": True, "no": False,
    "nil": None, "xs": [3, 1, 2], "u": "héllo wörld ☃ 😀", "d": {"b": 1, "a": "x", "items": 5}, "deep": {"k": [{"v": [1, 2]}]},
    "users": [{"name": "Bo", "age": 30, "on": True}, {"name": "al", "age": 25, "on": False}, {"name": "Cy", "age": 30}],
    "q": "it's", "qq": 'say "hi"', "both": "a'b\"c", "ctl": "a\nb\tc\x01\x7f\u2028d\u00a0\u00e9", "ws": " \t\u00a0x y \u3000\n",
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}, {"role": "user", "content": "Bye"}],
    "think": "<think>\nhm\n</think>\n\nOk", "big": 1e20, "tiny": 1e-7, "nan_s": "abc", "num_s": " 42 ",
}

# ---- one template a line: SNIPPETS give a text, FAIL an error ------------------------------------------------
SNIPPETS = r"""
a{% if t %}b{% endif %}c
  {{ s }}  {% if t %}  {{ s }}  {% endif %}
{%- if t -%}  x  {%- endif -%}  y
  a  {{- s -}}  b  
  {#- c -#}  x
  {%+ if t %}b{% endif %}
line{{ '\n' }}
{{ s }}
{% raw %}{{ x }} {% if %}{% endraw %}!
  {%- raw -%}  {{ x }}  {%- endraw -%}  z
{{ '{{' }}{{ "}}" }}{{ '%}' }}{{ '{#' }}
{% for x in xs %}{{ x }}{% endfor %}
{% for x in [] %}a{% else %}none{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in d %}{{ k }};{% endfor %}
{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}{{ b }} {% endfor %}
{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for c in u %}{{ c }}|{% endfor %}
{% for x in xs if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}
{% for x in xs if x > 1 %}{{ x }}{{ ',' if not loop.last }}{% endfor %}
{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}
{% for x in xs %}[{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}]{% endfor %}
{% for x in xs %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}
{% for x in xs %}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for x in [1, 1, 2] %}{{ loop.changed(x) }} {% endfor %}
{% for x in xs %}{% for y in xs %}{{ loop.index }}{{ x }} {% endfor %}{{ loop.index }};{% endfor %}
{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}
{% for x in xs %}{% continue %}{% else %}else{% endfor %}
{% for x in range(5) %}{{ x }}{% endfor %}{{ range(3) }}{{ range(1, 10, 3)|list }}{{ range(5, 0, -2)|list }}{{ range(4)[2] }}
{% for i in undefined_thing %}x{% else %}empty{% endfor %}
{% for x in xs recursive %}{{ x }}{{ loop([]) if loop.first }}{% endfor %}
{% for n in [{'v': 1, 'c': [{'v': 2, 'c': [{'v': 3}]}]}] recursive %}<{{ n.v }}@{{ loop.depth }}{% if n.c %}{{ loop(n.c) }}{% endif %}>{% endfor %}
{% set x = 1 %}{{ x }}
{% set x, y = 1, 2 %}{{ y }}{{ x }}
{% set x = 1 %}{% for i in xs %}{% set x = i %}{% endfor %}{{ x }}
{% set x = 1 %}{% for i in xs %}{{ x }}{% set x = x + 1 %}{{ x }} {% endfor %}
{% if t %}{% set x = 5 %}{% endif %}{{ x }}
{% for i in xs %}{% if t %}{% set x = i %}{% endif %}{{ x }}{% endfor %}[{{ x }}]
{% set ns = namespace(x=1, y='a') %}{% for i in xs %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.z }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns['b'] }}{{ ns }}
{% set ns = namespace(l=[]) %}{% for i in xs %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}
{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}
{% set ns = namespace(found=false) %}{% for i in xs if not ns.found %}{{ i }}{% set ns.found = true %}{% endfor %}
{% set x %}a{{ n }}b{% endset %}{{ x }}{{ x|length }}
{% set x | upper | trim %} a{{ s }} {% endset %}[{{ x }}]
{% set x %}{% set y = 3 %}{{ y }}{% endset %}{{ x }}{{ y }}
{% set x = 'abc' %}{% set x = x ~ 'd' %}{{ x }}
{% set loop_x = [1,2] %}{{ loop_x }}
{% macro m(a, b='d', c=3) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(1, c=9) }}{{ m(b=1, a=2) }}{{ m() }}
{% macro m(a) %}  {{ a }}  {% endmacro %}<{{ m(1) }}>{{ m(1)|trim }}{{ m(1) is string }}{{ m('x') ~ 'y' }}{{ m(2)|length }}
{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro m() %}{{ g }}{% endmacro %}{% set g = 'later' %}{{ m() }}
{% macro m() %}{{ i }}{% endmacro %}{% for i in xs %}{{ m() }}{% endfor %}.
{% macro m(x, y=x ~ '!') %}{{ y }}{% endmacro %}{{ m('a') }}
{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }}
{% macro outer() %}{% set q = 1 %}{% macro inner() %}{{ q }}{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}
{% macro m() %}{% for m in messages %}{{ m.role }}{% endfor %}{% endmacro %}{{ m() }}
{% macro m(x) %}{{ x is defined }}{% endmacro %}{{ m() }}{{ m(none) }}
{% macro w(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call w('b') %}in{{ s }}{% endcall %}
{% macro each(l) %}{% for x in l %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(v) each(xs) %}({{ v }}){% endcall %}
{{ m is defined }}{% macro m() %}{% endmacro %}{{ m is defined }}{{ m.name }}
{% filter upper %}abc{{ s }}{% endfilter %}
{% filter replace('a', 'b') | upper %}banana{% endfilter %}
{% generation %}gen {{ s }}{% endgeneration %} x
{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}
{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% print 1, 'a' %}
{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}
{% if no %}a{% elif e %}b{% else %}c{% endif %}
{% if xs %}l{% endif %}{% if [] %}no{% endif %}{% if nil %}no{% endif %}{% if nope %}no{% endif %}{% if 0.0 %}no{% endif %}{% if {} %}no{% endif %}
{{ d.a }}{{ d['a'] }}{{ d.b }}{{ d['b'] }}{{ d.nope }}{{ d['nope'] }}
{{ d['items'] }}{{ d.items() | list }}{{ d.keys() | list }}{{ d.values() | list }}
{{ d.items is callable }}{{ d.get('a') }}{{ d.get('zz') }}{{ d.get('zz', 4) }}{{ d.get('items') }}
{{ d.items() }}{{ d.keys() }}{{ d.values() }}
{{ deep.k[0].v[1] }}{{ deep['k'][0]['v'][-1] }}{{ deep.k.0.v.1 }}
{{ xs[0] }}{{ xs[-1] }}{{ xs[9] }}{{ xs[9] is defined }}{{ xs[-4] is defined }}
{{ xs[1:] }}{{ xs[:1] }}{{ xs[::-1] }}{{ xs[-2:] }}{{ xs[:-1] }}{{ xs[::2] }}{{ xs[5:] }}{{ xs[2:0:-1] }}{{ xs[:] }}
{{ messages[1:] }}{{ messages[::-1][0].content }}{{ messages[-1]['content'] }}
{{ u[0] }}{{ u[1] }}{{ u[-1] }}{{ u[1:3] }}{{ u[::-1] }}{{ u[:-2] }}{{ u[99] is defined }}{{ u[-3:] }}{{ u[::3] }}{{ u[99:] }}
{{ (1, 2, 3)[1:] }}{{ (1,)[0] }}{{ () }}{{ (1,) }}{{ (1, 'a') }}{{ [1, [2, (3,)]] }}
{{ 'a' if t }}{{ 'a' if no }}{{ 'a' if no else 'b' }}{{ 'a' if no else 'b' if no else 'c' }}{{ ('a' if no) is defined }}
{{ 1 + 2 }}{{ 'a' + 'b' }}{{ [1] + [2] }}{{ (1,) + (2,) }}{{ 1 + 2.5 }}{{ true + 1 }}{{ 0.1 + 0.2 }}
{{ 7 - 2 }}{{ 7 % 3 }}{{ -7 % 3 }}{{ 7 % -3 }}{{ 7 // 2 }}{{ -7 // 2 }}{{ 6 / 2 }}{{ 7 / 2 }}{{ 2 ** 10 }}{{ 2 ** -1 }}{{ 2 ** 3 ** 2 }}
{{ 7.5 // 2 }}{{ -7.5 // 2 }}{{ 7.5 % 2 }}{{ -7.5 % 2 }}{{ 7 % 2.5 }}{{ 1e3 }}{{ 1.5e-7 }}{{ 1_000 }}{{ 0x1f }}{{ 0b101 }}{{ 0o17 }}
{{ 'ab' * 3 }}{{ 3 * 'ab' }}{{ [0] * 3 }}{{ 'x' * 0 }}{{ 'x' * -1 }}{{ 3 * 4.0 }}
{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1, 'x'] ~ {'k': 'v'} }}
{{ undefined_thing ~ 'x' }}{{ 1 ~ 2 ~ 3 }}
{{ -n }}{{ +n }}{{ -2.5 }}{{ - -3 }}{{ -1|abs }}{{ -n|string }}{{ 2 - -2 }}
{{ not t }}{{ not no }}{{ t and 'x' }}{{ e or 'dflt' }}{{ nil or 0 or [] }}{{ 1 and 2 and 3 }}{{ t and no or 'z' }}{{ not t == no }}
{{ 1 == 1.0 }}{{ 1 == true }}{{ '1' == 1 }}{{ [1] == [1.0] }}{{ {'a': 1} == {'a': 1} }}{{ none == false }}{{ (1,) == [1] }}{{ nope == nope2 }}
{{ 1 < 2 }}{{ 1 < 2 < 3 }}{{ 1 < 2 > 3 }}{{ 'a' < 'b' }}{{ 'Z' < 'a' }}{{ [1, 2] < [1, 3] }}{{ 1 <= 1.0 }}{{ 2 >= 3 }}{{ 1 != 2 }}{{ 'é' > 'z' }}
{{ 'a' in 'cat' }}{{ '' in 'x' }}{{ 1 in xs }}{{ 9 in xs }}{{ 'a' in d }}{{ 'z' not in d }}{{ 2 in (1, 2) }}{{ 'x' in d.values() }}{{ 1.0 in xs }}
{{ 'role' in messages[0] }}{{ 'a' not in 'b' and 'c' in 'c' }}{{ not 'a' in 'b' }}{{ x in [] }}
{{ true }}{{ True }}{{ false }}{{ False }}{{ none }}{{ None }}
{{ 'a\nb' }}{{ "a\tb" }}{{ 'it\'s' }}{{ "q\"q" }}{{ '\\' }}{{ '\u00e9\x41\101' }}{{ '\d' }}{{ 'a' 'b' "c" }}
{{ '☃' }}{{ "\U0001F600" }}
{{ [] }}{{ {} }}{{ [1, 2,] }}{{ {'a': 1, 'b': [1], } }}{{ {1: 2, none: 3, true: 4, 1.5: 5} }}{{ {'a': 1, 'a': 2} }}
{{ [nope] }}{{ {'k': nope} }}{{ [none, true, 1.0] }}
{{ [q, qq, both, ctl] }}
{{ [e, u] }}{{ {'it\'s': 1} }}{{ ['\\', '\r'] }}
{{ ctl }}
{{ 1.0 }}{{ 2.5 }}{{ big }} {{ tiny }} {{ 1e16 }} {{ 1e15 }} {{ 123456789.125 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1/3 }} {{ 100000000000000000000.0 }} {{ -0.0 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }}
{{ d|tojson }}{{ xs|tojson }}{{ u|tojson }}{{ ctl|tojson }}{{ none|tojson }}{{ true|tojson }}{{ 1.0|tojson }}{{ big|tojson }}{{ tiny|tojson }}{{ "<&'\">/"|tojson }}
{{ u|tojson(ensure_ascii=true) }}{{ ctl|tojson(ensure_ascii=True) }}
{{ deep|tojson(indent=2) }}
{{ {'a': [], 'b': {}, 'c': [1, {'d': 'e'}]}|tojson(indent=4) }}
{{ [1, [2]]|tojson(indent=0) }}{{ [1]|tojson(indent='--') }}
{{ {'b': 1, 'a': {'d': 1, 'c': 2}}|tojson(sort_keys=true) }}
{{ {'b': 1, 'a': [1, 2]}|tojson(separators=(',', ':')) }}{{ [1, 2]|tojson(false, 1) }}
{{ (1, 2)|tojson }}{{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }}{{ [none, [true, false]]|tojson }}{{ ''|tojson }}{{ [[]]|tojson }}
{{ s|length }}{{ u|length }}{{ xs|length }}{{ d|length }}{{ nope|length }}{{ xs|count }}{{ (1,)|length }}{{ range(5)|length }}{{ d.items()|length }}
[{{ ws|trim }}][{{ '  a '|trim }}][{{ 'xxaxx'|trim('x') }}][{{ 'abc'|trim('ac') }}][{{ 5|trim }}]
{{ nope|default('x') }}{{ nope|default }}{{ e|default('x') }}{{ e|default('x', true) }}{{ nil|default('x') }}{{ nil|default('x', true) }}{{ nope|d(1) }}{{ 0|default(3, boolean=true) }}
{{ n|string }}{{ n|string is string }}{{ none|string }}{{ [1]|string }}{{ nope|string }}
{{ s|upper }}{{ u|upper }}{{ 'ß'|upper }}{{ s|lower }}{{ 'ÀÉ'|lower }}{{ 5|upper }}{{ none|upper }}{{ s|capitalize }}{{ 'hELLO wORLD'|capitalize }}
{{ 'hello world-foo (bar) it\'s'|title }}{{ "hello world-foo it's x1y".title() }}{{ 'aBc'.swapcase() }}{{ 'aBC dE'.capitalize() }}
{{ xs|join }}{{ xs|join(', ') }}{{ xs|join('-') }}{{ users|join(', ', attribute='name') }}{{ 'abc'|join('.') }}{{ [none, 1.5, 'a']|join('|') }}{{ nope|join(',') }}
{{ d|dictsort }}{{ {'b': 1, 'A': 3, 'c': 2}|dictsort }}{{ {'b': 1, 'A': 3}|dictsort(true) }}{{ {'b': 1, 'A': 3}|dictsort(by='value') }}{{ {'b': 1, 'A': 3}|dictsort(reverse=true) }}
{% for k, v in {'b': 1, 'a': 2}|dictsort %}{{ k }}{{ v }}{% endfor %}{% for k, v in d|items %}{{ k }}{{ v }}{% endfor %}{% for k, v in nope|items %}x{% endfor %}
{{ '<b>'|safe }}{{ ('<b>'|safe) + '<i>' }}{{ ('<b>'|safe) ~ '<i>' }}{{ '<b>'|safe|upper }}{{ d|tojson|safe }}{{ '<b>&\'"'|e }}{{ 'a'|safe is escaped }}
{{ 'abc'|list }}{{ d|list }}{{ range(3)|list }}{{ (1, 2)|list }}{{ nope|list }}{{ u|list }}
{{ 'banana'|replace('a', 'o') }}{{ 'banana'|replace('a', 'o', 2) }}{{ 'abc'|replace('', '-') }}{{ 123|replace(2, 5) }}{{ 'a'|replace('x', 'y') }}{{ 'aaa'.replace('aa', 'b') }}{{ 'abc'.replace('', '-', 2) }}
{{ users|selectattr('on')|list }}{{ users|selectattr('age', 'equalto', 30)|map(attribute='name')|list }}{{ users|selectattr('age', '>', 26)|list|length }}{{ users|rejectattr('on')|map(attribute='name')|join(',') }}
{{ users|selectattr('on', 'defined')|map(attribute='name')|list }}{{ users|selectattr('name', 'in', ['Bo', 'Cy'])|list|length }}{{ messages|selectattr('role', 'eq', 'user')|list|length }}{{ messages|rejectattr('role', 'equalto', 'user')|map(attribute='content')|first }}
{{ xs|map('string')|list }}{{ ['a ', ' b']|map('trim')|map('upper')|list }}{{ users|map(attribute='zz', default='-')|list }}{{ [[1, 2], [3]]|map('length')|list }}{{ ['a', 'b']|map('replace', 'a', 'z')|list }}{{ [{'a': {'b': 1}}]|map(attribute='a.b')|list }}{{ [[5, 6]]|map(attribute=1)|list }}
{{ xs|select('odd')|list }}{{ xs|reject('odd')|list }}{{ [0, 1, '', 'a', none]|select|list }}{{ [1, 'a', none]|select('string')|list }}{{ xs|select('>', 1)|list }}{{ xs|select('divisibleby', 3)|list }}{{ [nope, 1]|select('defined')|list }}{{ xs|reject('in', [1, 2])|list }}
{% if messages|selectattr('role', 'equalto', 'zzz') %}truthy{% endif %}{% if messages|selectattr('role', 'equalto', 'zzz')|list %}bad{% endif %}
{% set g = xs|map('string') %}{{ g|list }}{{ g|list }}
{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb\n\nc'|indent(2) }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(2, blank=true) }}|{{ 'a\nb'|indent('> ', first=true) }}|{{ 'a\nb\n'|indent(1) }}|{{ ''|indent }}
{{ '42'|int }}{{ num_s|int }}{{ '42.7'|int }}{{ nan_s|int }}{{ nan_s|int(5) }}{{ 3.9|int }}{{ -3.9|int }}{{ true|int }}{{ none|int }}{{ '0x1f'|int(base=16) }}{{ 'ff'|int(0, 16) }}{{ '1_000'|int }}{{ '-7'|int }}{{ []|int(3) }}
{{ '2.5'|float }}{{ 3|float }}{{ 'x'|float }}{{ 'x'|float(1.5) }}{{ '1e3'|float }}{{ 'inf'|float }}{{ ' 7 '|float }}
{{ [1, 2, 1, 3, 2]|unique|list }}{{ ['a', 'A', 'b']|unique|list }}{{ ['a', 'A']|unique(true)|list }}{{ users|unique(attribute='age')|map(attribute='name')|list }}
{{ xs|sort }}{{ xs|sort(reverse=true) }}{{ ['b', 'A', 'c']|sort }}{{ ['b', 'A', 'c']|sort(case_sensitive=true) }}{{ users|sort(attribute='age')|map(attribute='name')|list }}{{ users|sort(attribute='name')|map(attribute='name')|list }}{{ users|sort(attribute='age,name')|map(attribute='name')|list }}
{{ xs|min }}{{ xs|max }}{{ ['b', 'A']|min }}{{ users|min(attribute='age') }}{{ []|min }}{{ users|max(attribute='age')|tojson }}
{{ xs|first }}{{ xs|last }}{{ []|first }}{{ 'abc'|first }}{{ 'abc'|last }}{{ xs|sum }}{{ users|sum(attribute='age') }}{{ [1, 2]|sum(start=10) }}{{ xs|reverse|list }}{{ 'abc'|reverse }}
{{ -5|abs }}{{ 2.567|round(2) }}{{ 2.5|round }}{{ 3.5|round }}{{ 2.1|round(0, 'ceil') }}{{ 2.9|round(method='floor') }}{{ 7|round }}{{ 2.675|round(2) }}
{{ '%s-%s'|format('a', 1) }}{{ '%(x)s'|format(x=3) }}{{ xs|batch(2)|list }}{{ xs|batch(2, 0)|list }}{{ xs|slice(2)|list }}{{ 'foo bar baz qux'|truncate(9) }}{{ 'foo bar baz qux'|truncate(9, true) }}{{ 'a b c'|wordcount }}
{% for g, l in users|groupby('age') %}{{ g }}:{{ l|map(attribute='name')|join(',') }} {% endfor %}{{ d|attr('b') }}{{ 'x'|attr('upper') is callable }}
{{ s is defined }}{{ nope is defined }}{{ tools is defined }}{{ tools is none }}{{ documents is none }}{{ nope is undefined }}{{ d.zz is defined }}{{ d.zz is not defined }}
{{ s is string }}{{ n is string }}{{ none is none }}{{ nil is none }}{{ n is none }}{{ nope is none }}{{ d is mapping }}{{ xs is mapping }}{{ s is mapping }}
{{ s is iterable }}{{ xs is iterable }}{{ d is iterable }}{{ n is iterable }}{{ nope is iterable }}{{ none is iterable }}{{ range(2) is iterable }}
{{ s is sequence }}{{ xs is sequence }}{{ d is sequence }}{{ n is sequence }}{{ (1,) is sequence }}{{ range(2) is sequence }}
{{ t is boolean }}{{ 1 is boolean }}{{ no is false }}{{ 0 is false }}{{ t is true }}{{ 1 is true }}{{ n is number }}{{ f is number }}{{ t is number }}{{ s is number }}{{ n is integer }}{{ t is integer }}{{ f is float }}{{ n is float }}
{{ n is odd }}{{ n is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ n is eq 7 }}{{ n is equalto(7) }}{{ n is ne 7 }}{{ n is gt 3 }}{{ n is lessthan 3 }}{{ 1 is in xs }}{{ 'a' is in 'abc' }}{{ n is sameas 7 }}{{ none is sameas none }}
{{ 'abc' is lower }}{{ 'ABC' is upper }}{{ 'aB' is lower }}{{ 'upper' is filter }}{{ 'nope' is filter }}{{ 'odd' is test }}{{ range is callable }}{{ s is callable }}{{ s.upper is callable }}
{{ nope is sequence }}{{ nope is callable }}{{ []|map('x')|list }}{{ ['a', 'b']|sort(attribute='zz') }}{{ range(0, 10, 3)[1:] }}{{ u|wordcount }}{{ ['<'|e] }}{{ 'x' % nope }}{{ xs|truncate(5) }}
{{ s is string and n is number }}{{ s is not string or t }}{{ 'x' if s is string else 'y' }}{{ not s is string }}
{{ s.split() }}{{ ' a  b '.split() }}{{ 'a,b,c'.split(',') }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b'.split(',')[-1] }}{{ ''.split() }}{{ ''.split(',') }}{{ ' a b  c '.split(none, 1) }}{{ 'a,,b'.split(',') }}{{ 'abc'.split('', 1) if no }}
{{ think.split('</think>')[-1].lstrip('\n') }}{{ think.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') }}{{ 'a b c d'.rsplit(' ', 1) }}{{ ' a b  c '.rsplit(none, 1) }}{{ 'a.b.c'.rsplit('.') }}
[{{ ws.strip() }}][{{ ' a '.lstrip() }}][{{ ' a '.rstrip() }}][{{ 'xyaxy'.strip('xy') }}][{{ 'xyaxy'.lstrip('yx') }}][{{ 'éaé'.strip('é') }}][{{ '\n\na\n'.strip('\n') }}][{{ 'abc'.strip('') }}]
{{ s.startswith('He') }}{{ s.endswith('ld') }}{{ s.startswith(('x', 'H')) }}{{ s.startswith('l', 2) }}{{ s.endswith('') }}{{ s.startswith('') }}{{ 'a'.startswith('ab') }}
{{ s.replace('l', 'L') }}{{ s.replace('l', 'L', 1) }}{{ s.upper() }}{{ s.lower() }}{{ s.title() }}{{ s.find('o') }}{{ s.find('zz') }}{{ s.rfind('o') }}{{ u.find('☃') }}{{ s.index('W') }}{{ s.count('l') }}{{ 'aaa'.count('aa') }}{{ 'ab'.count('') }}
{{ ', '.join(['a', 'b']) }}{{ 'abc'.isdigit() }}{{ '12'.isdigit() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}{{ 'A'.isupper() }}{{ ''.isalnum() }}{{ 'a1'.isalnum() }}{{ 'x'.center(5) }}|{{ 'x'.ljust(3, '-') }}{{ 'x'.rjust(3) }}{{ '7'.zfill(3) }}{{ '-7'.zfill(4) }}
{{ 'a-b-c'.partition('-') }}{{ 'a-b-c'.rpartition('-') }}{{ 'abc'.partition('x') }}{{ 'prefix_x'.removeprefix('prefix_') }}{{ 'x.py'.removesuffix('.py') }}{{ 'a\nb\r\nc'.splitlines() }}{{ 'a\nb\n'.splitlines(true) }}
{{ '{} and {}'.format(1, 'x') }}{{ '{0}{1}{0}'.format('a', 'b') }}{{ '{n}!'.format(n=5) }}{{ '{:>5}|{:<5}|{:^5}'.format('a', 'b', 'c') }}{{ '{:05d}{:.2f}{:x}'.format(42, 3.14159, 255) }}{{ '{{}}'.format() }}{{ '{a[k]}{b.x}'.format(a={'k': 1}, b={'x': 2}) }}{{ '{!r}'.format('q') }}{{ '{:,}'.format(1234567) }}{{ '{:.1%}'.format(0.256) }}{{ '{:*^7}'.format('m') }}{{ '{:+d}'.format(3) }}{{ '{:e}'.format(12345.678) }}{{ '{:g}'.format(0.0001) }}
{{ '%s' % 'a' }}{{ '%s %s' % (1, 2) }}{{ '%d' % 3.7 }}{{ '%5.2f|' % 3.14159 }}{{ '%-5s|' % 'a' }}{{ '%05d' % 42 }}{{ '%x' % 255 }}{{ '%%' % () }}{{ '%(a)s' % {'a': 1} }}{{ '%r' % 'x' }}{{ '%s' % nope }}{{ '%s' % none }}{{ '%e' % 1234.5 }}{{ '%+d' % 5 }}{{ '%.3s' % 'abcdef' }}{{ '%c' % 'x' }}
{{ [1, 2].index(2) }}{{ [1, 1].count(1) }}{{ (1, 2).index(1) }}{{ d.copy() }}
{{ dict(a=1, b=2) }}{{ dict({'x': 1}, y=2) }}{{ dict([('k', 'v')]) }}{{ namespace(a=1).a }}
{{ strftime_now('%d %B %Y') }}|{{ strftime_now('%Y-%m-%d %H:%M:%S') }}|{{ strftime_now('%a %b %d %j %p %I %y') }}|{{ strftime_now('%A, %-d %b') }}|{{ strftime_now('%c|%x|%X') }}|{{ strftime_now('%% %e %U %w %f') }}|{{ strftime_now('') }}
{{ strftime_now is defined }}{{ raise_exception is defined }}
{{ ''.__class__ }}{{ xs.append }}{{ d.pop }}{{ s._private }}{{ xs.__len__ }}{{ d._x }}
{{ none.foo }}{{ n.foo }}{{ s.foo }}{{ xs.foo }}{{ s['foo'] }}{{ xs['foo'] }}{{ n[0] }}{{ none[0] }}{{ d[0] }}{{ d[none] }}{{ xs['1'] }}{{ xs[1.0] }}{{ xs[true] }}
{{ nope }}{{ nope|upper }}{{ nope is string }}{{ nope == none }}{{ nope or 'x' }}{{ not nope }}{{ [nope]|join }}{{ nope in [nope] }}
{{ xs|tojson ~ 'x' }}{{ (xs|length) > 2 }}{{ xs|length > 2 }}{{ xs|length + 1 }}{{ 'a' ~ 'b' * 2 }}{{ 1 + 2 * 3 - 4 / 2 }}{{ (1 + 2) * 3 }}{{ 2 * 3 % 4 }}{{ 'a' + 'b' ~ 'c' }}
{{ s[0] ~ s[-1] }}{{ s[0].upper() }}{{ s.upper()[1:3].lower() }}{{ (s ~ '!').upper() }}{{ 'a,b'.split(',')|join('-') }}{{ (xs|sort)[0] }}{{ [1, 2][0] }}{{ {'a': 1}['a'] }}{{ {'a': 1}.a }}{{ 'abc'[1] }}
{{ messages[0]['role'] == 'user' }}{{ (messages[0].role == 'user') != (0 % 2 == 0) }}{{ messages|length }}{{ messages[0].content.strip() }}{{ messages[0].get('tool_calls') }}{{ messages[0].tool_calls is defined }}
{% set content = messages[0].content if messages[0].content is string else '' %}{{ content }}{%- set a = {'x': 1} %}{{ a.x }}{% set b = a.get('y', {}) %}{{ b }}
{% for m in messages %}{% set is_last = loop.last %}{% if not is_last %}{{ m.role }}{% endif %}{% endfor %}{{ is_last is defined }}
{% for m in messages[::-1] %}{% set i = (messages|length - 1) - loop.index0 %}{{ i }}{% endfor %}
{% if messages[0].role == 'system' %}{% set l = messages[1:] %}{% else %}{% set l = messages %}{% endif %}{{ l|length }}
{% set x = [1,2,3] %}{% set x = x + [4] %}{{ x }}{{ x[-1] }}{{ x|last }}
{{ "a" "b" 'c' }}
{{ [1, 2, 3] | map('string') | join(', ') }}{{ ['x'] | first | upper | lower }}
{{ 'abc' | upper() }}{{ xs | join(d=',') }}{{ s | replace(old='l', new='r') }}{{ nope | default(default_value='z') }}
{{ f(*[1]) if no }}{{ '{}{}'.format(*[1, 2]) }}{{ '{a}'.format(**{'a': 5}) }}{{ range(*[1, 3])|list }}{{ dict(**{'z': 1}) }}
{{ 9223372036854775807 }}{{ -9223372036854775807 }}{{ 9007199254740993 == 9007199254740992.0 }}{{ 1 < 1.5 }}{{ 10 ** 15 }}
{% if 'x' is string %}{% elif foo|nofilter %}{% endif %}ok
{{ 'a' if true else 'b'|nofilter }}
{{ d.update is callable }}{{ d.setdefault is defined }}
{% set s = 'shadow' %}{{ s }}{% set messages = messages[1:] %}{{ messages|length }}
{% for i in range(3) %}{% set ns = namespace(v=i) %}{{ ns.v }}{% endfor %}
{% for i in [1] %}{% set a = 1 %}{% for j in [1] %}{{ a }}{% set a = 2 %}{{ a }}{% endfor %}{{ a }}{% endfor %}
{{ (1, 2) | list }}{{ ((1, 2), 3) }}{{ (1) }}{{ (1 + 1,) }}
{{ {'a': {'b': [1, {'c': none}]}} }}{{ {'a': {'b': [1, {'c': none}]}}|string|length }}
{{ 'é'|length }}{{ '😀'|length }}{{ '\u2028'|length }}{{ ['\u2028', '\u00ad', '\ue000', '\u00a0', 'é', '😀'] }}
"""

FAIL = r"""
{{ nope.attr }}
{{ nope['x'] }}
{{ nope + 'x' }}
{{ 'x' + nope }}
{{ nope() }}
{{ 'a' + none }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ [1] + (2,) }}
{{ none + 1 }}
{{ d.nope.deeper }}
{{ xs[9].x }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ nope < 1 }}
{{ 'a' in 5 }}
{{ 1 in 'abc' }}
{{ -'a' }}
{{ -nope }}
{{ n() }}
{{ s() }}
{{ d.nope() }}
{{ s.nope() }}
{{ s|nofilter }}
{{ s is notest }}
{{ d|from_json }}
{{ '{"a": 1}'|from_json }}
{{ xs.append(1) }}
{{ xs.pop() }}
{{ d.update({'a': 1}) }}
{{ d.pop('a') }}
{{ d.setdefault('a', 1) }}
{{ xs.sort() }}
{{ ''.__class__.__mro__ }}
{{ ''.__class__() }}
{{ xs.__class__.__base__.__subclasses__() }}
{{ range(1000000) }}
{{ range('a') }}
{{ range(1, 2, 0) }}
{{ n|length }}
{{ none|length }}
{{ xs|map('string')|length }}
{{ nope|tojson }}
{{ d.items()|tojson }}
{{ {(1, 2): 3}|tojson }}
{{ {[1]: 2} }}
{% for x in 5 %}{% endfor %}
{% for x in none %}{% endfor %}
{% for a, b in [1] %}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for a, b in [(1,)] %}{% endfor %}
{% set a, b = 1 %}
{% set d.x = 1 %}
{% set nope.x = 1 %}
{% set ns = namespace(_x=1) %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(b=1) }}
{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}
{{ m() }}{% macro m() %}{% endmacro %}
{{ raise_exception('roles must alternate') }}
{{ raise_exception('a "quoted" é message ' ~ n) }}
{% if t %}{{ raise_exception(s) }}{% endif %}
{{ 'abc'.index('z') }}
{{ 'abc'.split('') }}
{{ '%d' % 'a' }}
{{ '%s %s' % 1 }}
{{ '%s' % (1, 2) }}
{{ '{}'.format() }}
{{ '{x}'.format(y=1) }}
{{ '{'.format(1) }}
{{ ', '.join([1]) }}
{{ xs|join(1, 2, 3) }}
{{ s|upper(1) }}
{{ s|trim(chars='a', nope=1) }}
{{ s.startswith(1) }}
{{ xs|sort(attribute='a.b.c') }}
{{ x }
{{ [1, 'a']|sort }}
{{ xs|selectattr|list }}
{{ xs|map|list }}
{{ xs|select('nope')|list }}
{{ xs|map('nope')|list }}
{{ xs[::0] }}
{{ s[:1.5] }}
{{ d[:1] }}
{{ nil[1:] }}
{{ nope[1:] }}
{{ xs[nope:] }}
{{ 1 ~ 2 + 3 }}
{{ 5|items|list }}
{{ loop.index }}
{{ strftime_now(5) }}
{% if %}x{% endif %}
{% if t %}x
{% for x in xs %}x
{% endif %}
{% endfor %}
{% else %}
{% for x in xs %}{% endif %}{% endfor %}
{% nope %}
{% %}
{% set %}
{% set x %}
{% set x = %}
{% set 1 = 2 %}
{% set x.y.z = 2 %}
{% for in xs %}{% endfor %}
{% for x xs %}{% endfor %}
{% for loop in xs %}{% endfor %}
{% break %}
{% continue %}
{% for x in xs %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{% macro %}{% endmacro %}
{% macro m %}{% endmacro %}
{% macro m(a=1, b) %}{% endmacro %}
{% macro m(1) %}{% endmacro %}
{{ }}
{{ 1 + }}
{{ (1 }}
{{ 1) }}
{{ [1 }}
{{ {1} }}
{{ {'a' 1} }}
{{ 'abc }}
{{ "abc' }}
{{ a b }}
{{ a.'b' }}
{{ a. }}
{{ a| }}
{{ a is }}
{{ a is b is c }}
{{ a ! b }}
{{ a ? b }}
{{ a & b }}
{{ $x }}
{{ x
{% if x
{{ x %}
{% if x }}
{# never closed
{% raw %} never closed
{{ 'bad \x4 escape' }}
{{ f(a=1, 2) }}
{{ f(**a, *b) }}
{% include 'x' %}
{% extends 'x' %}
{% import 'x' as y %}
{% from 'x' import y %}
{{ x = 1 }}
{{ x if }}
{{ not }}
{{ 1 not 2 }}
{{ 1 is not }}
{% filter nofilter %}x{% endfilter %}
{% endset %}
{% call 5 %}{% endcall %}
{% if t %}{% else %}{% elif t %}{% endif %}
"""


# whitespace and tags over several lines, written out
MORE = [
    "{% if t %}\nx\n{% endif %}\ny\n", "   {% if t %}\n   x\n   {% endif %}\ny\n\n", "a {%+ if t %}b{% endif +%}\nc", "x {# c\n over #}\ny",
    "{{ s }}\n", "{{ s }}\n\n", "\n\n{{ s }}", "a\r\nb\rc{% if t %}\r\nd{% endif %}\r\n", "{% for x in xs %}\n  - {{ x }}\n{% endfor %}\nend",
    "{%- for x in xs %}\n{{- x }},\n{%- endfor %}\n", "  {%- raw -%}  {{ x }}  {%- endraw -%}  z", "{% raw %}\n{{ x }}\n{% endraw %}\nz",
    "  a  {{- s -}}  b  ", "  {#- c -#}  x", "\t{% if t %}\t\n\tx{% endif %}", "x\n  \n  {% if t %}y{% endif %}", "{% if t -%}\n\n  x\n{%- endif %}\n",
    "{{- s }}  \n  {{ s -}}  \n x", "{% set x = 1 -%}\n\n{{ x }}", "\u00a0{%- if t %}a{% endif %}", "\u2028{% if t %}\u2028{% endif %}\u2028", "{{ 'multi\nline' }}",
    "{{ 'a'\n  'b' }}", "  {% if t %}  {% if t %}  a  {% endif %}  {% endif %}  ", "{% if t %}{% endif %}  \n  {# c #}  \n  {{ s }}", "",
    "plain { text } % } # }", "{%- set ns = namespace(a=1) -%}\n{%- if ns.a -%}\n  yes\n{%- else -%}\n  no\n{%- endif -%}\n",
    "{{ s -}}\n{%- if t %}\n {{- s }}\n{% endif %}", "{% for x in xs -%}\n  {{ x }}\n{%- endfor %}", "{{\n  s\n}}", "{%\n if t\n%}a{%\n endif\n%}b",
]

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather of <now> & \"then\"", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "enum": [1, 2]}}, "required": ["city"]}}}
S = {"role": "system", "content": " Be brief.\n"}
U = {"role": "user", "content": "  Hi é \u2028!\n"}
A = {"role": "assistant", "content": "Hello."}
P = {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "image"}, {"type": "text", "text": " this?"}]}
CHATS = [[U], [S, U], [S, U, A, U], [U, A, U, A], [P, A, U], [], [A, U], [S, U, U], [{"role": "alien", "content": "x"}]]

# what real templates are made of: tools as JSON, reasoning cut out of the history, a date, tool calls
STYLES = {
    "tools": "{%- if tools %}\n    {{- '<|im_start|>system\\n' }}\n    {%- if messages[0].role == 'system' %}\n        {{- messages[0].content + '\\n\\n' }}\n    {%- endif %}\n"
             "    {{- '# Tools\\n<tools>' }}\n    {%- for tool in tools %}\n        {{- '\\n' }}\n        {{- tool | tojson }}\n    {%- endfor %}\n    {{- '\\n</tools><|im_end|>\\n' }}\n{%- endif %}\n"
             "{%- set ns = namespace(last=messages|length - 1, multi=true) %}\n{%- for m in messages[::-1] %}\n    {%- set i = (messages|length - 1) - loop.index0 %}\n"
             "    {%- if ns.multi and m.role == 'user' and m.content is string %}\n        {%- set ns.multi = false %}\n        {%- set ns.last = i %}\n    {%- endif %}\n{%- endfor %}\n"
             "{%- for m in messages %}\n    {%- set content = m.content if m.content is string else '' %}\n"
             "    {%- if m.role == 'assistant' and loop.index0 > ns.last %}\n        {{- '<think>' + content.split('</think>')[-1].lstrip('\\n') }}\n    {%- else %}\n        {{- m.role + ':' + content + '\\n' }}\n    {%- endif %}\n"
             "    {%- for call in m.tool_calls or [] %}\n        {%- set f = call.function if call.function is defined else call %}\n        {{- f.name ~ '(' ~ (f.arguments if f.arguments is string else f.arguments | tojson) ~ ')' }}\n    {%- endfor %}\n{%- endfor %}\n"
             "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n",
    "date": "{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}{{ 'Today: ' + date_string }}\n"
            "{% macro args(a) %}{% for k, v in a|dictsort %}{{ k }}={{ v|tojson }}{{ ', ' if not loop.last }}{% endfor %}{% endmacro %}"
            "{%- for t in tools or [] %}{{ t.function.name }}({{ args(t.function.parameters.properties) }})\n{{ t | tojson(indent=4) | indent(2) }}{% endfor %}",
}
CALL = {"role": "assistant", "content": "<think>\nx\n</think>\n\nok", "tool_calls": [{"function": {"name": "f", "arguments": {"city": "Par'is", "n": [1.5, None, True]}}}]}


def builtins():
    """The table of src/tokenizer/chat_builtin.c, its macros and literals put together."""
    src = open("src/tokenizer/chat_builtin.c", encoding="utf8").read()
    macros = {}
    lit = lambda s: "".join(macros[m.group(2)] if m.group(2) else ast.literal_eval('"' + m.group(1) + '"')
                            for m in re.finditer(r'"((?:[^"\\]|\\.)*)"|\b(TEXT|SPLIT|ALTERNATE)\b', s))
    for m in re.finditer(r"#define (\w+) \\\n((?:.*\\\n)*.*)\n", src):
        macros[m.group(1)] = lit(m.group(2))
    table = src[src.index("builtin[] = {"):src.index("};")]
    return {m.group(1): lit(m.group(2)) for m in re.finditer(r'\{ "([\w-]+)", ((?:[^"}]|"(?:[^"\\]|\\.)*")*) \},', table)}


def outcome(template, vars):
    vars = dict(vars)
    now = datetime.datetime.fromtimestamp(vars.get("now", NOW), datetime.timezone.utc).replace(tzinfo=None)
    for k in ("tools", "documents"):
        vars.setdefault(k, None)
    try:
        t = chat_template_utils._compile_jinja_template(template)
        t.globals["strftime_now"] = now.strftime
        return {"out": t.render(**vars)}
    except Exception as e:
        raised = type(e).__name__ == "TemplateError"
        return {"err": str(e) if raised else "", "kind": type(e).__name__}


def smol(old):
    try:
        import gguf
        f = gguf.GGUFReader(MODEL).fields["tokenizer.chat_template"]
        return bytes(f.parts[f.data[0]]).decode()
    except Exception:
        return old


def main():
    old = json.load(open(OUT)) if os.path.exists(OUT) else {}
    named = {"smollm2": smol(old.get("templates", {}).get("smollm2")), **STYLES}
    names = builtins()
    assert len(names) >= 12, names.keys()
    cases = []
    for t in SNIPPETS.strip("\n").split("\n") + MORE:
        cases.append({"t": t, **outcome(t, BASE)})
        if "out" not in cases[-1]:
            print("snippet fails:", t[:200], str(cases[-1])[-200:])
    fails = []
    for t in FAIL.strip("\n").split("\n"):
        fails.append({"t": t, **outcome(t, BASE)})
        if "out" in fails[-1]:
            print("does not fail:", t, fails[-1])
    chats = []
    for name, text in {**named, **names}.items():
        key = "builtin" if name in names else "template"
        for i, c in enumerate(CHATS + [[S, U, CALL, U, CALL]]):
            v = {"messages": c, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": i % 2 == 0, "now": NOW}
            if name in STYLES and i > 2:
                v["tools"] = [TOOL]
            chats.append({key: name, "v": v, **outcome(text, v)})
    with open(OUT, "w", encoding="utf8") as f:
        json.dump({"vars": BASE, "templates": named, "snippets": cases, "fails": fails, "chats": chats}, f, ensure_ascii=False, indent=0)
        f.write("\n")
    print(len(cases), "snippets,", len(fails), "failures,", len(chats), "conversations,", os.path.getsize(OUT), "bytes")


if __name__ == "__main__":
    main()
