"""Pages of HTML as templates: whole documents that need nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Mapping

#: No script, nothing loaded: what a message says can do nothing, even if it were not escaped.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fbfbfa; --faint: #6a6f76; --line: #dcdedf; --user: #eef3fb;
  --code: #f1f1ef; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e2; --paper: #17181a; --faint: #9aa0a6; --line: #34373b;
  --user: #1f2835; --code: #222427; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 52rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 2.5rem 0 .3rem; }
.about, .meta, footer { color: var(--faint); font-size: .85rem; margin: 0 0 1rem; }
article { border-top: 1px solid var(--line); padding: .8rem .9rem; }
article.user { background: var(--user); }
h2 { font-size: .85rem; margin: 0 0 .4rem; text-transform: uppercase; letter-spacing: .05em; color: var(--faint); }
.said { white-space: pre-wrap; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: .3rem; padding: .6rem .7rem;
  overflow-x: auto; font: .875rem/1.45 ui-monospace, monospace; margin: .5rem 0; white-space: pre; }
h2 span { text-transform: none; letter-spacing: 0; font-weight: normal; }
summary { cursor: pointer; color: var(--faint); }
"""

_HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="referrer" content="no-referrer">
<title>Conversations</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
"""

_CHAT = """\
<section id="chat-{{ chat.id }}">
<h1>{{ title }}</h1>
<p class="about">{{ chat.created_at }}{% if chat.model %} · {{ chat.model }}{% endif %} · {{ chat.id }}\
{% if chat.description %}<br>{{ chat.description }}{% endif %}</p>
{% for message in messages %}
<article class="{{ message.role }}" id="message-{{ message.id }}">
<h2>{{ message.role }}{% if message.remark %}<span> · {{ message.remark }}</span>{% endif %}</h2>
{% if message.thinking %}
<details><summary>thinking</summary><div class="said">{{ message.thinking }}</div></details>
{% endif %}
{% for is_code, text in message.blocks %}
{% if is_code %}<pre tabindex="0"><code>{{ text }}</code></pre>{% else %}<div class="said">{{ text }}</div>{% endif %}

{% endfor %}
{% for call in message.calls %}
<p class="meta">calls {{ call.name }}</p>
<pre tabindex="0"><code>{{ call.arguments }}</code></pre>
{% endfor %}
{% for result in message.results %}
<details{% if result|length < 400 %} open{% endif %}><summary>result</summary>\
<pre tabindex="0"><code>{{ result }}</code></pre></details>
{% endfor %}
{% for file in message.files %}
<p class="meta">file: {{ file }}</p>
{% endfor %}
</article>
{% endfor %}
</section>
"""

PAGES: Mapping[str, str] = {"head": _HEAD, "chat": _CHAT, "foot": "</main>\n</body>\n</html>\n"}
