import { notFound } from '../../shared/status.ts';
import { sendJson, sendText } from './answer.ts';
import type { Exchange } from './exchange.ts';

/** Something that must work for the server to be ready. */
export interface HealthCheck {
  readonly name: string;
  /** What is wrong, or undefined. */
  readonly check: () => string | undefined;
}

/** Answer to `/version`. */
export interface Version {
  readonly major: string;
  readonly minor: string;
  readonly gitVersion: string;
  readonly gitCommit: string;
  readonly gitTreeState: string;
  readonly buildDate: string;
  readonly goVersion: string;
  readonly compiler: string;
  readonly platform: string;
}

const ping: HealthCheck = { name: 'ping', check: () => undefined };

const probes = new Set(['healthz', 'livez', 'readyz']);

/** Answers probes and `/version`; false for other paths. Single checks are at `/readyz/NAME`. */
export function answerHealth(x: Exchange, checks: readonly HealthCheck[], version: Version): boolean {
  const [, probe = '', name] = x.path.split('/');
  if (probe === 'version') sendJson(x, 200, version);
  else if (!probes.has(probe)) return false;
  else if (name) answerOne(x, checks, name);
  // A server that waits for something must not be restarted for it.
  else answerAll(x, probe, probe === 'livez' ? [ping] : [ping, ...checks]);
  return true;
}

function answerOne(x: Exchange, checks: readonly HealthCheck[], name: string): void {
  const check = [ping, ...checks].find((candidate) => candidate.name === name);
  if (!check) throw notFound({ group: '', plural: 'healthz', kind: '' }, name);
  const problem = check.check();
  sendText(x, problem ? 500 : 200, problem ? `internal server error: ${problem}` : 'ok');
}

function answerAll(x: Exchange, probe: string, checks: readonly HealthCheck[]): void {
  const results = checks.map(({ name, check }) => ({ name, problem: check() }));
  const failed = results.filter(({ problem }) => problem);
  if (failed.length === 0 && !x.query.has('verbose')) return sendText(x, 200, 'ok');
  const lines = results.map(({ name, problem }) => (problem ? `[-]${name} failed: ${problem}` : `[+]${name} ok`));
  sendText(x, failed.length > 0 ? 500 : 200, `${lines.join('\n')}\n${probe} check ${failed.length > 0 ? 'failed' : 'passed'}\n`);
}
