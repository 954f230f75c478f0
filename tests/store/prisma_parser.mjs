// Prisma's own parser, a line at a time: a schema as JSON text in, what the parser says of it out.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.argv[2]}/`);
const prisma = require("@prisma/prisma-schema-wasm");

function attempt(call) {
  try {
    return { value: call() };
  } catch (error) {
    let message = error.message;
    try {
      message = JSON.parse(message).message;
    } catch {}
    return { error: message };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const text = JSON.parse(line);
  const files = [["schema.prisma", text]];
  const parameters = JSON.stringify({ prismaSchema: files, noColor: true });
  const format = JSON.stringify({ textDocument: { uri: "file:/schema.prisma" }, options: { tabSize: 2, insertSpaces: true } });
  const models = attempt(() => JSON.parse(prisma.get_dmmf(parameters)).datamodel.models);
  console.log(
    JSON.stringify({
      error: attempt(() => prisma.validate(parameters)).error ?? models.error ?? null,
      lint: JSON.parse(prisma.lint(JSON.stringify(files))),
      formatted: JSON.parse(prisma.format(JSON.stringify(files), format))[0][1],
      models: models.value ?? null,
    }),
  );
}
