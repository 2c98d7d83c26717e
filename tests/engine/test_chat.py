# ruff: noqa: E501 (a template stays on one line)
"""Chat templates: equal to transformers' on honest ones, stopped early on hostile ones."""

from __future__ import annotations

import time

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from engine.chat import render
from engine.errors import TokenizerError

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Grüße <b>&</b> 你好"},
    {"role": "assistant", "content": " trailing \n"},
]
HONEST = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m.content + '<|im_end|>' ~ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "namespace": "{% set ns = namespace(n=0, s='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{% set ns.s = ns.s ~ m.role ~ ns.n %}{% endfor %}{{ ns.s }}",
    "blocks": "\n  {%- for m in messages %}\n    {% if m.role == 'system' %}\n  {% continue %}{% endif %}\n{{ m | tojson }}\n"
    "{% if loop.index > 1 %}{% break %}{% endif %}{% endfor %}",
    "filters": "{{ messages | map(attribute='role') | join(', ') | upper }} {{ 'a-b' | replace('-', '+') }} "
    "{{ messages[1].content | trim | indent(2) }} {{ '%s:%s' | format(1, 2) }} {{ '%d' % 3 }} {{ '{}'.format(4) }} {{ 3.7 | round }}",
    "methods": "{{ messages[2].content.strip().split(' ')[0] }}{{ bos_token }}{{ 'ab'.center(6, '.') }}{{ ','.join(['a', 'b']) }}",
    "macro": "{% macro line(m) %}[{{ m.role }}]{% endmacro %}{% for m in messages %}{{ line(m) }}{% endfor %}"
    "{% set whole %}{{ line(messages[0]) }}!{% endset %}{{ whole }}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "tools": "{% if tools is defined and tools %}T{% else %}none{% endif %}",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_templates_give_what_transformers_gives(name: str) -> None:
    variables = {"bos_token": "<s>", "eos_token": "</s>"}
    expected, _ = render_jinja_template(
        conversations=[MESSAGES], chat_template=HONEST[name], add_generation_prompt=True, **variables
    )
    given = {**variables, "add_generation_prompt": True, "tools": None, "documents": None}
    assert render(HONEST[name], MESSAGES, given) == expected[0]


HOSTILE = {
    "endless output": "{% for i in range(99999) %}{% for j in range(99999) %}{{ 'x' * 999 }}{% endfor %}{% endfor %}",
    "endless silence": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "product": "{{ 'x' * 10000000000 }}",
    "list product": "{{ ([0] * 10000000000) | length }}",
    "power": "{{ 10 ** 10000000000 }}",
    "doubling by sum": "{% set n = namespace(s='xx') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "doubling by tilde": "{% set n = namespace(s='xx') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "doubling by block": "{% set n = namespace(s='xx') %}{% for i in range(60) %}{% set n.s %}{{ n.s }}{{ n.s }}{% endset %}{% endfor %}",
    "doubling by list": "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "range": "{% for i in range(1000000000) %}{% endfor %}",
    "percent width": "{{ '%9999999999d' % 1 }}",
    "percent star": "{{ '%*d' % (2000000000, 1) }}",
    "percent filter": "{{ '%9999999999d' | format(1) }}",
    "format width": "{{ '{:>9999999999}'.format(1) }}",
    "format nested": "{{ '{:>{}}'.format(1, 2000000000) }}",
    "center": "{{ 'x'.center(9999999999) }}",
    "center filter": "{{ 'x' | center(9999999999) }}",
    "zfill": "{{ 'x'.zfill(9999999999) }}",
    "replace": "{{ ('x' * 9999999).replace('x', 'y' * 9999999) }}",
    "replace filter": "{{ ('x' * 9999999) | replace('x', 'y' * 9999999) }}",
    "join filter": "{{ range(99999) | join('y' * 9999999) }}",
    "join method": "{{ ('y' * 9999999).join(['a'] * 9999) }}",
    "batch": "{{ [1] | batch(9999999999, 0) | list | length }}",
    "round": "{{ 1 | round(999999999, 'ceil') }}",
    "json indent": "{{ [[[1]]] | tojson(indent=999999999) }}",
    "clock": "{{ strftime_now('%9999999999d') }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "escape by class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "escape by globals": "{{ raise_exception.__globals__['sys'] }}",
    "escape by format": "{{ '{0.__class__.__mro__}'.format(messages) }}{{ 1 / 0 }}",
    "change a message": "{{ messages.append(1) }}",
    "include": "{% include '/etc/passwd' %}",
    "wrong types": "{{ 'a' + 1 }}",
    "refusal": "{{ raise_exception('roles must alternate') }}",
    "not jinja": "{% for %}",
    "deep": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "long": "x" * 1_000_001,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_are_stopped_with_one_sentence(name: str) -> None:
    began = time.monotonic()
    with pytest.raises(TokenizerError, match=r"^The chat template [^\n]*$"):
        render(HOSTILE[name], MESSAGES, {})
    assert time.monotonic() - began < 9


def test_a_templates_own_words_reach_the_user() -> None:
    with pytest.raises(TokenizerError, match="roles must alternate"):
        render(HOSTILE["refusal"], MESSAGES, {})


def test_messages_with_objects_are_refused() -> None:
    with pytest.raises(TokenizerError, match="object"):
        render("{{ messages }}", [{"role": "user", "content": object()}], {})


def test_long_numbers_in_a_users_text_are_only_text() -> None:
    message = {"role": "user", "content": " 5% of {1234567890} "}
    assert render("{{ messages[0].content.strip() | replace('of', 'from') }}", [message], {}) == "5% from {1234567890}"
