import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run } from './lab.ts';

/** The addon of the packaged agent that drops pages, on this machine's Node: what is in use stays as it is. */
const test = suite('memory addon');
const execute = promisify(execFile);
let directory = '';
let addon = '';

test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wherry-addon-'));
  addon = join(directory, 'pages.node');
  await run('bash', ['test/e2e/compilers.sh', 'cc'], { timeoutMs: 15 * 60_000 });
  const { compileAddon } = await import(pathToFileURL(resolve('agent/package/memory/addon.mjs')).href) as { compileAddon: (arch: string, headers: string) => Uint8Array | undefined };
  const { fetchNode, headersOf } = await import(pathToFileURL(resolve('agent/package/node.mjs')).href) as { fetchNode: (version: string, arch: string, cache: string) => string; headersOf: (node: string) => string };
  const node = fetchNode('20.20.2', process.arch, resolve('node_modules/.cache/wherry/package'));
  const bytes = compileAddon(process.arch, headersOf(node));
  assert.ok(bytes, 'there is a compiler');
  await writeFile(addon, bytes);
});
test.after(() => rm(directory, { recursive: true, force: true }));

/** Runs a script whose `drop` is the addon's, and gives what it prints. */
async function script(text: string): Promise<string> {
  const path = join(directory, 'script.cjs');
  await writeFile(path, `const it = { exports: {} }; process.dlopen(it, ${JSON.stringify(addon)}); const { drop } = it.exports;\n${text}`);
  return (await execute(process.execPath, [path], { timeout: 600_000 })).stdout;
}

test('gives back most of what the program and its libraries take', async () => {
  const [before, after, dropped] = JSON.parse(await script(`
    const { readFileSync } = require('node:fs');
    const files = () => Number(/RssFile:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
    require('node:http'); require('node:tls');
    const before = files();
    const { dropped } = drop();
    console.log(JSON.stringify([before, files(), dropped / 2 ** 20]));
  `)) as [number, number, number];
  assert.ok(dropped > 40, `${dropped} MB of mappings`);
  assert.ok(after < before / 2, `${before} MB, then ${after}`);
});

test('hundreds of times, while memory is written, code is compiled, files are read and threads come and go', async () => {
  const out = await script(`
    const { createHash, randomBytes, scrypt } = require('node:crypto');
    const { gzipSync, gunzipSync, gzip, gunzip } = require('node:zlib');
    const { Worker } = require('node:worker_threads');
    const { lookup } = require('node:dns');
    const later = (run) => new Promise((resolve, reject) => run((error, value) => (error ? reject(error) : resolve(value))));
    const sum = (bytes) => createHash('sha256').update(bytes).digest('hex');
    const kept = Array.from({ length: 64 }, () => randomBytes(65536)).map((bytes) => ({ bytes, sum: sum(bytes) }));
    const objects = Array.from({ length: 20000 }, (_, index) => ({ index, text: 'text ' + index }));
    async function work(round) {
      const bytes = randomBytes(100000);
      if (sum(await later((done) => gzip(bytes, (error, packed) => (error ? done(error) : gunzip(packed, done))))) !== sum(bytes)) throw new Error('zlib');
      await later((done) => scrypt('a', 'b', 16, done));
      await later((done) => lookup('localhost', done));
      const made = new Function('n', 'let s = ' + round + '; for (let i = 0; i < n; i++) s = (s * 31 + i) | 0; return s;');
      let expected = round;
      for (let i = 0; i < 20000; i++) expected = (expected * 31 + i) | 0;
      if (made(20000) !== expected) throw new Error('compiled code');
      if (round % 20 === 0) await later((done) => new Worker('require("node:zlib").gzipSync(Buffer.alloc(1e6, 7))', { eval: true }).on('error', done).on('exit', (code) => done(code || null)));
    }
    (async () => {
      let times = 0;
      const dropping = setInterval(() => { for (let n = 0; n < 3; n++) { drop(); times++; } }, 1);
      for (let round = 0; round < 60 || times < 300; round++) await work(round);
      clearInterval(dropping);
      for (const one of kept) if (sum(one.bytes) !== one.sum) throw new Error('buffer');
      for (const { index, text } of objects) if (text !== 'text ' + index) throw new Error('object');
      console.log('well after', times >= 300 ? 'hundreds of times' : times);
    })();
  `);
  assert.is(out, 'well after hundreds of times\n');
});

test('a segment with a page of its own is left alone', async () => {
  // A byte of the addon itself is written through /proc/self/mem, as a debugger sets a breakpoint: that page is then the process' own.
  const out = await script(`
    const fs = require('node:fs');
    const line = fs.readFileSync('/proc/self/maps', 'utf8').split('\\n').find((one) => one.includes('pages.node') && / r-xp /.test(one));
    const start = parseInt(line, 16);
    const memory = fs.openSync('/proc/self/mem', 'r+');
    // Into the ELF header at the start of the mapping, whose padding nothing reads.
    const at = start + 9;
    const { kept: before } = drop();
    fs.writeSync(memory, Buffer.from([0x5a]), 0, 1, at);
    const { kept } = drop();
    const now = Buffer.alloc(1);
    fs.readSync(memory, now, 0, 1, at);
    console.log(before, kept > 0, now[0].toString(16));
  `);
  assert.is(out, '0 true 5a\n');
});

test.run();
