/**
 * Runs test files, each in a process of its own with a time limit, some at a time.
 *
 *   node dist/test/run.js [--e2e | --all] [PART-OF-A-PATH …]
 *
 * Prints a line per file, the output of those that failed, and `N passed, N failed` last; exits 1 when any failed.
 */
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Result { readonly file: string; readonly passed: number; readonly failed: number; readonly skipped: number; readonly output: string; readonly ms: number }

const root = fileURLToPath(new URL('.', import.meta.url));
const unitLimitMs = 300_000;
const endToEndLimitMs = 20 * 60_000;

async function testFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true });
  return entries.filter((name) => name.endsWith('.test.js')).map((name) => join(directory, name)).sort();
}

function runFile(file: string, limitMs: number): Promise<Result> {
  return new Promise((resolve) => {
    const started = performance.now();
    let output = '';
    const child = spawn(process.execPath, ['--enable-source-maps', file], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' } });
    const collect = (chunk: Buffer): void => { output = (output + chunk.toString()).slice(-200_000); };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const timer = setTimeout(() => { output += `\nkilled after ${limitMs / 1000} s\n`; child.kill('SIGKILL'); }, limitMs);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ file, ...count(output, code), output, ms: performance.now() - started });
    });
  });
}

/** uvu's closing lines; a process that fails without a failed test counts as one failure. */
function count(output: string, code: number | null): { passed: number; failed: number; skipped: number } {
  const number = (word: string): number => [...output.matchAll(new RegExp(`^\\s*${word}:\\s+(\\d+)`, 'gm'))].reduce((sum, [, n]) => sum + Number(n), 0);
  const [total, passed, skipped] = [number('Total'), number('Passed'), number('Skipped')];
  const failed = Math.max(0, total - passed - skipped);
  const silent = total === 0;
  return { passed, skipped, failed: (code !== 0 && failed === 0) || silent ? failed + 1 : failed };
}

async function runAll(files: readonly string[], limitMs: number, width: number): Promise<Result[]> {
  const waiting = [...files];
  const results: Result[] = [];
  const lane = async (): Promise<void> => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      const result = await runFile(file, limitMs);
      results.push(result);
      report(result);
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  return results;
}

function report({ file, passed, failed, output, ms }: Result): void {
  const name = relative(root, file).replace(/\.js$/, '.ts');
  process.stdout.write(`${failed ? 'FAIL' : 'ok  '} ${name}  ${passed} passed${failed ? `, ${failed} failed` : ''}  ${(ms / 1000).toFixed(1)} s\n`);
  if (failed) process.stdout.write(`${output.trimEnd()}\n\n`);
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  const parts = args.filter((arg) => !arg.startsWith('--'));
  const files = (await testFiles(root)).filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)));
  const isEndToEnd = (file: string): boolean => relative(root, file).startsWith('e2e');
  const results: Result[] = [];
  if (!args.includes('--e2e')) results.push(...await runAll(files.filter((file) => !isEndToEnd(file)), unitLimitMs, availableParallelism()));
  if (args.includes('--e2e') || args.includes('--all')) results.push(...await runAll(files.filter(isEndToEnd), endToEndLimitMs, 1));
  const sum = (key: 'passed' | 'failed' | 'skipped'): number => results.reduce((total, result) => total + result[key], 0);
  process.stdout.write(`${sum('passed')} passed, ${sum('failed')} failed${sum('skipped') ? `, ${sum('skipped')} skipped` : ''}\n`);
  process.exitCode = sum('failed') > 0 || results.length === 0 ? 1 : 0;
}

await main();
