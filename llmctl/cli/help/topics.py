"""The topics of ``llmctl help``."""

from __future__ import annotations

from collections.abc import Mapping

from llmctl.core.errors import EXIT_CODES

#: When each code is returned; the names are those of :data:`llmctl.core.errors.EXIT_CODES`.
EXIT_CODE_HELP = {
    0: "all went well",
    1: "a bug of llmctl's (a traceback with --debug), or standard output cannot be written",
    2: "bad flags or values",
    3: "no such, or no single, chat, connection, tool, file; the provider does not know the model",
    4: "no hub, no connection, no key; the provider does not accept the key",
    5: "the provider refused: context too long, content filter, other 4xx",
    6: "network, time-out, 429, 5xx, a page that is no answer, after the retries: try again",
    7: "a cap would be exceeded or cannot be checked; the account has no money left",
    8: "waits for an approval, or for a job; or --max-steps was reached: -c goes on",
    9: "another live process holds the conversation: try again, or use --wait",
    10: "a denied tool was invoked, or you stopped the run",
    11: "the answer, or a tool's arguments, do not meet the schema",
    12: "the stream broke off; what came is kept",
    13: "the hub is unreadable, read-only, newer than the program, or its disk is full",
}

_EXIT_CODES_END = """
Killed by a signal, llmctl lets itself die of it: the shell sees 129 (SIGHUP), 130 (Ctrl-C), 141 (a
closed pipe) or 143 (SIGTERM). What was shown until then is in the hub.

6 and 9 are worth a retry, 8 wants a person, the rest a change. With --json or --jsonl an error is one
line on stderr: {"error":{"code","reason","message","hint","retryable","chat_id","request_id"}}, where
code is the name above.

Examples:
  until llmctl chat "$prompt"; [ $? -ne 6 ]; do sleep 10; done
  llmctl chat "hi" --json 2> error.json || jq -r .error.reason error.json
"""

_ENVIRONMENT: dict[str, Mapping[str, str]] = {
    "llmctl": {
        "LLMCTL_DB": "the hub (--db goes first)",
        "LLMCTL_CHAT": "the conversation that chat goes on with, for a whole shell",
        "LLMCTL_OFFLINE": "1: refuse everything beyond this machine",
        "LLMCTL_ALLOW_PRIVATE_FETCH": "1: fetch URLs (--attach) from private addresses too",
        "LLMCTL_NO_STDIN": "1: never read standard input unasked",
        "LLMCTL_JOB": "set for what `job run` runs: its job, of which what llmctl does there is a part",
        "LLMCTL_SCRIPT": "the script that requests are counted under (stats --group-by script); else who calls",
    },
    "Models and keys": {
        "NODELLM_PROVIDER": "the provider where no connection is named",
        "NODELLM_MODEL": "the model where none is named",
        "NODELLM_EMBEDDING_PROVIDER": "the provider of embeddings",
        "NODELLM_EMBEDDING_MODEL": "the model of embeddings",
        "*_API_KEY": "a provider's key, such as OPENAI_API_KEY; sent to that provider alone",
        "*_API_BASE": "another address of a provider, such as OPENAI_API_BASE",
    },
    "Places": {
        "XDG_DATA_HOME": "the hub is in llmctl/ there; ~/.local/share if unset",
        "XDG_CONFIG_HOME": "keys and prompt files are in llmctl/ there; ~/.config if unset",
        "HOME": "where those are looked for",
    },
    "Terminal": {
        "NO_COLOR": "set: no colours",
        "TERM": "dumb: no colours",
        "COLUMNS": "the width of tables",
    },
}

_ENVIRONMENT_END = """
A flag goes before a conversation's own values, these before the environment, that before the settings
in the hub (llmctl settings list), these before what is built in.

Examples:
  LLMCTL_DB=./project.db llmctl chat "hello"
  export LLMCTL_CHAT=fix-42
"""

_SQL = """\
llmctl db query runs one read-only SELECT. Ask the views: their columns may grow in number but keep
their names, whatever the tables of your hub are called. Times are UTC text such as
2026-01-02T03:04:05.678+00:00 and sort as text; JSON columns are text for SQLite's json functions.

Views:
{views}

Examples:
  llmctl db query "SELECT model, count(*), sum(output_tokens) FROM v_requests GROUP BY model"
  llmctl db query "SELECT chat, content FROM v_messages WHERE role = 'user'" --csv
  llmctl db query "SELECT * FROM v_network_calls WHERE status = 'error'" --json
"""

_PROMPT_FILES = """\
A prompt file is TOML: a prompt with all that belongs to it. llmctl run FILE [ARG]... runs it; chat -t NAME
takes it from $XDG_CONFIG_HOME/llmctl/prompts/NAME.toml (or a path). With the first line

  #!/usr/bin/env -S llmctl run

an executable file is a program that a repository can carry.

Keys, all of them optional:
  description     what it is for
  system, prompt  templates (below); instructions is another name for system
  params          a table of the templates' parameters: NAME = DEFAULT, or
                  NAME = { description = "...", default = "..." }; without a default it has to be given
  model           what --model takes; or connection
  options         a table, as with -o
  schema, fix     a file beside this one, the short form ("name, age int, tags [str]"), or a table
  extract         true: the first fenced block alone
  thinking        none, low, medium, high or a number of tokens
  tools           names, or NAME:denied; a file may narrow what a tool may do, never grant it
  attach          files beside or below this one, or URLs
  fallback max_cost max_steps history timeout retries tag metadata no_stream no_log
                  what the flags of these names take

Flags go before the file. Templates are jinja2, in its sandbox, over the parameters (-p NAME=VALUE, or
-p NAME:=JSON), the arguments (args, a list) and standard input (stdin, empty where there is none). Arguments
and input that no template names follow the prompt, as in chat. What is missing is an error that names it.

Example:
  description = "Translate"
  system = "Translate into {{ language }}. Answer with the translation alone."
  options = { temperature = 0 }

  [params]
  language = "English"

Examples:
  echo "guten Morgen" | llmctl run translate.toml
  llmctl run translate.toml -p language=French "good morning"
  llmctl chat -t translate -p language=Latin --dry-run "good morning"
"""


_PERMISSIONS = """\
A model may call a tool that a chat (-T NAME) or an agent (agent attach) has, as freely as its permission says:

  automatic (auto)       it runs
  user-permitted (ask)   you are asked each time; -T NAME alone means this
  denied (deny)          it never runs, and the model does not hear of it

On a terminal llmctl asks: yes this once, always, no, never, or quit. "always" and "never" are remembered for the
chat, or the agent, and expire (the setting permission.expiry). Anywhere else nothing runs unasked and nothing
hangs: the turn stops with exit code 8, and so do the turns of all agents that wait for it. Then, from any shell:

  llmctl tool pending                  what waits: age, agent, tool and the whole arguments
  llmctl tool approve ID --continue    exactly this call runs, and the turn goes on (--detach: in a job)
  llmctl tool deny ID --because TEXT   the model is told why
  llmctl chat -c, agent run NAME -c    go on with what has been decided

What nobody decides is denied in the end (the setting pending.expiry). --approve NAME allows a tool for one command,
in agents that it asks, too; it never overrides denied. Prompt files and agents' files may narrow, never grant.

Rules on arguments go before the permission; of two that fit, the one that denies counts:

  llmctl tool edit read_file --allow 'path=docs/*'    a pattern for an argument
  llmctl tool edit deploy --deny '*'                  any call, by people too
  llmctl tool edit deploy --allow '{"properties": {"to": {"const": "test"}}, "required": ["to"]}' --chat REF

Arguments are checked against the tool's JSON Schema before anything else. A command is run without a shell; no
argument becomes a flag or a second word. A program gets PATH, HOME and the like, never a key that --env does not
name. read_file and list_files see the folders of --folder alone (else the working folder), never the hub or its
keys; fetch_url reaches the hosts of --host, and an address of your own network only where --host spells it out;
run_command runs what --command names. --timeout and --output-limit bound a run; its output is in its log.

Examples:
  llmctl chat -T time:auto -T read_file "what changed today?"
  llmctl tool invocations --status denied
  llmctl tool show read_file
"""


_ECHO_END = """
Examples:
  llmctl chat -m echo -o 'reply=as you say' "hello"
  llmctl chat -m echo -T time:auto -o tool=time "what time is it?"
  llmctl chat -m echo -o cut=2 "one two three" || echo "exit code $?"
"""


def text(topic: str) -> str:
    """Return the text of a topic of :data:`llmctl.cli.help.text.TOPICS`."""
    match topic:
        case "exit-codes":
            return _exit_codes()
        case "environment":
            panels = [f"{panel}:\n{_listed(names)}\n" for panel, names in _ENVIRONMENT.items()]
            return "\n".join(panels) + _ENVIRONMENT_END
        case "echo":
            from llmctl.providers import echo

            return f"{echo.help_text()}\n{_ECHO_END}"
        case "permissions":
            return _PERMISSIONS
        case "sql":
            return _SQL.format(views=_listed(_views()))
        case _:
            return _PROMPT_FILES


def _exit_codes() -> str:
    lines = [f"  {code:>2}  {name:<14}  {EXIT_CODE_HELP[code]}" for code, name in EXIT_CODES.items()]
    return "Exit codes:\n" + "\n".join(lines) + "\n" + _EXIT_CODES_END


def _listed(lines: Mapping[str, str]) -> str:
    margin = max(map(len, lines), default=0) + 4
    return "\n".join(f"  {name}".ljust(margin) + text for name, text in lines.items())


def _views() -> dict[str, str]:
    """Return the documented views, ``v_...``: in ``schema/`` each has its description on the lines above it."""
    from llmctl.store.schema.ddl import statements

    found = {}
    for statement in statements():
        above, view, below = statement.partition("CREATE VIEW ")
        if view and below.startswith("v_"):
            lines = above.strip().rpartition("\n\n")[2].splitlines()
            comment = " ".join(line.removeprefix("--").strip() for line in lines)
            found[below.split()[0]] = comment.rstrip(".")
    return found
