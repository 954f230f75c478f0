"""The topics of ``llmctl help``."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

from llmctl.core.errors import EXIT_CODES
from llmctl.core.options import options_for

#: When each code of :data:`llmctl.core.errors.EXIT_CODES` is returned.
EXIT_CODE_HELP = {
    0: "success",
    1: "internal error (--debug shows a traceback), or stdout cannot be written",
    2: "invalid flags or values",
    3: "chat, connection, tool or file not found or ambiguous; model unknown to the provider",
    4: "no hub, connection or API key; the provider rejects the key",
    5: "rejected by the provider: context too long, content filter, other 4xx",
    6: "network error, timeout, 429, 5xx or an invalid response, after all retries",
    7: "a cost limit would be exceeded or cannot be checked; the account has no credit",
    8: "waiting for an approval or a job, or --max-steps reached; continue with -c",
    9: "the chat is locked by another process; try again or use --wait",
    10: "a denied tool was invoked, or the user stopped the run",
    11: "the answer or the arguments of a tool do not match the schema",
    12: "the stream was interrupted; the partial answer is kept",
    13: "the hub is unreadable, read-only, newer than the program, or its disk is full",
    14: "some of many items succeeded, others failed, such as lines of an import",
}

_EXIT_CODES_END = """
Interrupted by a signal, llmctl is terminated by that signal: the shell sees 129 (SIGHUP), 130 (Ctrl-C),
141 (closed pipe) or 143 (SIGTERM). The hub has everything that was shown.

Retry on 6 and 9; 8 needs a decision, the others a change. With --json or --jsonl an error is one line
on stderr: {"error":{"code","reason","message","hint","retryable","chat_id","request_id"}}, where code
is the name above.

Examples:
  until llmctl chat "$prompt"; [ $? -ne 6 ]; do sleep 10; done
  llmctl chat "hi" --json 2> error.json || jq -r .error.reason error.json
"""

ENVIRONMENT_HELP: dict[str, Mapping[str, str]] = {
    "llmctl": {
        "LLMCTL_DB": "path of the hub; --db overrides it",
        "LLMCTL_CHAT": "chat to continue by default, for this shell",
        "LLMCTL_MODEL": "model to use by default, as for --model",
        "LLMCTL_CONNECTION": "connection to use by default, as for --connection",
        "LLMCTL_CACHE": "on, off or a time such as 7d: use stored answers, as --cache",
        "LLMCTL_PROXY": "set for programs that run behind llmctl proxy: its address",
        "LLMCTL_OFFLINE": "1: refuse all connections to other machines",
        "LLMCTL_ALLOW_PRIVATE_FETCH": "1: allow --attach to fetch URLs from private addresses",
        "LLMCTL_NO_STDIN": "1: read stdin only with --stdin or -",
        "LLMCTL_JOB": "set by `job run` for its command: the job that llmctl runs in",
        "LLMCTL_SCRIPT": "script name recorded with requests (stats --group-by script); default: the caller",
    },
    "Models and keys": {
        "NODELLM_PROVIDER": "default provider",
        "NODELLM_MODEL": "default model",
        "NODELLM_EMBEDDING_PROVIDER": "default provider of embeddings",
        "NODELLM_EMBEDDING_MODEL": "default model of embeddings",
        "*_API_KEY": "API key of a provider, such as OPENAI_API_KEY; sent only to that provider",
        "*_API_BASE": "base URL of a provider, such as OPENAI_API_BASE",
    },
    "Paths": {
        "XDG_DATA_HOME": "the hub and API keys are in its llmctl folder; default: ~/.local/share",
        "XDG_CONFIG_HOME": "prompt files are in its llmctl/prompts folder; default: ~/.config",
        "XDG_STATE_HOME": "what you trust, and writes left by a full disk; default: ~/.local/state",
        "HOME": "home folder, for the defaults above",
    },
    "Terminal": {
        "VISUAL, EDITOR": "editor of `prompts edit`; default: vi",
        "NO_COLOR": "set: no color",
        "TERM": "dumb: no color",
        "COLUMNS": "width of tables",
        "LLMCTL_PAGER": "what shows long output; default: less -FRX; empty or cat: none",
        "PAGER": "the same, for all programs",
    },
}

_ENVIRONMENT_END = """
Precedence: flags, then the conversation's own values, the environment, the settings in the hub
(llmctl settings list), the built-in defaults.

Examples:
  LLMCTL_DB=./project.db llmctl chat "hello"
  export LLMCTL_CHAT=fix-42
"""

_SQL = """\
llmctl db query runs one read-only SELECT. Query the views: columns may be added but are never renamed,
whatever the tables of your hub are called. Times are UTC text such as
2026-01-02T03:04:05.678+00:00, which sorts as text; JSON columns are text for SQLite's json functions.

Views:
{views}

Streams of more than 1 kB are compressed, and parts of HTTP bodies that repeat are stored once: gunzip() and
whole_body() read them: whole_body(n.body, gunzip(coalesce(b.text_gz, b.text)))
for n in network_calls and b in bodies with b.id = n.shared_body_id.

Examples:
  llmctl db query "SELECT model, count(*), sum(output_tokens) FROM v_requests GROUP BY model"
  llmctl db query "SELECT chat, content FROM v_messages WHERE role = 'user'" --csv
  llmctl db query "SELECT * FROM v_network_calls WHERE status = 'error'" --json
  llmctl db query "SELECT gunzip(coalesce(raw_output_gz, raw_output)) FROM response_streams LIMIT 1"
"""

_PROMPT_FILES = """\
A prompt file is TOML: a prompt with its model, options and schema. Run it with llmctl run NAME [ARG]... or
chat -t NAME. NAME is a path, or NAME.toml is in .llmctl/prompts of this folder or one above it (up to the root of the
repository), or in $XDG_CONFIG_HOME/llmctl/prompts: llmctl prompts list. To make one: llmctl prompts edit NAME, or add
--save NAME to a chat command. With the first line

  #!/usr/bin/env -S llmctl run

the file can be made executable.

Keys, all optional:
  description     what the prompt is for
  system, prompt  templates (see below); instructions is another name for system
  params          a table of template parameters: NAME = DEFAULT, or
                  NAME = { description = "...", default = "..." }; required without a default
  model           same as --model; or connection
  options         a table, same as -o
  schema, fix     a file in the same folder, the short form ("name, age int, tags [str]"), or a table
  extract         true: print only the first fenced code block
  thinking        none, low, medium, high or a number of tokens
  tools           NAME or NAME:denied; a file can restrict the use of a tool, never permit it
  attach          files in the same folder or below, or URLs
{other_keys}
                  same as the flags of these names

Flags override the file. Templates are sandboxed jinja2 with the parameters (-p NAME=VALUE, or -p NAME:=JSON), the
arguments (args, a list) and standard input (stdin, empty if there is none). Arguments and input that no template
uses are appended to the prompt, as in chat. A missing parameter is an error.

Example:
  description = "Translate"
  system = "Translate into {{ language }}. Answer with the translation only."
  options = { temperature = 0 }

  [params]
  language = "English"

Examples:
  echo "guten Morgen" | llmctl run translate.toml
  llmctl run translate -p language=French "good morning"
  llmctl chat --save translate -p language=French "Translate into {{ language }}: {{ stdin }}"
  llmctl chat -t translate -p language=Latin --dry-run "good morning"
"""


#: Options whose keys the text above explains.
_EXPLAINED_KEYS = ("model", "connection", "options", "schema", "fix", "extract", "thinking", "tools", "attach")

_PERMISSIONS = """\
A model can call the tools of a chat (-T NAME) or an agent (agent attach). A permission decides whether they run:

  automatic (auto)       the tool runs
  user-permitted (ask)   you are asked each time; the default for -T NAME
  denied (deny)          the tool never runs and is not offered to the model

On a terminal llmctl asks: once, always, no, never, or quit. "always" and "never" are remembered for the chat or the
agent, "always everywhere" for all of them, until they expire (setting permission.expiry). Without a terminal the turn
stops with exit code 8, and so do the turns of agents that wait for it. Then, from any shell:

  llmctl tool pending                  list pending calls with their age, agent, tool and arguments
  llmctl tool approve ID --continue    run this call and continue the turn (--detach: in the background)
  llmctl tool deny ID --because TEXT   deny this call and tell the model why
  llmctl chat -c, agent run NAME -c    continue after the decision

Pending calls expire and are denied (setting pending.expiry). --approve NAME permits a tool for one command, including
its sub-agents; it never overrides denied. Prompt files and agent files can restrict tools, never permit them.

An import restricts, too: rules that allow, automatic permissions and approvals do not come with a file. In a hub that
someone else made (a copy, a restored backup) they do not count until you trust it: llmctl connection trust --all
Its connections are not used, their keys not read and their commands not run, before you trust each of them.

Rules on arguments take precedence over the permission; a denying rule wins:

  llmctl tool edit read_file --allow 'path=docs/*'    a pattern for one argument
  llmctl tool edit deploy --deny '*'                  every call, also with tool invoke
  llmctl tool edit deploy --allow '{"properties": {"to": {"const": "test"}}, "required": ["to"]}' --chat REF

In a pattern * stands for any text, / included, ? for one character and [ab] for one of several. Patterns are compared
with what the call would touch: a path of read_file and list_files counts as the file it leads to (., .., links and
absolute paths resolved, relative to the first folder of the tool, names compared as the file system does); a URL of
fetch_url without user, default port and .., its host on its own; a command word by word. A rule that denies applies
if any spelling matches, one that allows only if what would be touched matches.

A rule of run_command's --command is a program (ls, with any arguments) or a pattern for each word: 'cat docs/*' allows
one file in docs, 'git log *' any arguments of git log. In other words than *, a path must lead to where it matches.

Arguments are first validated against the tool's JSON Schema. Commands run without a shell unless the tool asks for
one; an argument cannot become a flag, a second word or code. Programs get PATH, HOME and similar variables, and API
keys only with --env. read_file and list_files see only the folders of --folder (default: the working folder), never
the hub or its keys; fetch_url reaches only the hosts of --host, and private addresses only if --host names them
exactly; run_command runs only the commands of --command. --timeout and --output-limit limit a run; its output is in
its log.

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


_MANY_PROMPTS = """\
`llmctl map` sends a prompt for every row of a table. It is a job: `job list --type map`, `job show ID --items`.

Safe to repeat. With --resume the same command begins, goes on after any interruption, and does nothing once all rows
have an answer. Rows that were under way when the process died are asked again, at most as many as -P and one group of
200; the ledger has both requests. Input, prompt or model changed since: exit code 2, or --restart.

  until llmctl map in.csv "Is it positive? {{ text }}" --output out.jsonl --resume
  do case $? in 6|9|13) sleep 60 ;; *) break ;; esac; done

Failed rows (exit code 14) are in the output with their error, in --errors FILE, and in `job show ID --items`;
--retry-failed asks them again.

Pace. -P auto sends more at once as long as that is faster, halves it when the host answers 429, and waits as the host
asks; all rows wait together. --rpm and --tpm are limits of your own. Several processes do not know of each other: give
each its part of your limit.

Many machines. --shard I/N takes every N-th row, always the same ones, so that each part can run and be resumed on
its own, with a hub of its own; `llmctl import` joins the hubs.

  # xargs, four processes on one hub
  seq 4 | xargs -P4 -I{} llmctl map in.csv "{{ text }}" --shard {}/4 --output out.{}.jsonl --resume
  # GNU parallel, again until all succeed
  parallel --retries 3 llmctl map in.csv '"{{ text }}"' --shard {}/8 --output out.{}.jsonl --resume ::: $(seq 8)
  # Slurm: sbatch --array=1-16
  export LLMCTL_DB=$SCRATCH/hub.$SLURM_ARRAY_TASK_ID.db
  llmctl map in.jsonl "{{ text }}" --shard $SLURM_ARRAY_TASK_ID/16 --output out.$SLURM_ARRAY_TASK_ID.jsonl --resume
  # Kubernetes, an indexed job: its index counts from 0
  llmctl map in.jsonl "{{ text }}" --shard $((JOB_COMPLETION_INDEX + 1))/16 --output out.jsonl --resume
  # Ray
  ray.get([run.remote(["llmctl", "map", "in.jsonl", "{{ text }}", "--shard", f"{i}/16", "--output", f"out.{i}.jsonl",
                       "--resume"]) for i in range(1, 17)])   # run = ray.remote(subprocess.run)
  # afterwards
  for hub in hub.*.db; do llmctl import "$hub"; done; cat out.*.jsonl > out.jsonl

Examples:
  llmctl map reviews.csv "Is this positive? {{ text }}" -m echo --sample 5
  llmctl map reviews.csv "Is this positive? {{ text }}" -m echo --estimate
  llmctl job list --type map
"""


def topic_text(topic: str) -> str:
    """Return the text of a topic of :data:`llmctl.cli.help.text.TOPICS`."""
    match topic:
        case "exit-codes":
            return _format_exit_codes()
        case "environment":
            panels = [f"{panel}:\n{_format_list(names)}\n" for panel, names in ENVIRONMENT_HELP.items()]
            return "\n".join(panels) + _ENVIRONMENT_END
        case "echo":
            from llmctl.providers import echo

            return f"{echo.help_text()}\n{_ECHO_END}"
        case "many-prompts":
            return _MANY_PROMPTS
        case "permissions":
            return _PERMISSIONS
        case "sql":
            return _SQL.format(views=_format_list(_view_descriptions()))
        case _:
            return _PROMPT_FILES.replace("{other_keys}", _other_keys())


def _other_keys() -> str:
    """Return the keys of a prompt file that the text does not explain, as lines."""
    keys = [*(entry.name for entry in options_for("file") if entry.name not in _EXPLAINED_KEYS), "no_log"]
    return fill(" ".join(keys), width=110, initial_indent="  ", subsequent_indent="  ")


def _format_exit_codes() -> str:
    lines = [f"  {code:>2}  {name:<14}  {EXIT_CODE_HELP[code]}" for code, name in EXIT_CODES.items()]
    return "Exit codes:\n" + "\n".join(lines) + "\n" + _EXIT_CODES_END


def _format_list(lines: Mapping[str, str]) -> str:
    margin = max(map(len, lines), default=0) + 4
    return "\n".join(f"  {name}".ljust(margin) + text for name, text in lines.items())


def _view_descriptions() -> dict[str, str]:
    """Return the ``v_...`` views and their descriptions: the comment above each in ``schema/``."""
    from llmctl.store.schema.ddl import load_statements

    descriptions = {}
    for statement in load_statements():
        above, view, below = statement.partition("CREATE VIEW ")
        if view and below.startswith("v_"):
            lines = above.strip().rpartition("\n\n")[2].splitlines()
            comment = " ".join(line.removeprefix("--").strip() for line in lines)
            descriptions[below.split()[0]] = comment.rstrip(".")
    return descriptions
