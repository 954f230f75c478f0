// Call a user's function: node call_javascript.mjs FILE [FUNCTION]. Arguments are read as JSON from stdin, the result is
// written as JSON to stdout. A file that exports no function is a script, which reads stdin and prints itself.
import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { format } from "node:util";

const [file, name] = process.argv.slice(2);
const results = [];
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (chunk, encoding, done) => {
  results.push(typeof chunk === "string" ? chunk : Buffer.from(chunk).toString());
  (typeof encoding === "function" ? encoding : done)?.();
  return true;
};

const module = await import(pathToFileURL(file));
const own = module.default;
const call = name ? module[name] ?? own?.[name] : own?.default ?? own?.handler ?? module.handler ?? own;
if (name && typeof call !== "function") {
  process.stderr.write(`there is no function "${name}" in ${file}\n`);
  process.exitCode = 3;
} else if (typeof call === "function") {
  console.log = console.info = (...words) => writeSync(2, format(...words) + "\n");
  const value = await call(JSON.parse(readFileSync(0, "utf8") || "{}"));
  write(JSON.stringify({ result: value ?? null }));
} else {
  process.on("exit", () => writeSync(1, JSON.stringify({ printed: results.join("") })));
}
