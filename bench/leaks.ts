/**
 * Whether an agent's memory stays what it is however much goes through it: `leaks.pods`, `leaks.logs`, and what
 * leaks-link.ts measures of the link. Growth in %; 10 is the most that is allowed.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { logGrowth } from './leaks/logs.ts';
import { note, report } from './report.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const [warmPods, pods] = [2000, 10_000];

interface Memory { readonly rss: number; readonly heap: number }

export async function bench(): Promise<void> {
  const { before, after } = await podGrowth();
  note(`${pods} pods: ${before.rss.toFixed(1)} → ${after.rss.toFixed(1)} MB resident, ${before.heap.toFixed(2)} → ${after.heap.toFixed(2)} MB of heap in use`);
  report('leaks.pods', grown(before.rss, after.rss), `% that resident memory grew by over ${pods} pods started and stopped`);
  report('leaks.pods_heap', grown(before.heap, after.heap), `% that the heap in use grew by over ${pods} pods started and stopped`);
  const logs = await logGrowth();
  note(`1 GB of logs: at most ${logs.before.toFixed(1)} MB anonymous in its first third, ${logs.after.toFixed(1)} in its last`);
  report('leaks.logs', grown(logs.before, logs.after), '% that the most anonymous memory grew by from the first to the last third of 1 GB of logs');
  if (!existsSync(here('leaks-link.js'))) return;
  const link = await import(here('leaks-link.js')) as { readonly bench?: () => Promise<void> };
  await link.bench?.();
}

const grown = (before: number, after: number): number => (after / before - 1) * 100;

async function podGrowth(): Promise<{ readonly before: Memory; readonly after: Memory }> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', here('leaks/pods.js'), String(warmPods), String(pods)]);
  const found = JSON.parse(stdout) as { before: Memory; after: Memory; containers: number };
  if (found.containers > 0) throw new Error(`${found.containers} containers are left`);
  return found;
}
