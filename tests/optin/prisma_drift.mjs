// Prisma's drift check (migrate diff) by its own schema engine, in the form that needs no download of a binary.
import fs from "node:fs";
import { bindMigrationAwareSqlAdapterFactory } from "@prisma/driver-adapter-utils";
import { PrismaLibSql } from "@prisma/adapter-libsql";

const [hub, file, external] = process.argv.slice(2);
const content = fs.readFileSync(file, "utf8");
const files = [{ path: "schema.prisma", content }];

const folder = "./node_modules/@prisma/schema-engine-wasm";
const bindings = await import(`${folder}/schema_engine_bg.js`);
const { instance } = await WebAssembly.instantiate(fs.readFileSync(`${folder}/schema_engine_bg.wasm`), {
  "./schema_engine_bg.js": bindings,
});
bindings.__wbg_set_wasm(instance.exports);
instance.exports.__wbindgen_start();

const adapter = bindMigrationAwareSqlAdapterFactory(new PrismaLibSql({ url: `file:${hub}` }));
const engine = await bindings.SchemaEngine.new({ datamodels: [["schema.prisma", content]] }, () => {}, adapter);
const found = await engine.diff({
  from: { tag: "schemaDatasource", files, configDir: "." },
  to: { tag: "schemaDatamodel", files },
  script: false,
  exitCode: true,
  filters: { externalTables: JSON.parse(external), externalEnums: [] },
});
console.log(found.stdout);
process.exit(0);
