// Opens a hub with the emitted entities: reads every table, writes two jobs, follows relations.
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { DataSource } from 'typeorm';

const [entitiesFile, hub] = process.argv.slice(2);
const models = await import(entitiesFile);
const source = new DataSource({
  type: 'sqljs',
  database: new Uint8Array(readFileSync(hub)),
  entities: models.entities,
  synchronize: false,
});
await source.initialize();
for (const entity of models.entities) await source.getRepository(entity).find({ take: 1 });
// Not messages: the triggers on them need FTS5, which sql.js lacks.
const jobs = source.getRepository(models.Job);
await jobs.save({ id: 'p', name: 'all', type: 'batch', payload: { a: 1 } });
await jobs.save({ id: 'c', name: 'one', type: 'turn', parent: { id: 'p' } });
const found = await jobs.findOne({ where: { id: 'p' }, relations: { children: true, textLog: true } });
console.log(JSON.stringify(found));
