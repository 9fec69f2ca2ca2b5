import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { followFiles, type LogFilesOptions } from '../../../agent/runtime/docker-log-files.ts';

interface Context { directory: string; path: string }
const test = suite<Context>('followed log files');

test.before.each(async (context) => {
  context.directory = await mkdtemp(join(tmpdir(), 'wherry-logs-'));
  context.path = join(context.directory, 'c-json.log');
});
test.after.each(({ directory }) => rm(directory, { recursive: true, force: true }));

const line = (number: number, log = `line ${number}\n`, stream = 'stdout'): string =>
  `${JSON.stringify({ log, stream, time: new Date(Date.UTC(2030, 0, 1) + number * 1000).toISOString().replace(/\.000Z$/, '.5Z') })}\n`;
const many = (from: number, to: number): string => Array.from({ length: to - from }, (_, index) => line(from + index)).join('');

async function rotate(path: string): Promise<void> {
  for (let number = 3; number > 0; number--) await rename(`${path}.${number}`, `${path}.${number + 1}`).catch(() => undefined);
  await rename(path, `${path}.1`);
  await writeFile(path, '');
}

async function read(options: Partial<LogFilesOptions> & { path: string }): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of followFiles({ timestamps: false, running: async () => false, signal: new AbortController().signal, ...options })) parts.push(part);
  return Buffer.concat(parts).toString();
}

const numbers = (text: string): number[] => text.trimEnd().split('\n').filter(Boolean).map((one) => Number(one.split(' ')[1]));
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

test('all files, oldest first', async ({ path }) => {
  await writeFile(`${path}.2`, many(0, 500));
  await writeFile(`${path}.1`, many(500, 2000));
  await writeFile(path, many(2000, 2003));
  assert.equal(numbers(await read({ path })), range(0, 2003));
  for (const tailLines of [0, 1, 2, 3, 4, 1502, 1503, 1504, 2002, 2003, 9000]) assert.equal(numbers(await read({ path, tailLines })), range(Math.max(0, 2003 - tailLines), 2003), `tail ${tailLines}`);
  assert.equal(numbers(await read({ path, sinceMs: Date.UTC(2030, 0, 1) + 1999_000 })), range(1999, 2003));
});

test('what is written while it is read, over several new files, comes once and in order', async ({ path }) => {
  await writeFile(path, many(0, 10));
  let written = 10;
  let over = false;
  const reading = read({ path, running: async () => !over });
  for (let round = 0; round < 60; round++) {
    // Now and then two new files before anybody can have looked.
    for (let times = round % 7 === 0 ? 2 : round % 3 === 0 ? 1 : 0; times > 0; times--) {
      await rotate(path);
      await appendFile(path, many(written, written += 5));
    }
    await appendFile(path, many(written, written += 700));
    if (round % 4 === 0) await new Promise((resolve) => { setTimeout(resolve, 3); });
  }
  over = true;
  assert.equal(numbers(await reading), range(0, written));
});

test('a line in parts has one time; one that is cut is waited for', async ({ path }) => {
  const whole = line(3);
  await writeFile(path, line(1, 'a'.repeat(100_000)) + line(1, 'b\n', 'stderr') + line(2, 'c\n') + whole.slice(0, 20));
  let over = false;
  const reading = read({ path, timestamps: true, running: async () => {
    if (!over) await appendFile(path, whole.slice(20));
    over = true;
    return true;
  }, signal: AbortSignal.timeout(1500) });
  const text = (await reading).replace(/a+/, 'a');
  assert.is(text, '2030-01-01T00:00:01.500000000Z a2030-01-01T00:00:01.500000000Z b\nc\n2030-01-01T00:00:03.500000000Z line 3\n');
});

test('a line that a power loss has cut is passed over, with a time and without', async ({ path }) => {
  await writeFile(path, `${line(1)}${line(2).slice(0, 20)}\n${line(3)}`);
  assert.is(await read({ path }), 'line 1\nline 3\n');
  assert.match(await read({ path, timestamps: true }), /^2030-\S+ line 1\n2030-\S+ line 3\n$/);
});

test('no files', async ({ path }) => {
  assert.match(await read({ path }).catch((error: Error) => error.message), /is not there$/);
});

test.run();
