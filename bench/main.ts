import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

/** `npm run bench -- NAME…` runs `bench/NAME.ts`; each prints its claims as JSON lines. */
const folder = fileURLToPath(new URL('.', import.meta.url));
const helpers = new Set(['main', 'report', 'cluster', 'http-load', 'grpc-load', 'watch-load', 'plain-watch', 'etcd', 'docker', 'copy', 'relay-node', 'raw-stream', 'memory-limit', 'packaged']);
const known = readdirSync(folder).map((file) => /^([a-z-]+)\.js$/.exec(file)?.[1] ?? '').filter((name) => name !== '' && !helpers.has(name));
const names = process.argv.slice(2);
const unknown = names.filter((name) => !known.includes(name));
if (names.length === 0 || unknown.length > 0) {
  process.stderr.write(`${unknown.length > 0 ? `no benchmark ${unknown.join(', ')}; ` : ''}benchmarks: ${known.sort().join(', ')}\n`);
  process.exit(2);
}
for (const name of names) {
  const module = await import(join(folder, `${name}.js`)) as { readonly bench?: () => Promise<void> };
  await module.bench?.();
}
