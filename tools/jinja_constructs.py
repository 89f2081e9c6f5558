#!/usr/bin/env python3
"""The constructs of Jinja2 that chat templates use, found by walking jinja2's own tree and tokens.

    tools/jinja_constructs.py PATH...      files and folders of *.jinja and *.gguf

writes tests/fixtures/jinja_constructs.txt (construct, occurrences, templates), and in any case
tests/fixtures/jinja_constructs.json: for each construct of that list the case below, with what jinja2 makes of it.
Needs transformers (its environment) and jinja2."""
import collections, json, os, sys

from jinja2 import nodes
from transformers.utils import chat_template_utils

OUT, GOLD = "tests/fixtures/jinja_constructs.txt", "tests/fixtures/jinja_constructs.json"
ENV = chat_template_utils._compile_jinja_template("").environment


# one case for each construct of the list, the construct before the bar; ^ is a newline
CASES = r"""
attribute | {{ d.a }}{{ deep.k }}{{ d.items is callable }}[{{ d.nope }}]
block tag begins - | a  ^ {%- if t %}b{%- endif %}
block tag begins plainly | a^  {% if t %}^  b^  {% endif %}^c  {% if t %}d{% endif %}
block tag ends - | {% if t -%}  ^^ a{% endif -%} ^ b
block tag ends plainly | {% if t %}^^a{% endif %}^b
call of a macro | {% macro m(a, b) %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, 'x') }}
call of a macro with keywords | {% macro m(a, b=2, c=3) %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1, c=9) }}{{ m(b=0, a=5) }}
comment tag begins - | a ^ {#- c #}b
comment tag begins plainly | a ^  {# c #}b
comment tag ends - | a {# {{ x }} {% if %} -#} ^ b
comment tag ends plainly | a {# c #}^b{# two^lines #}^^c
compare eq | {{ 1 == 1.0 }}{{ 'a' == "a" }}{{ [1, {}] == [true, {}] }}{{ none == false }}{{ nope == nope2 }}{{ d == {'a': 'x', 'items': 5, 'b': 1} }}
compare gt | {{ 2 > 1 }}{{ 'b' > 'a' }}{{ [2] > [1, 9] }}{{ 2 > 2.0 }}
compare gteq | {{ 2 >= 2.0 }}{{ 1 >= 2 }}{{ 'a' >= 'B' }}
compare in | {{ 'ell' in s }}{{ 3 in xs }}{{ 'a' in d }}{{ '' in '' }}{{ 1 in (true,) }}{{ nope in xs }}
compare lt | {{ 1 < 2 }}{{ 'Z' < 'a' }}{{ 1.5 < 1 }}
compare lteq | {{ 1 <= 1 }}{{ 2 <= 1 }}{{ 'é' <= 'z' }}
compare ne | {{ 1 != 2 }}{{ 'a' != 'a' }}{{ none != nope }}{{ '1' != 1 }}
compare notin | {{ 'z' not in s }}{{ 3 not in xs }}{{ 'a' not in d }}
elif | {% if no %}a{% elif n == 7 %}b{% elif t %}c{% else %}d{% endif %}
else | {% if no %}a{% else %}b{% endif %}{% for x in [] %}x{% else %}none{% endfor %}
escape \" | {{ "a\"b" }}
escape \' | {{ 'a\'b' }}
escape \n | {{ 'a\nb' }}{{ "\n" == '^' }}
filter default/1 | {{ nope|default('x') }}{{ e|default('x') }}{{ nil|default('x') }}{{ d.zz|default([]) }}
filter default/2 | {{ e|default('x', true) }}{{ nil|default('y', true) }}{{ 0|default(5, false) }}{{ s|default('z', true) }}
filter dictsort/0 | {{ {'b': 1, 'A': 2, 'a': 3, 'c': 0}|dictsort }}{% for k, v in d|dictsort %}{{ k }}{{ v }}{% endfor %}
filter from_json/0 | {{ '{}'|from_json }}
filter indent/1 | {{ 'a\nb\n\nc'|indent(2) }}|{{ 'x'|indent(3) }}
filter indent/1 first= | {{ 'a\n\nb\n'|indent(2, first=true) }}|{{ 'a'|indent(2, first=no) }}
filter int/0 | {{ '42'|int }}{{ 3.9|int }}{{ 'x'|int }}{{ true|int }}{{ ' -7 '|int + 1 }}
filter items/0 | {% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}{{ nope|items|list }}
filter join/1 | {{ xs|join(', ') }}{{ []|join('x') }}{{ 'abc'|join('-') }}{{ [none, true, 1.0]|join('+') }}
filter length/0 | {{ u|length }}{{ xs|length }}{{ d|length }}{{ nope|length }}{{ ''|length }}
filter list/0 | {{ 'aé'|list }}{{ d|list }}{{ range(2)|list }}{{ (1, 2)|list }}
filter lower/0 | {{ 'AÉΣ'|lower }}{{ 5|lower }}{{ true|lower }}
filter map/0 attribute= | {{ users|map(attribute='name')|list }}{{ [[1, 2]]|map(attribute=1)|list }}{{ [deep]|map(attribute='k.0.v')|list }}
filter map/1 | {{ xs|map('string')|list }}{{ [' a ']|map('trim')|list }}
filter map by lower | {{ ['A', 'Bc']|map('lower')|list }}
filter map by string | {{ [1, none, 'x']|map('string')|list }}
filter map by tojson | {{ [1, none, 'x"']|map('tojson')|list }}
filter map by trim | {{ [' a', 'b ']|map('trim')|join('|') }}
filter map by upper | {{ ['a', 'bC']|map('upper')|list }}
filter min/0 | {{ xs|min }}{{ ['b', 'A']|min }}[{{ []|min }}]
filter reject/2 | {{ xs|reject('equalto', 1)|list }}{{ ['a', 'b']|reject('in', ['a'])|list }}
filter reject by equalto | {{ ['null', 'x']|reject('equalto', 'null')|list }}
filter reject by in | {{ xs|reject('in', [1, 2])|list }}
filter rejectattr/3 | {{ users|rejectattr('age', 'equalto', 30)|list }}
filter rejectattr by equalto | {{ messages|rejectattr('role', 'equalto', 'user')|list }}
filter rejectattr by eq | {{ messages|rejectattr('role', 'eq', 'user')|list }}
filter rejectattr by in | {{ messages|rejectattr('role', 'in', ['user'])|list }}
filter replace/2 | {{ 'banana'|replace('an', '<>') }}{{ 'aaa'|replace('aa', 'b') }}{{ 'ab'|replace('', '-') }}{{ 101|replace(1, 2) }}
filter safe/0 | {{ '<b>'|safe }}{{ d|tojson|safe }}{{ 5|safe }}
filter selectattr/2 | {{ users|selectattr('on', 'defined')|list|length }}
filter selectattr/3 | {{ users|selectattr('age', 'equalto', 30)|list }}
filter selectattr by defined | {{ users|selectattr('on', 'defined')|map(attribute='name')|list }}
filter selectattr by equalto | {{ messages|selectattr('role', 'equalto', 'assistant')|list }}
filter selectattr by eq | {{ messages|selectattr('role', 'eq', 'assistant')|first }}
filter selectattr by in | {{ messages|selectattr('role', 'in', ['assistant', 'tool'])|list|length }}
filter selectattr by none | {{ users|selectattr('on', 'none')|list }}
filter sort/0 attribute= | {{ users|sort(attribute='name')|map(attribute='name')|list }}{{ users|sort(attribute='age')|map(attribute='name')|list }}
filter string/0 | {{ 1.0|string ~ none|string ~ [1, 'a']|string }}{{ nope|string }}{{ xs|string|length }}
filter tojson/0 | {{ d|tojson }}{{ "é\"<'\n"|tojson }}{{ none|tojson }}{{ [1.0, 1e20, true]|tojson }}{{ ctl|tojson }}
filter tojson/0 ensure_ascii= | {{ u|tojson(ensure_ascii=true) }}{{ u|tojson(ensure_ascii=False) }}
filter tojson/0 indent= | {{ deep|tojson(indent=4) }}{{ {'a': [], 'b': {}}|tojson(indent=2) }}
filter trim/0 | [{{ ws|trim }}][{{ '\n a b \t'|trim }}][{{ 5|trim }}][{{ nope|trim }}]
filter unique/0 | {{ ['a', 'B', 'A', 'b', 'c']|unique|list }}{{ [1, 1.0, true, 2]|unique|list }}
filter upper/0 | {{ 'aéß'|upper }}{{ none|upper }}
for | {% for x in xs %}{{ x }},{% endfor %}{% set x = 'kept' %}{% for x in xs %}{% endfor %}{{ x }}
for ... if | {% for x in xs if x > 1 %}{{ x }}{{ loop.index }}{{ loop.last }} {% endfor %}
for over Call | {% for x in range(3) %}{{ x }}{% endfor %}{% for k, v in d.items() %}{{ k }}{% endfor %}
for over Filter | {% for x in xs|sort %}{{ x }}{% endfor %}
for over Getattr | {% for x in deep.k %}{{ x }}{% endfor %}{% for x in d.nope %}{{ x }}{% endfor %}
for over Getitem | {% for x in xs[1:] %}{{ x }}{% endfor %}{% for x in deep['k'] %}{{ x }}{% endfor %}
for over List | {% for x in ['a', none, [1]] %}{{ x }}{% endfor %}
for over Name | {% for c in s %}{{ c }}.{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for x in nope %}{{ x }}{% endfor %}
for over several targets | {% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}{{ b }};{% endfor %}
global namespace | {% set ns = namespace(a=1, b='x') %}{{ ns.a }}{{ ns.b }}[{{ ns.c }}]
global raise_exception/1 | {{ raise_exception('Only "user" is é: ' ~ n) }}
global range/1 | {% for i in range(3) %}{{ i }}{% endfor %}{{ range(0)|list }}
global range/2 | {{ range(2, 5)|list }}{{ range(5, 2)|list }}
global range/3 | {{ range(9, 0, -3)|list }}{{ range(0, 7, 2)|list }}{{ range(2, -1, -1)|list }}
global strftime_now/1 | {{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y-%m-%d') }} {{ strftime_now("%B %-d, %H:%M") }}
if | {% if t %}a{% endif %}{% if nope %}b{% endif %}{% if xs and not e %}c{% endif %}{% if [] %}d{% endif %}{% if '0' %}e{% endif %}
inline if | {{ 'a' if t else 'b' }}{{ 'a' if no else 'b' if e else 'c' }}
inline if without else | {{ 'a' if t }}[{{ 'b' if no }}]{{ ('b' if no) is defined }}
item [Add] | {{ xs[0 + 1] }}{{ d['item' + 's'] }}
item [Getattr] | {{ xs[d.b] }}{% for x in [1] %}{{ xs[loop.index0] }}{% endfor %}
item [Name] | {% set k = 'a' %}{{ d[k] }}{% set i = 2 %}{{ xs[i] }}{{ s[i] }}
item [Neg] | {{ xs[-1] }}{{ s[-2] }}{{ messages[-1].content }}{{ xs[-9] is defined }}
item [Sub] | {{ xs[2 - 1] }}{{ messages[messages|length - 1].role }}
item [int] | {{ xs[0] }}{{ s[4] }}[{{ xs[7] }}]{{ (1, 2)[1] }}
item [str] | {{ d['a'] }}{{ d['items'] }}[{{ d['nope'] }}]{{ deep['k'][0]['v'][1] }}
literal NoneType | {{ none }}{{ None }}{{ [none] }}{{ none is none }}
literal bool | {{ true }}{{ False }}{{ [true, false] }}{{ true + 1 }}
literal dict | {{ {'a': 1, "b": [2], 3: none} }}{{ {'x': {'y': 1}}.x.y }}
literal dict empty | {{ {} }}{{ {}|length }}{{ {}|tojson }}
literal int | {{ 0 }}{{ 42 }}{{ 1_000 }}{{ 0x1f }}{{ -5 }}
literal list | {{ [1, 'a', [2], {'b': 3}] }}{{ [1, 2,] }}
literal list empty | {{ [] }}{{ []|length }}{{ [] + [1] }}
literal str | {{ 'a"b' }}{{ "it's" }}{{ 'x' "y" }}{{ '{{ a }} %}' }}
literal str over lines | {{ 'a^  b' }}{{ "^" }}
literal tuple | {{ (1, 'a') }}{{ () }}{{ (1,) }}{{ 'a' in ('a', 'b') }}
loop.first | {% for x in xs %}{{ loop.first }}{% endfor %}
loop.index | {% for x in xs %}{{ loop.index }}{% endfor %}
loop.index0 | {% for x in xs %}{{ loop.index0 }}{% for y in xs %}{{ loop.index0 }}{% endfor %}{{ loop.index0 }} {% endfor %}
loop.last | {% for x in xs %}{{ x }}{{ ', ' if not loop.last }}{% endfor %}
loop.nextitem | {% for x in xs %}{{ loop.nextitem }}{{ loop.nextitem is defined }};{% endfor %}
loop.previtem | {% for x in xs %}{{ loop.previtem }}{{ loop.previtem is defined }};{% endfor %}
macro | {% macro m() %} a {% endmacro %}[{{ m() }}]{{ m() is string }}{{ m()|length }}
macro that calls itself | {% macro f(x) %}{% if x is mapping %}{{ '{' }}{% for k, v in x.items() %}{{ k }}:{{ f(v) }}{% endfor %}{{ '}' }}{% else %}{{ x }}{% endif %}{% endmacro %}{{ f({'a': {'b': 1}, 'c': 2}) }}
macro with defaults | {% macro m(a, b='d', c=[a]) %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m() }}
method append/1 | {% if xs.append(1) %}{% endif %}
method endswith/1 | {{ s.endswith('ld') }}{{ s.endswith('x') }}{{ s.endswith('') }}{{ s.endswith(('x', 'd')) }}
method format/1 | {{ 'a {} b'.format(5) }}{{ '{0}'.format([1]) }}
method get/1 | {{ d.get('a') }}{{ d.get('nope') }}{{ d.get('nope') is none }}
method get/2 | {{ d.get('a', 'z') }}{{ d.get('nope', 'z') }}{{ d.get('nope', {}) }}
method items/0 | {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{{ {}.items()|list }}
method lstrip/0 | [{{ ws.lstrip() }}][{{ ' a '.lstrip() }}]
method lstrip/1 | [{{ '\n\n a'.lstrip('\n') }}][{{ 'xyxa'.lstrip('yx') }}]
method pop/1 | {{ xs.pop(0) }}
method replace/2 | {{ 'a.b.c'.replace('.', '') }}{{ u.replace('☃', '*') }}
method rstrip/0 | [{{ ws.rstrip() }}][{{ ' a '.rstrip() }}]
method rstrip/1 | [{{ 'a \n\n'.rstrip('\n') }}][{{ 'axyx'.rstrip('xy') }}]
method split/1 | {{ 'a,b,,c'.split(',') }}{{ think.split('</think>')[-1] }}{{ 'abc'.split('x') }}{{ ''.split(',') }}
method split/2 | {{ 'a,b,c'.split(',', 1) }}{{ 'a,b'.split(',', 5) }}{{ 'a,b'.split(',', 0) }}
method startswith/1 | {{ s.startswith('He') }}{{ s.startswith('x') }}{{ ''.startswith('') }}
method strip/0 | [{{ ws.strip() }}][{{ '\u2028 a\x1f'.strip() }}]
method strip/1 | [{{ '\n a \n'.strip('\n') }}][{{ 'éaé'.strip('é') }}]
operator % | {{ 7 % 3 }}{{ -7 % 3 }}{{ 7.5 % 2 }}{{ '%s-%d' % ('a', 3) }}
operator * | {{ 3 * 4 }}{{ 'ab' * 2 }}{{ [0] * 3 }}{{ 2 * 1.5 }}
operator + | {{ 1 + 2 }}{{ 'a' + 'b' }}{{ [1] + [2] }}{{ 1 + 0.5 }}
operator - | {{ 7 - 9 }}{{ -n }}{{ 1.5 - 1 }}{{ -(-2) }}
operator and | {{ t and 'x' }}{{ e and 'x' }}{{ 1 and 0 and nope.x }}
operator not | {{ not t }}{{ not nope }}{{ not [] }}{{ not 1 == 2 }}
operator or | {{ e or 'x' }}{{ nope or nil or 0 }}{{ t or nope.x }}
operator ~ | {{ 'a' ~ 1 ~ none ~ [1.0] ~ nope ~ true }}
set | {% set x = 1 %}{{ x }}{% for i in xs %}{% set x = i %}{{ x }}{% endfor %}{{ x }}{% if t %}{% set x = 9 %}{% endif %}{{ x }}
set block | {% set x %} a{{ n }}^{% endset %}[{{ x }}]{{ x is string }}
set of a namespace's attribute | {% set ns = namespace(x=0) %}{% for i in xs %}{% set ns.x = ns.x + i %}{% set ns.y = i %}{% endfor %}{{ ns.x }}{{ ns.y }}
slice [:-x:] | {{ xs[:-1] }}{{ s[:-3] }}{{ xs[:-9] }}
slice [::-x] | {{ xs[::-1] }}{{ u[::-1] }}{{ xs[::-2] }}
slice [:x:] | {{ xs[:2] }}{{ u[:3] }}{{ xs[:99] }}
slice [x::] | {{ xs[1:] }}{{ u[2:] }}{{ xs[9:] }}{{ (1, 2)[1:] }}
tag Break | {% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}.
tag FilterBlock | {% filter upper %}a{{ s }}{% endfilter %}
tag generation | a{% generation %}^ b{{ s }} {% endgeneration %}^c
test boolean/0 | {{ t is boolean }}{{ 1 is boolean }}{{ none is boolean }}
test defined/0 | {{ s is defined }}{{ nope is defined }}{{ d.nope is defined }}{{ none is defined }}{{ tools is defined }}{{ xs[9] is not defined }}
test false/0 | {{ no is false }}{{ 0 is false }}{{ nope is false }}
test iterable/0 | {{ xs is iterable }}{{ s is iterable }}{{ d is iterable }}{{ n is iterable }}{{ none is iterable }}
test mapping/0 | {{ d is mapping }}{{ xs is mapping }}{{ s is mapping }}{{ nope is mapping }}
test none/0 | {{ none is none }}{{ nope is none }}{{ 0 is none }}{{ tools is not none }}
test number/0 | {{ n is number }}{{ f is number }}{{ t is number }}{{ '1' is number }}
test sequence/0 | {{ xs is sequence }}{{ s is sequence }}{{ d is sequence }}{{ n is sequence }}{{ (1,) is sequence }}
test string/0 | {{ s is string }}{{ n is string }}{{ nope is string }}{{ xs is not string }}
test true/0 | {{ t is true }}{{ 1 is true }}{{ 'a' is true }}
test undefined/0 | {{ nope is undefined }}{{ none is undefined }}{{ d.zz is undefined }}
variable tag begins - | a ^ {{- s }}
variable tag begins plainly | a^  {{ s }}
variable tag ends - | {{ s -}} ^ a
variable tag ends plainly | {{ s }}^ a{{ n }}^
"""


def kind_of(n):
    """A word for an operand: what a literal is, else the kind of expression."""
    return type(n.value).__name__ if isinstance(n, nodes.Const) else type(n).__name__


def of_call(n):
    how = "".join(f" {k.key}=" for k in n.kwargs) + (" *" if n.dyn_args else "") + (" **" if n.dyn_kwargs else "")
    if isinstance(n.node, nodes.Getattr):
        yield f"method {n.node.attr}/{len(n.args)}{how}"
    elif isinstance(n.node, nodes.Name) and n.node.name in ENV.globals:
        yield f"global {n.node.name}" + ("" if n.node.name in ("namespace", "dict") else f"/{len(n.args)}{how}")
    elif isinstance(n.node, nodes.Name):
        yield "call of a macro" + (" with keywords" if n.kwargs else "")
    elif isinstance(n.node, nodes.ExtensionAttribute):
        yield "tag generation"
    else:
        yield f"call of {kind_of(n.node)}"


def of_statement(n):
    if isinstance(n, nodes.For):
        yield "for"
        yield from ["for over several targets"] * isinstance(n.target, nodes.Tuple) + ["for ... if"] * bool(n.test)
        yield from ["for ... else"] * bool(n.else_) + ["for ... recursive"] * n.recursive
        yield f"for over {kind_of(n.iter)}"
    elif isinstance(n, nodes.If):
        yield "if"
        yield from ["elif"] * bool(n.elif_) + ["else"] * bool(n.else_)
    elif isinstance(n, nodes.Assign):
        yield {nodes.Name: "set", nodes.NSRef: "set of a namespace's attribute", nodes.Tuple: "set of several targets"}[type(n.target)]
    elif isinstance(n, nodes.AssignBlock):
        yield "set block" + (" with a filter" if n.filter else "")
    elif isinstance(n, nodes.Macro):
        yield "macro"
        yield from ["macro with defaults"] * bool(n.defaults)
        inner = {c.node.name for c in n.find_all(nodes.Call) if isinstance(c.node, nodes.Name)}
        yield from ["macro that calls itself"] * (n.name in inner)
    elif isinstance(n, (nodes.Break, nodes.Continue, nodes.FilterBlock, nodes.With, nodes.CallBlock)):
        own = isinstance(n, nodes.CallBlock) and isinstance(n.call.node, nodes.ExtensionAttribute)
        yield from [] if own else [f"tag {type(n).__name__}"]


def of_expression(n):
    if isinstance(n, nodes.Filter):
        how = "".join(f" {k.key}=" for k in n.kwargs)
        yield f"filter {n.name}/{len(n.args)}{how}"
        at = {"map": 0, "select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}.get(n.name, len(n.args))
        if at < len(n.args) and isinstance(n.args[at], nodes.Const):
            yield f"filter {n.name} by {n.args[at].value}"
    elif isinstance(n, nodes.Test):
        yield f"test {n.name}/{len(n.args)}"
    elif isinstance(n, nodes.Call):
        yield from of_call(n)
    elif isinstance(n, nodes.Getattr):
        loop = isinstance(n.node, nodes.Name) and n.node.name == "loop"
        yield f"loop.{n.attr}" if loop else "attribute"
    elif isinstance(n, nodes.Getitem):
        if isinstance(n.arg, nodes.Slice):
            yield "slice [" + ":".join("" if x is None else "-x" if isinstance(x, nodes.Neg) else "x" for x in (n.arg.start, n.arg.stop, n.arg.step)) + "]"
        else:
            yield f"item [{kind_of(n.arg)}]"
    elif isinstance(n, nodes.CondExpr):
        yield "inline if" + ("" if n.expr2 is not None else " without else")
    elif isinstance(n, nodes.Compare):
        yield from (f"compare {o.op}" for o in n.ops)
        yield from ["compare in a chain"] * (len(n.ops) > 1)
    elif isinstance(n, (nodes.BinExpr, nodes.UnaryExpr)):
        yield f"operator {n.operator}"
    elif isinstance(n, nodes.Const):
        yield f"literal {type(n.value).__name__}"
    elif isinstance(n, (nodes.List, nodes.Dict)) or (isinstance(n, nodes.Tuple) and n.ctx == "load"):
        empty = not (n.items if hasattr(n, "items") else None)
        yield f"literal {type(n).__name__.lower()}" + (" empty" if empty else "")
    elif isinstance(n, nodes.Concat):
        yield "operator ~"


def constructs(source):
    """Every construct of a template, as a Counter."""
    found = collections.Counter()
    for n in ENV.parse(source).find_all(nodes.Node):
        found.update(of_statement(n) if isinstance(n, nodes.Stmt) else of_expression(n))
    for _, token, text in ENV.lex(source):
        text = str(text)
        if token.endswith(("_begin", "_end")) and token[:3] in ("blo", "var", "com", "raw") and text.strip(" \t\n\r") and not token.startswith("raw"):
            sign = "-" if "-" in text else "+" if "+" in text else ""
            found[f"{token.split('_')[0]} tag {'begins' if token.endswith('begin') else 'ends'} {sign or 'plainly'}"] += 1
        elif token.startswith("raw_begin"):
            found["tag raw"] += 1
        elif token == "string":
            for e in set(text[i + 1] for i in range(len(text) - 1) if text[i] == "\\" and text[i - 1:i] != "\\"):
                found[f"escape \\{e}"] += 1
            found["literal str over lines"] += "\n" in text
    return +found


def write_list(paths):
    from conformance_chat import templates
    total, holders = collections.Counter(), collections.Counter()
    for _, text in templates(paths):
        c = constructs(text)
        total += c
        holders.update(c.keys())
    with open(OUT, "w", encoding="utf8") as f:
        for name in sorted(total):
            f.write(f"{name}\t{total[name]}\t{holders[name]}\n")
    print(len(total), "constructs,", os.path.getsize(OUT), "bytes")


def main():
    from gold_chat import BASE, outcome
    if sys.argv[1:]:
        write_list(sys.argv[1:])
    cases, out, bad = dict(line.split(" | ", 1) for line in CASES.strip("\n").split("\n")), [], 0
    for name in (line.split("\t")[0] for line in open(OUT, encoding="utf8")):
        t = cases.get(name, "").replace("^", "\n")
        if name not in constructs(t):
            bad += 1
            print("no case has", name)
            continue
        out.append({"c": name, "t": t, **outcome(t, BASE)})
        if "err" in out[-1]:
            print(name, "ends in an error, as it must?", out[-1]["kind"], out[-1]["err"][:100])
    with open(GOLD, "w", encoding="utf8") as f:
        json.dump({"vars": BASE, "cases": out}, f, ensure_ascii=False, indent=0)
        f.write("\n")
    print(len(out), "cases,", os.path.getsize(GOLD), "bytes")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
