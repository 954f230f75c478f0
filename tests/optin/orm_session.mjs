// The real @node-llm/orm on a hub. Reads {hub, base, tables, steps: [[verb, ...arguments]]} from stdin and writes
// the results of the steps as a JSON array. An argument "$N" stands for the id that step N resulted in.
import { PrismaLibSql } from "@prisma/adapter-libsql";
import { PrismaClient } from "./client/index.js";
import { Agent, createLLM } from "@node-llm/core";
import { createAgentSession, createChat, loadAgentSession, loadChat } from "./orm.mjs";

const { hub, base, tables = {}, steps } = JSON.parse(await new Response(process.stdin).text());
const prisma = new PrismaClient({ adapter: new PrismaLibSql({ url: `file:${hub}` }) });
const llm = createLLM({ provider: "openai", openaiApiKey: "none", openaiApiBase: base, retry: { attempts: 1 } });
const options = { tableNames: tables };
const of = (name, usual) => prisma[tables[name] ?? usual];
const chats = () => of("chat", "llmChat");

class Helper extends Agent {
  static model = "gpt-4o-mini";
  static instructions = "Be brief.";
}

const weather = {
  type: "function",
  function: { name: "weather", description: "Weather of a city", parameters: { type: "object", properties: { city: { type: "string" } } } },
  // Core does not wait for the row of a call before it runs the tool: a tool that is quicker than the INSERT ends the process.
  handler: async ({ city }) => (await new Promise((done) => setTimeout(done, 200)), `sunny in ${city}`),
};

async function streamed(chat, text, stopAfter) {
  const pieces = [];
  for await (const chunk of chat.askStream(text)) {
    pieces.push(chunk.content);
    if (pieces.length === stopAfter) break;
  }
  return { pieces };
}

const verbs = {
  list: () => chats().findMany({ orderBy: { createdAt: "desc" } }),
  find: (where) => chats().findMany({ where }),
  since: (time) => chats().findMany({ where: { createdAt: { gte: new Date(time) } } }),
  messages: async (id) => (await loadChat(prisma, llm, id, options)).messages(),
  deep: (id) => chats().findUnique({ where: { id }, include: { messages: { include: { requests: true } }, agentSession: true } }),
  stats: async (id) => (await loadChat(prisma, llm, id, options)).stats(),
  create: async (more) => ({ id: (await createChat(prisma, llm, { model: "gpt-4o-mini", provider: "openai", ...options, ...more })).id }),
  ask: async (id, text) => (await loadChat(prisma, llm, id, options)).ask(text),
  stream: async (id, text, stopAfter) => streamed(await loadChat(prisma, llm, id, options), text, stopAfter),
  tool: async (id, text) => (await loadChat(prisma, llm, id, options)).withTool(weather).ask(text),
  session: async (metadata) => ({ id: (await createAgentSession(prisma, llm, Helper, { ...options, metadata })).id }),
  askSession: async (id, text) => (await loadAgentSession(prisma, llm, Helper, id, options)).ask(text),
  remember: async (id, metadata) => (await loadAgentSession(prisma, llm, Helper, id, options)).updateMetadata(metadata),
  edit: (id, data) => chats().update({ where: { id }, data }),
  delete: (id) => chats().delete({ where: { id } }),
};

const results = [];
for (const [verb, ...given] of steps) {
  const filled = given.map((value) => (/^\$\d+$/.test(value) ? results[value.slice(1)].id : value));
  try {
    results.push((await verbs[verb](...filled)) ?? null);
  } catch (error) {
    results.push({ error: error.message });
  }
}
await prisma.$disconnect();
console.log(JSON.stringify(results));
