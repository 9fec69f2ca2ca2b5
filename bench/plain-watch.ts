import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { ServerResponse } from 'node:http';

/**
 * The plain way to serve watches, for comparison: every event is encoded and written for every watcher.
 * `node plain-watch.js KEY CERTIFICATE`; prints its port. `GET` watches; `POST /?count=N` hands out N events about the
 * object in its body.
 */
const [key = '', cert = ''] = process.argv.slice(2);
const watchers: ServerResponse[] = [];

const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (req, res) => {
  if (req.method === 'GET') {
    res.writeHead(200, { 'content-type': 'application/json' });
    res.flushHeaders();
    watchers.push(res);
    return;
  }
  const parts: Buffer[] = [];
  req.on('data', (part: Buffer) => parts.push(part));
  req.on('end', () => {
    const object = JSON.parse(Buffer.concat(parts).toString()) as unknown;
    const count = Number(new URL(req.url ?? '', 'https://bench').searchParams.get('count'));
    for (let event = 0; event < count; event++) for (const watcher of watchers) watcher.write(`${JSON.stringify({ type: 'ADDED', object })}\n`);
    res.end('{}');
  });
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as { port: number }).port}\n`));
