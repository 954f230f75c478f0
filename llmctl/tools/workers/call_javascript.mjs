// Calls a function of the user's: node call_javascript.mjs FILE [FUNCTION]. Arguments come as JSON on stdin, the
// result goes as JSON to stdout. A file that exports no function is a script: it reads stdin and prints by itself.
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
